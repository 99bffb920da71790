"""What one hour with many predictions costs drift profiling, in the database and in the log's lake.

All rows are of one hour and one model version: one partition, which is cut into slices of time. The rows of a small
log, made as inference's shipper writes them, come again and again with times and ids of their own. What is timed is the
job as it is deployed, a process of its own environment from its start to its end.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import process_cost
import pyarrow as pa
from drift.cost import Log
from sqlalchemy import Connection, insert, text
from support.postgres import postgres

from beacon_core.data.database import open_store
from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import LakePlace, commits, files
from beacon_core.data.prediction_log.lake.blocks import microseconds, table_of_rows
from beacon_core.data.prediction_log.lake.columns import feature_of
from beacon_core.data.prediction_log.partitions import HOUR
from beacon_core.data.predictions import COLUMNS, PredictionRow
from beacon_core.data.tables import actuals
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings

DRAWN_ROWS = 20_000
LABELLED = 100
"""One row in so many has an actual."""
STEP_ROWS = 1_000_000
LIMITS = {10_000_000: 120.0, 1000: 3.0}
"""Seconds that an hour with so many rows may take."""
LIMIT_MEGABYTES = 1024.0


def main() -> int:
    """Measure; exit 1 when the hour cost more than it may."""
    parser = argparse.ArgumentParser(prog="make bench-drift", description=__doc__)
    parser.add_argument("--rows", type=int, default=max(LIMITS), help="predictions of the hour")
    parser.add_argument("--in", dest="stores", default="lake,sqlite", help="some of lake, sqlite and postgresql")
    parser.add_argument("--spark", action="store_true", help="also by Spark, on two cores (needs Java, and the lake)")
    given = parser.parse_args()
    product = load_product(load_settings().product)
    print(f"{given.rows:,} predictions of one hour, product {product.name}.\n")
    print("| store | engine | time | processor | memory |\n| --- | --- | --- | --- | --- |")
    holds = True
    for store in given.stores.split(","):
        with filled(store, product, given.rows) as log:
            for engine in ("local", "spark") if given.spark and store == "lake" else ("local",):
                cost = _measured(log, store, engine)
                if engine == "local":
                    holds &= cost.megabytes <= LIMIT_MEGABYTES and cost.seconds <= LIMITS.get(given.rows, cost.seconds)
                row = f"{cost.seconds:.1f} s | {cost.processor_seconds:.1f} s | {cost.megabytes:.0f} MB"
                print(f"| {store} | {engine} | {row} |", flush=True)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")
    return int(not holds)


@contextlib.contextmanager
def filled(store: str, product: Product, rows: int, labelled: int = LABELLED) -> Iterator[Log]:
    """Give a home whose log has so many predictions in one hour; in a lake one in `labelled` has an actual."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgres()).url if store == "postgresql" else ""
        log = stack.enter_context(contextlib.closing(Log(folder, product, url)))
        log.fill(min(rows, DRAWN_ROWS), 1)
        began = time.perf_counter()
        if store == "lake":
            _fill_lake(log, rows, labelled)
        elif rows > DRAWN_ROWS:
            _fill_database(log, rows)
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        yield log


def _fill_database(log: Log, rows: int) -> None:
    """Multiply the rows that are there. Indexes, and the trigger that counts, come afterwards: they would take long."""
    engine = open_store(log.settings.database)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE TEMPORARY TABLE drawn AS SELECT * FROM predictions ORDER BY time"))
        connection.execute(text("DELETE FROM predictions"))
        connection.execute(text("DELETE FROM traffic"))
        connection.execute(text("DELETE FROM actuals"))
        fill = _fill_sqlite if engine.dialect.name == "sqlite" else _fill_postgresql
        fill(connection, rows, log.now.replace(minute=0).timestamp())
        connection.execute(
            text(
                "INSERT INTO actuals (prediction_id, value, observed_at, received_at, source) "
                "SELECT id, prediction + 1, time, time, 'benchmark' FROM predictions WHERE latency_seconds > 1"
            )
        )
        connection.execute(text("ANALYZE"))
    engine.dispose()


SHARED = [name for name in COLUMNS.split(", ") if name not in {"id", "time", "latency_seconds"}]


def _fill_sqlite(connection: Connection, rows: int, begin: float) -> None:
    connection.execute(text("PRAGMA cache_size = -500000"))
    kept = connection.execute(
        text(
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'predictions' AND type IN ('index', 'trigger') "
            "AND sql IS NOT NULL"
        )
    ).all()
    for kind, name, _ in kept:
        connection.execute(text(f"DROP {kind} {name}"))
    moment = "(:begin + (:first + drawn.rowid - 1 + :drawn * copy.number) * 3600.0 / :rows)"
    fill = text(
        "WITH RECURSIVE copy(number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :copies) "
        f"INSERT INTO predictions (id, time, logged_at, latency_seconds, {', '.join(SHARED)}) "
        f"SELECT printf('%012x', CAST({moment} * 1000 AS INTEGER)) || lower(hex(randomblob(10))), "
        f"strftime('%Y-%m-%d %H:%M:%f000', {moment}, 'unixepoch'), "
        f"strftime('%Y-%m-%d %H:%M:%f000', {moment}, 'unixepoch'), "
        f"CASE drawn.rowid % {LABELLED} WHEN 0 THEN 2 ELSE latency_seconds END, {', '.join(SHARED)} "
        "FROM copy, drawn"
    )
    for first in range(0, rows, STEP_ROWS):
        copies = min(STEP_ROWS, rows - first) // DRAWN_ROWS
        connection.execute(fill, {"begin": begin, "first": first, "drawn": DRAWN_ROWS, "rows": rows, "copies": copies})
    for _, _, statement in kept:
        connection.execute(text(statement))
    counted = "SELECT :hour, model_version, 0, count(*) FROM predictions GROUP BY model_version"
    hour = connection.execute(
        text("SELECT strftime('%Y-%m-%d %H:00:00.000000', :begin, 'unixepoch')"), {"begin": begin}
    )
    connection.execute(
        text(f"INSERT INTO traffic (hour, model_version, lane, predictions) {counted}"), {"hour": hour.scalar_one()}
    )


