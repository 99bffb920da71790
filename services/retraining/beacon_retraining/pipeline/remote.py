"""Push to DVC's remote and pull from it: each file whole, or its name in the error.

The remote also holds dvc.lock, written last: whoever pulls finds every file that it names, and needs no checkout of the
run that made it.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.masking import message_with_type
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import Settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.pipeline import dvc
from beacon_retraining.pipeline.dvc import DvcError
from beacon_retraining.pipeline.stored import Place, Stored, named, objects, same_as, stages_of
from beacon_retraining.pipeline.workspace import LOCK, VERSIONED

NEW_LOCK = f"{LOCK}.new"
OWN_CONFIG, CACHE = ".dvc/config.local", ".dvc/cache"


class DamagedError(RetrainError):
    """A file is nowhere whole where it has to be; the message names it."""

    exit_status = BAD_DATA


class NothingToPushError(RetrainError):
    """No retraining by DVC has ended here; the one of a laptop's first start is none."""


def push(settings: Settings, folder: Path) -> str:
    """Push the files that dvc.lock names, then dvc.lock itself; what is not whole in the remote is put right.

    Raises `DvcError`, and `DamagedError` where this machine does not have a file whole.
    """
    address = settings.dvc_address
    if not (folder / LOCK).is_file():
        raise NothingToPushError(f"{folder}: has no {LOCK} yet, so there is nothing to push; `make retrain` writes it")
    dvc.git_init(folder)
    lock = (folder / LOCK).read_bytes()
    with _asking(address):
        remote = Place(address)
        wanted = _whole_here(folder, lock)
        broken = [stored for stored in wanted if not remote.is_whole(stored.digest)]
        # DVC may have removed a damaged object since: what counts is that an earlier push left it there.
        pushed = {stored.digest for stored in objects(stages_of(remote.file(LOCK) or b"") or {}, Place(folder / CACHE))}
        mended = [stored for stored in broken if stored.digest in pushed]
        for stored in broken:
            remote.remove(stored.digest)
            if stored.listed_in:  # DVC takes a folder's files for pushed where it finds their list
                remote.remove(stored.listed_in)
    dvc.ask(folder, "push")
    with _asking(address):
        remote = Place(address)
        if left := [stored for stored in broken if not remote.is_whole(stored.digest)]:
            raise DvcError(f"{address}: does not keep {named(left)} as it was pushed")
        remote.write(NEW_LOCK, lock)
        remote.rename(NEW_LOCK, LOCK)
    told = f"; what was missing or damaged there is whole again: {named(mended)}" if mended else ""
    return f"pushed to {address}{told}"


def pull(settings: Settings, folder: Path) -> bool:
    """Bring back the files of the last push, all or none; False when nothing was pushed yet.

    Raises `DvcError`, and `DamagedError` where the remote does not have a file whole.
    """
    address = settings.dvc_address
    dvc.git_init(folder)
    with _asking(address):
        lock = Place(address).file(LOCK)
    if lock is None:
        return False
    stages, cache = _stages(f"{address}/{LOCK}", lock), Place(folder / CACHE)
    _forget_broken(cache, objects(stages, cache))  # DVC would take it for whole
    said = _fetch(folder, lock)
    lost = _forget_broken(cache, objects(stages, cache))
    with _asking(address):
        remote = Place(address)  # its own lists: where a file of a folder is gone, DVC leaves no list in the cache
        damaged = [stored for stored in objects(stages, remote) if not remote.is_whole(stored.digest)] if lost else []
    if damaged:
        mend = "`make data ARGS=push` where they are whole puts it right"
        raise DamagedError(f"{address}: does not have {named(damaged)} whole, and nothing was changed here; {mend}")
    if lost:
        raise DvcError(f"{address}: {said}")
    write_atomically(folder / LOCK, lock)
    dvc.ask(folder, "checkout", "--force")
    return True


def _fetch(folder: Path, lock: bytes) -> str:
    """Bring what `lock` names into the cache, and nothing into the workspace; what DVC said."""
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
        return dvc.last_words(dvc.attempt(draft, "fetch"))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _whole_here(folder: Path, lock: bytes) -> list[Stored]:
    """All that dvc.lock names, whole in the cache; what is not is brought from the workspace. Raises `DamagedError`."""
    cache = Place(folder / CACHE)
    wanted = list(objects(_stages(str(folder / LOCK), lock), cache))
    broken = [stored for stored in wanted if not cache.is_whole(stored.digest)]
    if left := [stored for stored in broken if not same_as(folder / stored.file, stored.digest)]:
        again = "`make retrain ARGS=--force` makes it anew"
        raise DamagedError(
            f"{folder}: {named(left)} is not what {LOCK} names, in the cache and in the workspace; {again}"
        )
    for stored in broken:
        cache.write(cache.path(stored.digest), (folder / stored.file).read_bytes())
    return wanted


def _stages(place: str, lock: bytes) -> dict[str, dict[str, object]]:
    stages = stages_of(lock)
    if stages is None:
        raise DamagedError(f"{place}: is not whole; a push where it is whole puts it right")
    return stages


def _forget_broken(cache: Place, wanted: Iterator[Stored]) -> list[Stored]:
    """Remove what is not whole; what of all that is wanted is not there."""
    broken = [stored for stored in wanted if not cache.is_whole(stored.digest)]
    for stored in broken:
        cache.remove(stored.digest)
    return broken


@contextlib.contextmanager
def _asking(address: str) -> Iterator[None]:
    """Tell whatever a file system of fsspec raises as one kind: each has errors of its own."""
    try:
        yield
    except RetrainError:
        raise
    except Exception as error:
        raise DvcError(f"{address}: {message_with_type(error)}") from error
