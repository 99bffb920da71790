"""How long a statement may take: requests have a limit of their own, and it ends with its transaction."""

import pytest
from sqlalchemy import text
from support.postgres import new_database

from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError, mapped_errors, open_store

LIMIT = text("SHOW statement_timeout")


@pytest.fixture(scope="module")
def url():
    with new_database() as address:
        yield address


def test_a_statement_over_the_limit_is_ended(url: str) -> None:
    engine = open_store(url, 0.2)
    with pytest.raises(DatabaseUnavailableError, match="statement timeout"), mapped_errors(), engine.connect() as one:
        one.execute(text("SELECT pg_sleep(5)"))
    engine.dispose()


def test_requests_have_seconds_and_jobs_have_an_hour(url: str) -> None:
    client = DatabaseClient(url)
    with client.connect() as connection:
        assert connection.scalar(LIMIT) == "10s"
    client.close()
    engine = open_store(url)
    with engine.begin() as connection:
        assert connection.scalar(LIMIT) == "1h"
    engine.dispose()


def test_the_limit_ends_with_its_transaction(url: str) -> None:
    # Behind a pooler the connection is the next one's, who may be another program.
    engine = open_store(url, 7.0)
    with engine.connect() as connection:
        assert connection.scalar(LIMIT) == "7s"
        connection.commit()
        raw = connection.connection.driver_connection
        assert raw is not None
        assert raw.execute("SHOW statement_timeout").fetchone() == ("0",)
        raw.rollback()
    engine.dispose()
