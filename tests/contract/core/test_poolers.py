"""What a pooler in transaction mode needs: no prepared statements, and locks that a transaction holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from support.postgres import new_database

from beacon_core.data.database import open_store
from beacon_core.data.run_lock import only_one
from beacon_core.platform.locks import BusyError
from beacon_core.platform.settings import SettingsError

PREPARED = text("SELECT count(*) FROM pg_prepared_statements")
OFTEN = 12
"""More often than psycopg runs a statement before it prepares it."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with new_database() as address:
        yield address


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    opened = open_store(url)
    yield opened
    opened.dispose()


def prepared(url: str) -> int:
    """How many statements the server keeps for a connection that asked one often."""
    opened = open_store(url)
    try:
        with opened.connect() as connection:
            for _ in range(OFTEN):
                connection.execute(text("SELECT 1"))
            return int(connection.scalar(PREPARED) or 0)
    finally:
        opened.dispose()


def test_nothing_is_prepared_where_the_address_says_so(url: str) -> None:
    assert prepared(f"{url}?prepare_threshold=none") == 0
    assert prepared(f"{url}?application_name=a&prepare_threshold=none") == 0
    assert prepared(url) > 0
    assert prepared(f"{url}?prepare_threshold=0") > 0


def test_another_word_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="BEACON_DATABASE_URL"):
        open_store(f"{url}?prepare_threshold=never")


def test_a_run_is_locked_by_a_transaction(engine: Engine, tmp_path: Path) -> None:
    """A session's lock would be left behind on a connection of the pooler's, where nobody frees it."""
    holders = text(
        "SELECT a.state FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE l.locktype = 'advisory'"
    )
    with only_one(engine, tmp_path, "drift"):
        with engine.connect() as connection:
            assert list(connection.execute(holders)) == [("idle in transaction",)]
        with pytest.raises(BusyError, match="another run is at work"), only_one(engine, tmp_path, "drift"):
            pass
        with only_one(engine, tmp_path, "retraining"):
            pass
    with pytest.raises(ZeroDivisionError), only_one(engine, tmp_path, "drift"):
        raise ZeroDivisionError
    with only_one(engine, tmp_path, "drift"), engine.connect() as connection:
        assert list(connection.execute(holders)) == [("idle in transaction",)]
