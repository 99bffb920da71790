"""A restore has two steps; between them pg_restore fills the databases, where they are PostgreSQL's.

A restore that was broken off may be repeated: it left a note of its name, and goes on over what it brought.
"""

import tempfile
from pathlib import Path

from beacon_core.data.database import Engine, migrate
from beacon_core.data.job_runs import recorded
from beacon_core.platform import clock
from beacon_core.platform.files import write_atomically
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.retry import until_up
from beacon_core.platform.settings import Settings
from beacon_retraining.backup import artifacts, home
from beacon_retraining.backup.backup import DUMPS
from beacon_retraining.backup.errors import BackupError
from beacon_retraining.backup.listing import BackupList
from beacon_retraining.backup.place import BackupPlace, stamp
from beacon_retraining.backup.unpacking import unpack_tar

JOB = "restore"
AGAIN = "again"
"""A file beside the dumps: the databases may be those of an earlier try."""
MLFLOW_SECONDS = 300.0
"""How long MLflow may take to start."""


def fetch(settings: Settings, place: BackupPlace, name: str, dumps: Path | None, *, replace: bool) -> BackupList:
    """Bring the parts of the backup `name` ("": the newest) here, verify them, and put the folder of state back.

    Where the databases are PostgreSQL's, `dumps` is the folder into which their dumps and the artifacts come. Raises
    `BackupError` for a state that is not empty, unless `replace`; nothing of it is touched before all parts are here.
    """
    listing = place.listing(name or place.newest())
    note = _note(settings)
    again = note.is_file() and note.read_text(encoding="utf-8") == listing.name
    kept = home.kept_of(settings.home)
    if kept and not (replace or again):
        raise BackupError(f"{settings.home} is not empty ({', '.join(kept[:3])}): move it away, or say --replace")
    has_dumps = listing.part(DUMPS[0]) is not None
    if has_dumps != (dumps is not None):
        want = "PostgreSQL's: restore it in a cluster" if has_dumps else "a laptop's: restore it on one"
        raise BackupError(f"the databases of the backup {listing.name} are {want}")
    with tempfile.TemporaryDirectory(dir=dumps) as scratch:
        folder = dumps or Path(scratch)
        for part in listing.parts:
            place.get(listing.name, part, folder)
        write_atomically(note, listing.name.encode())
        if again and dumps is not None:
            (dumps / AGAIN).touch()
        home.clear(settings.home)
        unpack_tar(folder / home.FILE, settings.home)
        (folder / home.FILE).unlink()
    return listing


def finish(engine: Engine, settings: Settings, dumps: Path | None) -> None:
    """Bring the artifacts back, and the store to this Beacon's schema with the rights of its roles; recorded as a run.

    Raises `RegistryUnavailableError` where MLflow does not answer.
    """
    migrate(engine)
    with recorded(engine, JOB, stamp(clock.now()), "finish"):
        file = None if dumps is None else dumps / artifacts.FILE
        if file is not None and file.is_file():
            until_up(lambda: _bring_artifacts(file, settings), MLFLOW_SECONDS, (RegistryUnavailableError,))
            file.unlink()
    _note(settings).unlink(missing_ok=True)


def _bring_artifacts(file: Path, settings: Settings) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        artifacts.unpack(file, settings.mlflow_address, Path(scratch))


def _note(settings: Settings) -> Path:
    return settings.home / "run" / "restoring"