def _fill_postgresql(connection: Connection, rows: int, begin: float) -> None:
    connection.execute(text("ALTER TABLE drawn ADD COLUMN place bigserial"))
    moment = "to_timestamp(:begin + (:first + place - 1 + :drawn * copy) * 3600.0 / :rows)"
    fill = text(
        f"INSERT INTO predictions (id, time, logged_at, latency_seconds, {', '.join(SHARED)}) "
        f"SELECT lpad(to_hex(floor(extract(epoch FROM {moment}) * 1000)::bigint), 12, '0') || "
        f"substr(md5(random()::text), 1, 20), {moment}, {moment}, "
        f"CASE place % {LABELLED} WHEN 0 THEN 2 ELSE latency_seconds END, {', '.join(SHARED)} "
        "FROM generate_series(0, :copies - 1) AS copy, drawn"
    )
    for first in range(0, rows, STEP_ROWS):
        copies = min(STEP_ROWS, rows - first) // DRAWN_ROWS
        connection.execute(fill, {"begin": begin, "first": first, "drawn": DRAWN_ROWS, "rows": rows, "copies": copies})


def _fill_lake(log: Log, rows: int, labelled: int) -> None:
    """Write the hour file by file."""
    engine = open_store(log.settings.database)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM actuals"))
        drawn = [PredictionRow(*row) for row in connection.execute(text(f"SELECT {COLUMNS} FROM predictions"))]
    template = table_of_rows(drawn, log.now)
    begin, step = microseconds(log.now.replace(minute=0)), HOUR / timedelta(microseconds=1) / rows
    found = lake.open_lake(lake_of(log))
    table = found.evolve([name for name in template.column_names if feature_of(name)])
    rng = np.random.default_rng(7)
    for first in range(0, rows, STEP_ROWS):
        size = min(STEP_ROWS, rows - first)
        times = begin + ((first + np.arange(size)) * step).astype(np.int64)
        heads, tails = [f"{moment:012x}" for moment in (times // 1000).tolist()], rng.bytes(10 * size).hex()
        ids = [head + tails[20 * at : 20 * at + 20] for at, head in enumerate(heads)]
        part = template.take(pa.array(rng.integers(0, len(template), size)))
        columns: dict[str, Any] = {
            "id": pa.array(ids, pa.large_string()),
            "time": pa.array(times).cast(pa.timestamp("us", "UTC")),
        }
        for name, column in columns.items():
            part = part.set_column(part.column_names.index(name), name, column)
        commits.commit(table, added=files.write_days(table, part))
        table = found.load()
        moment = {"value": 20.0, "observed_at": log.now, "received_at": log.now, "source": "benchmark"}
        with engine.begin() as connection:
            connection.execute(insert(actuals), [{"prediction_id": name, **moment} for name in ids[::labelled]])
    found.close()
    engine.dispose()


def lake_of(log: Log) -> LakePlace:
    """Where a home's lake is."""
    return LakePlace(str(log.settings.home / "lake"), f"sqlite:///{log.settings.home / 'catalog.db'}")


def variables_of(log: Log, store: str, engine: str) -> dict[str, str]:
    """The variables of a job that reads this log by an engine."""
    found = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "BEACON_PRODUCT": str(log.settings.product)}
    found |= {"BEACON_HOME": str(log.settings.home), "BEACON_DATABASE_URL": log.settings.database_url}
    if store == "lake":
        place = lake_of(log)
        found |= {
            "BEACON_LOG_STORES": "lake",
            "BEACON_LAKE": place.files,
            "BEACON_LAKE_CATALOG_URL": place.catalog,
            "BEACON_ENGINE": engine,
        }
    return found


def _measured(log: Log, store: str, engine: str) -> process_cost.ProcessCost:
    """What the job costs; its memory is that of its own process."""
    _forget_profiles(log)
    python = ROOT / ".venvs" / ("spark" if engine == "spark" else "drift-profiling") / "bin" / "python"
    job = [str(python), str(ROOT / "jobs" / "drift.py"), "--at", log.now.isoformat()]
    return process_cost.run(job, variables_of(log, store, engine))


def _forget_profiles(log: Log) -> None:
    engine = open_store(log.settings.database)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM profiles"))
        connection.execute(text("DELETE FROM watermarks"))
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
