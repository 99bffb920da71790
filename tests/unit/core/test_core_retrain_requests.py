"""Requests to retrain: who finds which, and how one moves from waiting to its end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from beacon_core.data import retrain_requests
from beacon_core.data.database import migrate, open_store
from beacon_core.data.retrain_requests import DONE, REFUSED, TAKEN, WAITING
from beacon_core.data.tables import retrain_requests as table

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    with engine.begin() as connection:
        yield connection


def ask(connection: Connection, cause: str, requested_by: str = "drift", version: str = "1", hours: float = 0) -> None:
    now = NOW + timedelta(hours=hours)
    retrain_requests.add(connection, cause, requested_by, "drifted", version, [f"about {cause}"], now)


def states(connection: Connection) -> dict[str, tuple[str, str | None]]:
    return {row.cause: (row.state, row.outcome) for row in connection.execute(select(table))}


def test_without_a_request_nothing_is_open(connection: Connection) -> None:
    assert retrain_requests.open_causes(connection) == []
    assert retrain_requests.open_cause(connection) is None
    assert retrain_requests.last_request_at(connection) is None
    assert retrain_requests.subjects_of(connection, "drift", "1") == set()


def test_a_sender_finds_its_own_requests_and_a_run_those_of_all(connection: Connection) -> None:
    ask(connection, "b", hours=1)
    ask(connection, "a", requested_by="console", hours=2)
    ask(connection, "c", version="2")
    assert retrain_requests.open_causes(connection) == ["b", "a", "c"]
    assert retrain_requests.subjects_of(connection, "drift", "1") == {"about b"}
    assert retrain_requests.last_request_at(connection) == NOW + timedelta(hours=2)


def test_a_taken_request_is_open_until_it_ends(connection: Connection) -> None:
    ask(connection, "a")
    retrain_requests.take(connection, ["a"], NOW)
    assert states(connection) == {"a": (TAKEN, None)}
    assert retrain_requests.open_cause(connection) == "a"
    retrain_requests.release(connection, ["a"], "Kaggle is down")
    assert states(connection) == {"a": (WAITING, "Kaggle is down")}


def test_only_a_taken_request_ends_and_an_ended_one_is_not_taken_again(connection: Connection) -> None:
    for cause in ("a", "b", "c"):
        ask(connection, cause)
    retrain_requests.take(connection, ["a", "b"], NOW)
    retrain_requests.end(connection, ["a", "c"], DONE, "version 2: pass", NOW)
    retrain_requests.end(connection, ["b"], REFUSED, "bad data", NOW)
    ended = {"a": (DONE, "version 2: pass"), "b": (REFUSED, "bad data"), "c": (WAITING, None)}
    assert states(connection) == ended
    retrain_requests.take(connection, ["a", "b"], NOW)
    assert states(connection) == ended
    assert retrain_requests.open_causes(connection) == ["c"]
