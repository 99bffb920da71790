"""The console's read-only routes in JSON, in process over a real store."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import insert, select
from support.history import high_drift, month, prediction_row
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data import actuals
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import drift_results, predictions

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def console(tmp_path):
    with Service(create(Settings(home=tmp_path))) as running:
        yield running


def get(console, path, status=200):
    answer = console.get(path)
    assert answer.status == status, answer.body.decode()
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.body)


@pytest.fixture
def logged(engine, product):
    """Ids in the log's order; several are of one moment, and the log has them in another order."""
    rows = [prediction_row(product, number, NOW - timedelta(minutes=number // 3), "1") for number in range(25)]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
        ordered = connection.execute(select(predictions.c.id).order_by(predictions.c.time, predictions.c.id)).scalars()
        ids = list(ordered)
        for value in (20.0, 21.5):
            actuals.add(connection, actuals.Actual(value, NOW, "here", prediction_id=ids[3]), NOW)
    return ids


RANGE = f"since={quote((NOW - timedelta(hours=1)).isoformat())}&until={quote((NOW + timedelta(hours=1)).isoformat())}"


@pytest.mark.parametrize("limit", [1, 7, 25, 1000])
def test_pages_of_the_log_have_each_row_once_in_order(console, logged, limit):
    found, after = [], ""
    while True:
        page = get(console, f"/api/predictions?{RANGE}&limit={limit}{after}")
        found += page["predictions"]
        assert len(page["predictions"]) <= limit
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    assert [row["id"] for row in found] == logged
    assert [row["actual"] for row in found if row["actual"] is not None] == [21.5], "the newest correction counts"
    assert found[3]["actual"] == 21.5
    assert found[0]["features"]
    assert found[0]["low"] < found[0]["prediction"] < found[0]["high"]


def test_the_log_is_cut_by_time(console, logged):
    since, until = (NOW - timedelta(minutes=2)).isoformat(), NOW.isoformat()
    page = get(console, f"/api/predictions?since={quote(since)}&until={quote(until)}")
    assert len(page["predictions"]) == 6, "until is not part of it"
    assert get(console, f"/api/predictions?since={since.replace('+00:00', 'Z')}&until={until[:16]}")["next"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=9999-12-31T23:59:59-23:00", "until"),
        ("after=1", "after"),
        ("after=2026-01-31T12:00~", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-5", "limit"),
        ("limit=\u0663", "limit"),
    ],
)
def test_a_wrong_parameter_is_named_in_json(console, engine, query, field):
    name, _, value = query.partition("=")
    answer = get(console, f"/api/predictions?{name}={quote(value)}", 422)
    assert (answer["code"], answer["field"]) == ("invalid_type", field)


def test_runs_and_one_run_are_what_the_store_has(console, engine, product):
    month(engine, product, high=high_drift(product))
    runs = get(console, "/api/drift?limit=3")["runs"]
    assert len(runs) == 3
    assert runs[0]["period"] > runs[1]["period"]
    newest = get(console, "/api/drift/newest")
    assert newest["run"] == runs[0]
    assert get(console, f"/api/drift/{runs[0]['period']}") == newest
    confirmed = {result["feature"] for result in newest["results"] if result["confirmed"]}
    assert set(product.key_features) & confirmed
    assert {"mae"} <= {figure["metric"] for figure in newest["figures"]}
    with engine.connect() as connection:
        rows = connection.execute(
            select(drift_results.c.feature).where(drift_results.c.period == runs[0]["period"])
        ).all()
    assert len(rows) == len(newest["results"])


def test_what_is_not_there_is_an_error_in_json(console, engine):
    assert get(console, "/api/drift/newest", 404)["error"] == "There is no drift run yet."
    assert get(console, "/api/drift/2020", 404)["code"] == "not_found"
    assert get(console, "/api/nothing", 404)["code"] == "not_found"


def test_without_a_database_the_error_is_json_and_says_when_to_try_again(tmp_path):
    settings = Settings(home=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    with Service(create(settings)) as console:
        answer = console.get("/api/drift")
        assert answer.status == 503
        assert json.loads(answer.body)["code"] == "prediction_log_unavailable"
        assert answer.headers["retry-after"]
