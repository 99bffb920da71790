"""What a pooler in transaction mode needs, with a real PgBouncer; test_poolers.py has each need by itself."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from support.lakes import own_rows
from support.pgbouncer import SERVER_CONNECTIONS, pooler, version
from support.postgres import new_database, postgres

from beacon_core.data import predictions
from beacon_core.data.database import migrate_at, open_store
from beacon_core.data.prediction_log import LogSlice, sql
from beacon_core.data.run_lock import only_one
from beacon_core.platform.locks import BusyError

pytestmark = pytest.mark.slow

OFTEN = 12
"""More often than psycopg runs a statement before it prepares it."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with new_database() as address:
        yield address


@pytest.fixture(scope="module")
def pooled(url: str) -> Iterator[str]:
    """The database through a PgBouncer in transaction mode, as an address of Beacon's says it."""
    with pooler(url) as address:
        yield address.render_as_string(hide_password=False)


def test_a_migration_goes_through_a_pooler(tmp_path: Path) -> None:
    """All of it, the indexes that are built beside traffic, too; and again, where there is nothing to do."""
    with postgres() as server:
        server.create_database("empty")
        server.database = "empty"
        with pooler(server.url) as address:
            own = address.update_query_dict({"prepare_threshold": "none"}).render_as_string(hide_password=False)
            migrate_at(own)
            migrate_at(own)
        assert _indexes(server.url_of("beacon", "empty")) == _indexes(server.url_of("beacon", "postgres"))


def _indexes(url: str) -> set[str]:
    opened = open_store(url)
    inspector = inspect(opened)
    found = {str(one["name"]) for table in inspector.get_table_names() for one in inspector.get_indexes(table)}
    opened.dispose()
    assert len(found) > 10
    return found


def test_many_clients_share_few_connections_and_each_gets_its_own_rows(pooled: str) -> None:
    clients, rounds = 4 * SERVER_CONNECTIONS, 25
    rows = own_rows(clients * rounds)
    failed: list[str] = []
    opened = open_store(f"{pooled}?prepare_threshold=none")

    def work(number: int) -> None:
        engine = open_store(f"{pooled}?prepare_threshold=none")
        try:
            for own in rows[number::clients]:
                with engine.begin() as connection:
                    predictions.insert(connection, [own])
                with engine.connect() as connection:
                    (found,) = sql.find(connection, [own.id])
                    assert found.id == own.id
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(repr(error))
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with opened.connect() as connection:
        assert sql.count(connection, LogSlice()) == len(rows)
        servers = connection.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )
    assert servers < SERVER_CONNECTIONS
    opened.dispose()


def test_a_limit_of_one_client_is_not_anothers(pooled: str) -> None:
    """A session's setting would stay with the connection that the pooler gives to somebody else."""
    limited, other = (open_store(f"{pooled}?prepare_threshold=none", seconds) for seconds in (7, 3600))
    shown = text("SHOW statement_timeout")
    for _ in range(3 * SERVER_CONNECTIONS):
        with limited.connect() as connection:
            assert connection.scalar(shown) == "7s"
        with other.connect() as connection:
            assert connection.scalar(shown) == "1h"
    for engine in (limited, other):
        engine.dispose()


def test_a_lock_behind_a_pooler_is_held_and_freed(pooled: str, tmp_path: Path) -> None:
    one, other = (open_store(f"{pooled}?prepare_threshold=none") for _ in range(2))
    for _ in range(2 * SERVER_CONNECTIONS):
        with only_one(one, tmp_path, "drift"):
            with pytest.raises(BusyError), only_one(other, tmp_path, "drift"):
                pass
            with only_one(other, tmp_path, "retraining"):
                pass
    for engine in (one, other):
        engine.dispose()


def test_prepared_statements_would_fail_there(pooled: str) -> None:
    if version() >= (1, 21):
        pytest.skip("this PgBouncer follows prepared statements")
    engines = [open_store(pooled) for _ in range(4 * SERVER_CONNECTIONS)]
    try:
        with pytest.raises(DBAPIError, match="prepared statement"):
            _ask_often(engines)
    finally:
        for engine in engines:
            engine.dispose()


def _ask_often(engines: list[Engine]) -> None:
    for _ in range(OFTEN):
        for engine in engines:
            with engine.begin() as connection:  # committed: psycopg forgets what it prepared at a rollback
                connection.execute(text("SELECT 1"))
