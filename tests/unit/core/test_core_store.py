"""The store: migrations make exactly the tables of the metadata, and times come back as they went in, in UTC."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from beacon_core.data.database import MIGRATIONS, migrate, open_store
from beacon_core.data.schema_support import OLDEST_CODE
from beacon_core.data.tables import actuals, job_runs, metadata, predictions, traffic
from beacon_core.domain.errors import ConfigurationError


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'new folder' / 'beacon.db'}")
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_the_metadatas(engine):
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_revisions_are_reached_one_after_the_other_and_their_numbers_have_no_gap(engine):
    revisions = sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert [int(name[:4]) for name in revisions] == list(range(1, len(revisions) + 1))
    for revision in revisions:
        migrate(engine, revision)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == revision


@pytest.mark.parametrize("schema", ["0001", "0008", "9999_of_later"])
def test_a_schema_that_is_not_known_is_refused_in_one_line_and_left_as_it_is(engine, schema):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :schema"), {"schema": schema})
        connection.execute(text("UPDATE schema_support SET oldest_code = :schema"), {"schema": schema})
    with pytest.raises(ConfigurationError) as refused:
        migrate(engine)
    folder = Path(engine.url.database).parent
    assert str(refused.value) == (
        f"The database {folder / 'beacon.db'} has the schema {schema}, which this revision of Beacon does not know. "
        f"Run the revision that wrote it, or start over: move the folder {folder} away."
    )
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == schema


def test_a_later_schema_that_says_so_is_used_and_left_as_it_is(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_of_later'"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999_of_later"
        assert connection.scalar(text("SELECT oldest_code FROM schema_support")) == OLDEST_CODE


def test_an_index_that_is_missing_comes_with_the_next_migration(engine):
    migrate(engine, "0002_removals_and_distributions")
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_predictions_time"))
    migrate(engine)
    assert "ix_predictions_time" in {found["name"] for found in inspect(engine).get_indexes("predictions")}


def test_a_tables_null_is_no_json(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction("a", MOMENT) | {"from_store": None}])
        assert connection.execute(select(predictions.c.id).where(predictions.c.from_store.is_(None))).all()


def test_predictions_are_counted_once_by_hour_and_version_whoever_writes_them(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction("a", MOMENT), prediction("b", MOMENT)])
    columns = list(prediction("", MOMENT))
    places = ", ".join(["?"] * len(columns))
    late, again = prediction("c", MOMENT - timedelta(hours=1)), prediction("b", MOMENT)
    rows = [late, again, prediction("d", MOMENT, "2"), prediction("e", MOMENT, "2")]
    values = [row[name].isoformat(" ") if name == "time" else row[name] for row in rows for name in columns]
    with engine.begin() as connection:  # as inference ships them
        several = ", ".join([f"({places})"] * len(rows))
        statement = f"INSERT INTO predictions ({', '.join(columns)}) VALUES {several} ON CONFLICT (id) DO NOTHING"
        connection.exec_driver_sql(statement, tuple(values))
        connection.exec_driver_sql(statement, tuple(values))
        found = connection.execute(select(traffic).order_by(traffic.c.hour, traffic.c.model_version)).all()
    hour = MOMENT.replace(minute=0, second=0, microsecond=0)
    assert found == [(hour - timedelta(hours=1), "1", 0, 1), (hour, "1", 0, 2), (hour, "2", 0, 2)]


def test_migrating_again_changes_nothing(engine):
    migrate(engine)
    before = inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(insert(job_runs), [run()])
    migrate(engine)
    assert inspect(engine).get_table_names() == before
    with engine.connect() as connection:
        assert len(connection.execute(select(job_runs)).all()) == 1


def test_a_process_that_finds_the_newest_schema_loads_no_alembic(engine):
    migrate(engine)
    code = (
        "import sys; from beacon_core.data.database import migrate, open_store; "
        "migrate(open_store(sys.argv[1])); print('alembic' in sys.modules)"
    )
    command_line = [sys.executable, "-c", code, str(engine.url)]
    assert subprocess.run(command_line, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_readers_do_not_wait_for_the_writer(engine):
    migrate(engine)
    with engine.connect() as writer, engine.connect() as reader:
        writer.execute(text("BEGIN IMMEDIATE"))
        writer.execute(insert(job_runs), [run()])
        assert reader.execute(select(job_runs)).all() == []
        assert reader.execute(text("PRAGMA journal_mode")).scalar() == "wal"


MOMENT = datetime(2026, 1, 31, 23, 30, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
def test_a_time_comes_back_in_utc(engine, zone):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(actuals), [actual(MOMENT.astimezone(zone))])
        found = connection.execute(select(actuals.c.observed_at)).scalar_one()
    assert found == MOMENT
    assert found.utcoffset() == timedelta(0)


def test_times_are_compared_as_moments_not_as_texts(engine):
    migrate(engine)
    west = timezone(timedelta(hours=-8))
    with engine.begin() as connection:
        connection.execute(insert(actuals), [actual(MOMENT)])
        later = select(actuals.c.id).where(actuals.c.observed_at < (MOMENT + timedelta(seconds=1)).astimezone(west))
        assert connection.execute(later).all()


def test_a_null_where_none_may_be_is_refused(engine):
    migrate(engine)
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(actuals), [actual(MOMENT) | {"source": None}])


def prediction(name, moment, version="1"):
    row = {"id": name, "time": moment, "features": "{}", "imputed": "[]", "out_of_range": "[]"}
    row |= {"prediction": 20.0, "low": 17.0, "high": 24.0, "model_version": version, "model_sha256": "x"}
    return row | {"latency_seconds": 0.001, "request_id": "r"}


def actual(moment):
    return {"prediction_id": "p", "value": 1.5, "observed_at": moment, "received_at": moment, "source": "test"}


def run():
    return {"job": "retrain", "period": "2026-01", "stage": "fetch", "state": "done", "started_at": MOMENT}


def test_a_migration_that_is_cut_off_leaves_nothing_behind(tmp_path, monkeypatch):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    upgrade = command.upgrade

    def cut_off(*arguments):
        upgrade(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", cut_off)
        with pytest.raises(KeyboardInterrupt):
            migrate(engine)
    assert inspect(engine).get_table_names() == []
    migrate(engine)
    assert "predictions" in inspect(engine).get_table_names()
    engine.dispose()
