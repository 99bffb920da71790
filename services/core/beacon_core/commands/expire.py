"""Delete what is older than policy.yaml keeps it. Exit 0 done, 1 refused, 75 try again or at work already."""

from datetime import datetime, timedelta

import msgspec

from beacon_core.data import erasure, lake_upkeep, removals, retention
from beacon_core.data.database import Engine, migrate
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.removals import Removal
from beacon_core.data.run_lock import only_one
from beacon_core.domain.ids import new_id
from beacon_core.domain.product import Product
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, load_settings

JOB = "expire"
RULE = "retention of policy.yaml"


class ExpireResult(msgspec.Struct, frozen=True):
    """What went."""

    deleted: dict[str, int]
    """Rows by kind; with `--dry-run` those that would go."""
    is_dry_run: bool
    """Whether rows were only counted."""


@map_errors("retention refused", "retention failed, try again", "retention left alone")
def main() -> int:
    """Run once; a line says what went."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only count what would go")
    given = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    now = clock.now()
    engine = open_log(settings)
    migrate(engine)
    if given.dry_run:
        counts = retention.count(engine, product.policy.retention, now) | lake_upkeep.count(settings, product, now)
        results.give(ExpireResult(counts, is_dry_run=True))
        log.info("would delete: %s", shown(counts))
        return 0
    with only_one(engine, settings.home / "run", JOB), recorded(engine, JOB, now.isoformat(), "delete") as run:
        deleted = retention.expire(engine, product.policy.retention, now)
        deleted["reports"] = _expire_reports(settings, product, now)
        deleted |= lake_upkeep.expire(settings, product, now)
        deleted["late predictions"] = erasure.erase_late_rows(engine, product.name, now)
        deleted["late predictions"] += lake_upkeep.erase_late_rows(settings, product, engine, now)
        run.rows, run.details = sum(deleted.values()), deleted
        _note(engine, product, now, deleted)
    results.give(ExpireResult(deleted, is_dry_run=False))
    log.info("deleted: %s", shown(deleted))
    return 0


def shown(counts: dict[str, int]) -> str:
    """What went, or would go, by kind; kinds of which nothing goes are left out."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"


def _note(engine: Engine, product: Product, now: datetime, deleted: dict[str, int]) -> None:
    """Keep a row of the audit trail, where anything went."""
    if some := {name: count for name, count in deleted.items() if count}:
        with engine.begin() as connection:
            row = Removal(new_id(), now, product.name, "retention", "done", JOB, RULE, removed=some)
            removals.append(connection, row)


def _expire_reports(settings: Settings, product: Product, now: datetime) -> int:
    """Delete the files of drift reports that are too old; a cluster has none. `latest` is rewritten by each run."""
    days = product.policy.retention.drift_days
    if days is None:
        return 0
    before = (now - timedelta(days=days)).timestamp()
    files = [file for file in (settings.home / "reports" / "drift").glob("*") if file.stat().st_mtime < before]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def run() -> int:
    """Delete what is older than policy.yaml keeps it."""
    return run_job(JOB, main)
