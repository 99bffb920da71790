"""One backup: each part is made, brought to its place and forgotten here; the list comes last, and old ones go."""

import tempfile
from pathlib import Path

from beacon_core.data.database import Engine
from beacon_core.data.job_runs import recorded
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_retraining.backup import artifacts, home
from beacon_retraining.backup.errors import BackupError
from beacon_retraining.backup.listing import BackupList, BackupPart
from beacon_retraining.backup.place import BackupPlace, stamp

JOB = "backup"
BEACON, MLFLOW = DUMPS = ("beacon.dump", "mlflow.dump")
"""What pg_dump writes, where the databases are PostgreSQL's."""


def back_up(
    engine: Engine, settings: Settings, place: BackupPlace, keep: int, dumps: Path | None, *, mlflow: bool
) -> BackupList:
    """Make a backup, and keep the newest `keep` of them.

    `dumps` is the folder of pg_dump's files, made before this; without it all state lies in the settings' `home`.
    `mlflow`: with MLflow's database and artifacts. Raises `BackupError`, `BackupPlaceError`, and for
    MLflow `RegistryUnavailableError`.
    """
    if "://" not in place.address and Path(place.address).resolve().is_relative_to(settings.home.resolve()):
        raise BackupError(f"{place.address} lies in {settings.home}: a backup of it would hold the ones before")
    now = clock.now()
    name = stamp(now)
    with tempfile.TemporaryDirectory(dir=dumps) as scratch:
        parts: list[BackupPart] = []
        folder = Path(scratch)
        if dumps is None:  # before the run is recorded, or the copy would have a run that never ends
            home.pack(settings.home, folder / home.FILE, folder)
        with recorded(engine, JOB, name, "upload") as run:
            for file in _dumped(dumps, mlflow=mlflow):
                parts.append(place.put(name, file))
                file.unlink()
            if dumps is not None:
                home.pack(settings.home, folder / home.FILE, folder)
            parts.append(_put(place, name, folder / home.FILE))
            if dumps is not None and mlflow:
                parts.append(_put_artifacts(place, name, settings.mlflow_address, folder))
            listing = BackupList(name=name, time=now, beacon=settings.build_version, parts=tuple(parts))
            place.finish(listing)
            gone = place.prune(keep, now)
            run.rows = sum(part.bytes for part in parts)
            run.details = {"parts": {part.name: part.bytes for part in parts}, "deleted": gone}
    return listing


def _dumped(dumps: Path | None, *, mlflow: bool) -> list[Path]:
    if dumps is None:
        return []
    files = [dumps / name for name in (DUMPS if mlflow else (BEACON,))]
    for file in files:
        if not file.is_file():
            raise BackupError(f"{file} is not there: the log of pg_dump, which runs before this, says why")
    return files


def _put(place: BackupPlace, name: str, file: Path) -> BackupPart:
    part = place.put(name, file)
    file.unlink()
    return part


def _put_artifacts(place: BackupPlace, name: str, url: str, folder: Path) -> BackupPart:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        artifacts.pack(url, folder / artifacts.FILE, Path(scratch))
    return _put(place, name, folder / artifacts.FILE)
