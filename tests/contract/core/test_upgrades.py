"""Upgrades of a store with rows: from the last release's schema, beside traffic, and with its code still at work."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support import last_release
from support.postgres import Postgres, postgres_with_roles

from beacon_core.data.database import DatabaseUnavailableError, mapped_errors, migrate, migrate_at, open_store
from beacon_core.data.roles import OWNER
from beacon_core.data.schema_support import OLDEST_CODE

pytestmark = pytest.mark.slow

OLD_CODE = """
import sys
from datetime import UTC, datetime, timedelta
from beacon_core.data.database import migrate_at, open_store
from beacon_core.data.tables import actuals, drift_runs, predictions, job_runs, promotions
from beacon_core.data import job_runs as runs
from sqlalchemy import func, insert, select

base, step, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def url(role):
    return base.replace("ROLE", role)

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
def row(number):
    return {"id": f"p{number:06d}", "time": NOW, "entity": str(number), "features": {"area": 1.0}, "imputed": [],
            "out_of_range": [], "prediction": 1.0, "low": 0.0, "high": 2.0, "model_version": "1",
            "model_sha256": "a" * 64, "latency_seconds": 0.01, "request_id": "q"}

if step == "make":
    migrate_at(url("beacon_owner"))
log = open_store(url(sys.argv[5]), 10)
for number in range(first, first + count):
    with log.begin() as connection:
        connection.execute(insert(predictions), row(number))
        connection.execute(insert(actuals), {"prediction_id": f"p{number:06d}", "value": 1.5, "observed_at": NOW,
                                             "received_at": NOW, "source": "test"})
    with log.connect() as connection:
        assert connection.scalar(select(predictions.c.prediction).where(predictions.c.id == f"p{number:06d}")) == 1.0
drift = open_store(url("beacon_drift_profiling"))
with runs.recorded(drift, "drift", str(first), "profile") as run:
    run.rows = count
with drift.begin() as connection:
    row = {"period": str(first), "created_at": NOW, "state": "ok", "rows": 1, "summary": {}}
    connection.execute(insert(drift_runs), row)
console = open_store(url("beacon_console"))
with console.connect() as connection:
    assert connection.execute(select(promotions)).all() == []
    runs.statuses(connection)
    connection.execute(select(drift_runs)).all()
    print(connection.scalar(select(func.count()).select_from(predictions)))
"""


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release's core."""
    return last_release.unpack(tmp_path_factory.mktemp("last"), "services/core/beacon_core") / "services" / "core"


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres_with_roles() as running:
        yield running


def old(last: Path, server: Postgres, *arguments: str) -> subprocess.Popen[str]:
    base = server.url_of("ROLE")
    command = [sys.executable, "-c", OLD_CODE, base, *arguments]
    environment = {"PYTHONPATH": str(last), "BEACON_HOME": "/nonexistent"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def empty(server: Postgres) -> None:
    """As before Beacon's first migration."""
    engine = create_engine(server.url_of("beacon"))
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY beacon_owner"))
        connection.execute(text("GRANT USAGE, CREATE ON SCHEMA public TO beacon_owner"))
        connection.execute(text("GRANT ALL ON DATABASE beacon TO beacon_owner"))
    engine.dispose()


def test_the_last_releases_rows_stay_and_its_code_works_on_and_goes_back(last: Path, server: Postgres) -> None:
    empty(server)
    # The role of whoever logs predictions had another name.
    server.query("CREATE ROLE beacon_inference LOGIN")
    server.query("GRANT CONNECT ON DATABASE beacon TO beacon_inference")
    server.query("GRANT USAGE ON SCHEMA public TO beacon_inference")
    assert told(old(last, server, "make", "0", "100", "beacon_inference")) == "100"
    beside = old(last, server, "beside", "1000", "400", "beacon_inference")
    time.sleep(1)
    migrate_at(server.url_of(OWNER))
    told(beside)
    assert told(old(last, server, "back", "2000", "100", "beacon_inference")) == "600"
    engine = open_store(server.url_of(OWNER))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM actuals")) == 600
        assert connection.scalar(text("SELECT sum(predictions) FROM traffic")) == 600
        assert connection.scalar(text("SELECT oldest_code FROM schema_support")) == OLDEST_CODE
    engine.dispose()


def test_a_missing_index_is_built_beside_traffic_and_a_broken_one_again(server: Postgres) -> None:
    engine = open_store(server.url_of(OWNER))
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_actuals_received_at"))
        rows = "SELECT i::text, 1, now(), now(), 'x' FROM generate_series(1, 200000) AS i"
        columns = "(prediction_id, value, observed_at, received_at, source)"
        connection.execute(text(f"INSERT INTO actuals {columns} {rows}"))
    administrator = create_engine(server.url_of("beacon"))
    with administrator.begin() as connection:  # as a build that was broken off leaves it
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_actuals_prediction_id'::regclass")
        )
    ended, longest, count = threading.Event(), [0.0], [0]
    writers = create_engine(server.url_of("beacon_prediction_log"))

    def write() -> None:
        while not ended.is_set():
            began = time.monotonic()
            with writers.begin() as connection:
                connection.execute(text("INSERT INTO actuals (prediction_id, value, observed_at, received_at, source) "
                                        "VALUES ('w', 1, now(), now(), 'w')"))  # fmt: skip
            longest[0] = max(longest[0], time.monotonic() - began)
            count[0] += 1

    failed: list[Exception] = []

    def bring() -> None:
        try:
            migrate_at(server.url_of(OWNER))
        except Exception as error:  # noqa: BLE001 - the test tells it
            failed.append(error)

    writer = threading.Thread(target=write)
    several = [threading.Thread(target=bring) for _ in range(3)]
    writer.start()
    for each in several:
        each.start()
    for each in several:
        each.join()
    ended.set()
    writer.join()
    assert failed == []
    with engine.connect() as connection:
        valid = connection.execute(
            text("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'actuals'::regclass AND indisvalid")
        ).scalars().all()  # fmt: skip
    assert {"ix_actuals_received_at", "ix_actuals_prediction_id"} <= set(valid)
    assert count[0] > 10
    print(f"\n  {count[0]} writes beside the builds, the longest {longest[0]:.3f} s")
    for one in (engine, administrator, writers):
        one.dispose()


def test_a_table_that_is_in_use_is_waited_for_but_not_for_long(server: Postgres) -> None:
    empty(server)
    engine = open_store(server.url_of(OWNER))
    migrate(engine, "0001_tables")
    reader = create_engine(server.url_of("beacon"))
    with reader.begin() as connection:
        connection.execute(text("LOCK TABLE drift_runs IN ACCESS SHARE MODE"))
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"), mapped_errors():
            migrate(engine)
    migrate(engine)
    engine.dispose()
    reader.dispose()
