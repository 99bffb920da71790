"""The ledger's pages: what served when, each run with its figures, and the button that rolls back."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data import ledger
from beacon_core.data.approvals import REJECTED, newest
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import verdicts
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin

ONE, TWO = Pin("boston-housing", "1", "1" * 64), Pin("boston-housing", "2", "2" * 64)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHECKS = [
    {
        "reason": "output_shift",
        "title": "shift of the mean",
        "outcome": "fail",
        "number": 0.31,
        "limit": 0.25,
        "old": 22.4,
    }
]


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def console(tmp_path):
    with Service(create(Settings(home=tmp_path, console_token="a token"))) as running:
        yield running


def write(engine, *rows):
    """Rows as (run, minutes, step, outcome, serving, changes)."""
    with engine.begin() as connection:
        for number, (run, minutes, step, outcome, serving, changes) in enumerate(rows):
            fields = {
                "key": f"{run}/{number}",
                "run": run,
                "moment": NOON + timedelta(minutes=minutes),
                "product": "boston-housing",
                "target": "laptop",
                "actor": "the gate",
                "action": "promote",
                "step": step,
                "outcome": outcome,
                "message": f"{step} of {run}",
                "before": ONE,
                "after": TWO,
                "serving": serving,
            }
            ledger.append(connection, Entry(**(fields | changes)))


def story(engine):
    write(
        engine,
        ("good", 0, "release", "begun", (ONE, TWO), {}),
        ("good", 1, "release", "pass", (TWO,), {"message": "every instance serves version 2"}),
        ("good", 2, "end", "promoted", (TWO,), {}),
        ("bad", 10, "dark", "fail", (TWO,), {"reason": "output_shift", "evidence": {"checks": CHECKS}}),
        ("bad", 11, "end", "refused", (TWO,), {"reason": "output_shift", "message": "<b>it is off</b>"}),
        ("open", 20, "begin", "begun", (TWO,), {"evidence": {"verdict": 3, "approved_by": None}}),
    )


def page(console, path, status=200):
    answer = console.get(path)
    assert answer.status == status, answer.body.decode()
    return answer.body.decode()


def test_an_empty_ledger_says_so(console):
    text = page(console, "/promotions")
    assert "No promotion is recorded yet" in text
    assert "The ledger has nothing from now or before" in text


def test_the_runs_are_listed_the_newest_first(console, engine):
    story(engine)
    text = page(console, "/promotions")
    places = [text.index(f"/promotions/{run}") for run in ("open", "bad", "good")]
    assert places[0] < places[1]
    for words in ("running", "refused", "promoted", "output shift"):
        assert words in text
    assert "&lt;b&gt;it is off" in text
    front = page(console, "/")
    assert "/promotions/bad" in front
    assert "No promotion is recorded" not in front


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-01-31 12:00:30", "model 1</a>"),
        ("2026-01-31T12:05", "every instance serves version 2"),
        ("2026-01-31T13:05+01:00", "every instance serves version 2"),
        ("2026-01-31 11:59", "The ledger has nothing from that time or before"),
    ],
)
def test_what_served_at_a_time(console, engine, at, words):
    story(engine)
    assert words in page(console, f"/promotions?{urlencode({'at': at})}")


def test_no_time_is_refused_clearly(console):
    assert "at must be a time such as" in page(console, "/promotions?at=yesterday", 422)


def test_a_run_shows_every_step_and_figure(console, engine):
    story(engine)
    text = page(console, "/promotions/bad")
    for words in ("Promotion of model 2", "dark of bad", "shift of the mean", "0.310", "0.250", "22.4", "output shift"):
        assert words in text
    assert "every instance serves" not in text
    assert "begin of open" in page(console, "/promotions/open")
    assert "There is no promotion nobody" in page(console, "/promotions/nobody", 404)


def test_the_button_rolls_the_model_in_service_back(console, engine):
    story(engine)
    with engine.begin() as connection:
        row = {"moment": NOON, "product": "boston-housing", "version": "2", "sha256": TWO.sha256, "outcome": "pass"}
        connection.execute(insert(verdicts).values(row | {"data_fingerprint": "0", "verdict": {"reason": "better"}}))
    text = page(console, "/promotions")
    assert 'action="/models/2/decision"' in text
    assert "Roll back model 2" in text
    fields = {"decision": "rejected", "person": "ada", "reason": "odd", "token": "a token", "sha256": TWO.sha256}
    answer = console.post(
        "/models/2/decision", urlencode(fields).encode(), [("Content-Type", "application/x-www-form-urlencoded")]
    )
    assert answer.status == 303
    with engine.connect() as connection:
        decided = newest(connection, TWO.sha256)
    assert decided is not None
    assert decided.decision == REJECTED
