"""Bring a backup back into an empty Beacon. Exit 0 done, 1 refused, 75 try again.

On a laptop, stop `make run` first. In a cluster the chart's Job does it in three steps: `--step fetch`, pg_restore, and
`--step finish`.
"""

from pathlib import Path

import msgspec

from beacon_core.data.database import open_store
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.settings import load_settings
from beacon_retraining.backup.place import BackupPlace
from beacon_retraining.backup.restore import JOB, fetch, finish

FETCH, FINISH = "fetch", "finish"


class RestoreResult(msgspec.Struct, frozen=True):
    """The backup that is back."""

    name: str
    """Its name; "" for the second step of a cluster, which needs none."""


@map_errors("restore refused", "restore failed, try again")
def main() -> int:
    """Bring one back; a line says which."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("place", help="a folder, or s3://BUCKET/FOLDER")
    parser.add_argument("--backup", default="", help="its name; without it, the newest")
    parser.add_argument("--replace", action="store_true", help="delete what is there now")
    parser.add_argument("--dumps", type=Path, help="the folder for the dumps of PostgreSQL's databases")
    parser.add_argument("--step", choices=(FETCH, FINISH), help="in a cluster: before and after pg_restore")
    given = parser.parse_args()
    settings = load_settings()
    name = ""
    if given.step != FINISH:
        name = fetch(settings, BackupPlace(given.place), given.backup, given.dumps, replace=given.replace).name
    if given.step != FETCH:
        finish(open_store(settings.database), settings, given.dumps)
    results.give(RestoreResult(name))
    log.info("%s", f"the backup {name} is here" if name else "restored")
    return 0


def run() -> int:
    """Bring a backup back into an empty Beacon."""
    return run_job(JOB, main)
