"""Back up all that Beacon keeps, to a folder or to S3. Exit 0 done, 1 refused, 75 try again or at work already.

On a laptop the databases are copied while it runs. In a cluster pg_dump comes before this (`--dumps`).
"""

from pathlib import Path

import msgspec

from beacon_core.data.database import open_store
from beacon_core.data.run_lock import only_one
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.settings import load_settings
from beacon_retraining.backup.backup import JOB, back_up
from beacon_retraining.backup.errors import BackupError
from beacon_retraining.backup.place import BackupPlace

KEEP = 7


class BackupResult(msgspec.Struct, frozen=True):
    """The backup that was made."""

    name: str
    """Its name, by which `beacon restore` finds it."""
    bytes: int
    """Of all its parts."""


@map_errors("backup refused", "backup failed, try again", "backup left alone")
def main() -> int:
    """Make one; a line says which."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("to", help="a folder, or s3://BUCKET/FOLDER")
    parser.add_argument("--keep", type=int, default=KEEP, help=f"how many backups are kept, the newest ones ({KEEP})")
    parser.add_argument("--dumps", type=Path, help="the folder with what pg_dump wrote of PostgreSQL's databases")
    parser.add_argument("--without-mlflow", action="store_true", help="others back up MLflow")
    given = parser.parse_args()
    settings = load_settings()
    if given.keep < 1:
        raise BackupError("--keep: must be 1 or more")
    if (given.dumps is None) != settings.database.startswith("sqlite"):
        raise BackupError("--dumps: needed where the database is PostgreSQL, and only there")
    engine = open_store(settings.database)
    with only_one(engine, settings.home / "run", JOB):
        made = back_up(
            engine, settings, BackupPlace(given.to), given.keep, given.dumps, mlflow=not given.without_mlflow
        )
    size = sum(part.bytes for part in made.parts)
    results.give(BackupResult(made.name, size))
    log.info("backed up as %s: %.1f MB", made.name, size / 1e6)
    return 0


def run() -> int:
    """Back up all that Beacon keeps, to a folder or to S3."""
    return run_job(JOB, main)
