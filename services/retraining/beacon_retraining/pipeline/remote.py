"""Push to DVC's remote and pull from it: each file intact, or its name in the error.

The remote also holds dvc.lock, written last: a pull finds every file that it names, and needs no checkout of the run
that made it.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.masking import message_of, message_with_type
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import Settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.pipeline import dvc
from beacon_retraining.pipeline.dvc import DvcError
from beacon_retraining.pipeline.dvc_objects import (
    ObjectStorage,
    StoredObject,
    file_names,
    has_digest,
    objects,
    stages_of,
)
from beacon_retraining.pipeline.workspace import LOCK, VERSIONED

NEW_LOCK = f"{LOCK}.new"
OWN_CONFIG, CACHE = ".dvc/config.local", ".dvc/cache"


class DamagedError(RetrainError):
    """No intact copy of a file exists where one must; the message names it."""

    exit_status = BAD_DATA


class NothingToPushError(RetrainError):
    """No retraining by DVC has ended here; a laptop's first start does not use DVC."""


def push(settings: Settings, folder: Path) -> str:
    """Push the files that dvc.lock names, then dvc.lock itself, and repair damaged files of the remote.

    Raises `DvcError`, and `DamagedError` where this machine has no intact copy of a file.
    """
    address = settings.dvc_address
    if not (folder / LOCK).is_file():
        raise NothingToPushError(f"{folder}: has no {LOCK} yet, so there is nothing to push; `make retrain` writes it")
    dvc.git_init(folder)
    lock = (folder / LOCK).read_bytes()
    with _mapped_errors(address):
        remote = ObjectStorage(address)
        listed = _verified(folder, lock)
        damaged_objects = [stored for stored in listed if not remote.is_intact(stored.digest)]
        # DVC may have removed a damaged object since: compare with what the last push left.
        pushed = {
            stored.digest
            for stored in objects(stages_of(remote.file(LOCK) or b"") or {}, ObjectStorage(folder / CACHE))
        }
        repaired = [stored for stored in damaged_objects if stored.digest in pushed]
        for stored in damaged_objects:
            remote.remove(stored.digest)
            if stored.listed_in:  # DVC takes a folder's files for pushed where it finds their list
                remote.remove(stored.listed_in)
    dvc.output_of(folder, "push")
    with _mapped_errors(address):
        remote = ObjectStorage(address)
        if remaining := [stored for stored in damaged_objects if not remote.is_intact(stored.digest)]:
            raise DvcError(f"{address}: does not keep {file_names(remaining)} as it was pushed")
        remote.write(NEW_LOCK, lock)
        remote.rename(NEW_LOCK, LOCK)
    message = f"; repaired what was missing or damaged there: {file_names(repaired)}" if repaired else ""
    return f"pushed to {address}{message}"


def pull(settings: Settings, folder: Path) -> bool:
    """Restore the files of the last push, all or none; False when nothing was pushed yet.

    Raises `DvcError`, and `DamagedError` where the remote has no intact copy of a file.
    """
    address = settings.dvc_address
    dvc.git_init(folder)
    with _mapped_errors(address):
        lock = ObjectStorage(address).file(LOCK)
    if lock is None:
        return False
    stages, cache = _stages(f"{address}/{LOCK}", lock), ObjectStorage(folder / CACHE)
    _remove_damaged(cache, objects(stages, cache))  # DVC would take it for whole
    message = _fetch(folder, lock)
    lost = _remove_damaged(cache, objects(stages, cache))
    with _mapped_errors(address):
        # Its own lists: where a file of a folder is missing, DVC leaves no list in the cache.
        remote = ObjectStorage(address)
        damaged = [stored for stored in objects(stages, remote) if not remote.is_intact(stored.digest)] if lost else []
    if damaged:
        hint = "`make data ARGS=push` where they are intact repairs it"
        raise DamagedError(
            f"{address}: has no intact copy of {file_names(damaged)}, and nothing was changed here; {hint}"
        )
    if lost:
        raise DvcError(f"{address}: {message}")
    write_atomically(folder / LOCK, lock)
    dvc.output_of(folder, "checkout", "--force")
    return True


def resume(settings: Settings, folder: Path) -> str:
    """Where no volume keeps the workspace, bring it to the state of the last push; returns a line for the log, or "".

    Without an intact copy the run begins anew, as after an erasure. Raises `DvcError` where the remote does not answer.
    """
    if settings.keeps_files or (folder / LOCK).is_file():
        return ""
    try:
        return f"restored as pushed to {settings.dvc_address}" if pull(settings, folder) else ""
    except DamagedError as error:
        return f"begins anew: {message_of(error)}"


def _fetch(folder: Path, lock: bytes) -> str:
    """Fetch what `lock` names into the cache, and nothing into the workspace; returns DVC's message."""
    draft = folder.with_name(f".{folder.name}.pull")  # a neighbour: the remote's address may be relative
    shutil.rmtree(draft, ignore_errors=True)
    for name in VERSIONED:
        if (folder / name).is_file():
            write_atomically(draft / name, (folder / name).read_bytes())
    write_atomically(draft / LOCK, lock)
    # Relative, as a path may hold what DVC's configuration cannot.
    own = f"[core]\n    no_scm = true\n[cache]\n    dir = ../../{folder.name}/{CACHE}\n"
    write_atomically(draft / OWN_CONFIG, own.encode())
    try:
        return dvc.error_message(dvc.run(draft, "fetch"))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _verified(folder: Path, lock: bytes) -> list[StoredObject]:
    """All that dvc.lock names, intact in the cache; damaged ones come from the workspace. Raises `DamagedError`."""
    cache = ObjectStorage(folder / CACHE)
    listed = list(objects(_stages(str(folder / LOCK), lock), cache))
    damaged_objects = [stored for stored in listed if not cache.is_intact(stored.digest)]
    if remaining := [stored for stored in damaged_objects if not has_digest(folder / stored.file, stored.digest)]:
        hint = "`make retrain ARGS=--force` makes it again"
        raise DamagedError(
            f"{folder}: {file_names(remaining)} is not what {LOCK} names, in the cache and in the workspace; {hint}"
        )
    for stored in damaged_objects:
        cache.write(cache.path(stored.digest), (folder / stored.file).read_bytes())
    return listed


def _stages(place: str, lock: bytes) -> dict[str, dict[str, object]]:
    stages = stages_of(lock)
    if stages is None:
        raise DamagedError(f"{place}: is damaged; a push where it is intact repairs it")
    return stages


def _remove_damaged(cache: ObjectStorage, listed: Iterator[StoredObject]) -> list[StoredObject]:
    """Remove damaged objects; returns all listed ones that are missing or damaged."""
    damaged_objects = [stored for stored in listed if not cache.is_intact(stored.digest)]
    for stored in damaged_objects:
        cache.remove(stored.digest)
    return damaged_objects


@contextlib.contextmanager
def _mapped_errors(address: str) -> Iterator[None]:
    """Raise every error of a file system of fsspec as `DvcError`: each has errors of its own."""
    try:
        yield
    except RetrainError:
        raise
    except Exception as error:
        raise DvcError(f"{address}: {message_with_type(error)}") from error
