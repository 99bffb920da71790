"""The ledger: rows are only appended, come once, and say what served at any time."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from beacon_core.data import ledger
from beacon_core.data.tables import promotions
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin

ONE, TWO = Pin("boston-housing", "1", "1" * 64), Pin("boston-housing", "2", "2" * 64)
NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def entry(number, minutes, serving, **changes):
    fields = {
        "key": f"run/{number}",
        "run": "run",
        "moment": NOON + timedelta(minutes=minutes),
        "product": "boston-housing",
        "target": "laptop",
        "actor": "the gate",
        "action": "promote",
        "step": "release",
        "outcome": "pass",
        "message": "it serves",
        "before": ONE,
        "after": TWO,
        "serving": serving,
        "evidence": {"checks": [{"number": 1.5}]},
    }
    return Entry(**(fields | changes))


def write(engine, *entries):
    with engine.begin() as connection:
        return [ledger.append(connection, item) for item in entries]


def test_a_row_comes_back_as_it_went_in(engine):
    first = entry(1, 0, (ONE, TWO), reason="latency")
    bare = entry(2, 1, (), before=None, after=None, evidence=None)
    assert write(engine, first, bare) == [True, True]
    with engine.connect() as connection:
        assert ledger.history(connection, "boston-housing") == [bare, first]
        assert ledger.history(connection, "boston-housing", run="another") == []
        assert ledger.history(connection, "another") == []


def test_a_row_that_is_shipped_again_comes_once(engine):
    row = entry(1, 0, (ONE,))
    assert write(engine, row, entry(2, 1, (TWO,))) == [True, True]
    assert write(engine, row, msgspec.structs.replace(row, message="another word"), entry(3, 2, (ONE,))) == [
        False,
        False,
        True,
    ]
    with engine.connect() as connection:
        assert [item.message for item in ledger.history(connection, "boston-housing")] == ["it serves"] * 3


@pytest.mark.parametrize("change", ["update", "delete", "truncate"])
def test_nobody_changes_what_is_written(engine, change):
    write(engine, entry(1, 0, (ONE,)))
    statements = {
        "update": update(promotions).values(outcome="fail"),
        "delete": delete(promotions),
        "truncate": text("TRUNCATE promotions" if engine.dialect.name == "postgresql" else "DELETE FROM promotions"),
    }
    with pytest.raises(DatabaseError, match="the ledger is append-only"), engine.begin() as connection:
        connection.execute(statements[change])
    with engine.connect() as connection:
        assert [item.outcome for item in ledger.history(connection, "boston-housing")] == ["pass"]


def test_what_served_at_a_time(engine):
    rows = [
        entry(1, 0, (ONE,), step="adopt"),
        entry(2, 10, (ONE,), step="begin", outcome="begun"),
        entry(3, 20, (ONE, TWO), outcome="begun"),
        entry(4, 21, (TWO,)),
        entry(5, 22, (TWO,), step="end", outcome="promoted"),
        # Kept while the store was down, and shipped later.
        entry(7, 40, (ONE,), step="end", outcome="rolled_back"),
        entry(6, 39, (TWO, ONE), outcome="begun", action="watch"),
    ]
    write(engine, *rows)
    with engine.connect() as connection:

        def at(minutes):
            found = ledger.served_at(connection, "boston-housing", NOON + timedelta(minutes=minutes))
            return None if found is None else [pin.version for pin in found.serving]

        assert [at(minutes) for minutes in (-1, 0, 15, 20, 20.5, 21, 30, 39.5, 40, 9999)] == [
            None, ["1"], ["1"], ["1", "2"], ["1", "2"], ["2"], ["2"], ["2", "1"], ["1"], ["1"],
        ]  # fmt: skip
        served = ledger.served_at(connection, "boston-housing", NOON + timedelta(minutes=30))
        assert ledger.change_of(connection, served) == rows[3]
        assert ledger.counts(connection, "boston-housing") == [
            ("promoted", 1, rows[4].moment),
            ("rolled_back", 1, rows[5].moment),
        ]
        assert ledger.ends(connection, "boston-housing") == [rows[5], rows[4]]
