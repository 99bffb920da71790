"""Times: every spelling that RFC 3339 and ISO 8601 allow means the same at every door, and what is no time is named."""

import argparse
import re
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from support.service import Service
from support.settings import Settings

from beacon_core.domain.times import TimeRangeError, read_time
from beacon_core.feature_store.definitions import push_source_name
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.commands import drift
from beacon_promotion.commands import promote

pytestmark = pytest.mark.xdist_group("reports")

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NEW_YEAR = datetime(2017, 1, 1, tzinfo=UTC)
SPELLINGS = {
    "2026-01-31T12:00:00Z": NOON,
    "2026-01-31t12:00:00z": NOON,
    "2026-01-31 12:00:00z": NOON,
    "2026-01-31T12:00:00+00:00": NOON,
    "2026-01-31T12:00:00-00:00": NOON,
    "2026-01-31t13:30:00+01:30": NOON,
    "2026-01-31T12:00Z": NOON,
    "20260131T120000Z": NOON,
    **{f"2026-01-31T12:00:00.{'0' * digits}z": NOON for digits in range(1, 13)},
    "2026-01-31T12:00:00,000Z": NOON,
    "2026-01-31T12:00:00.123456789012z": NOON.replace(microsecond=123456),
    "2026-01-31T12:00:00.5Z": NOON.replace(microsecond=500000),
    "2016-12-31T24:00:00Z": NEW_YEAR,
    "2016-12-31t24:00z": NEW_YEAR,
    "2016-12-31T24:00:00.000-00:00": NEW_YEAR,
    "20161231T24Z": NEW_YEAR,
    "2016-12-31T23:59:60Z": NEW_YEAR,
    "2016-12-31t23:59:60z": NEW_YEAR,
    "2016-12-31 18:59:60-05:00": NEW_YEAR,
    "2017-01-01T05:29:60.25+05:30": NEW_YEAR.replace(microsecond=250000),
}
NO_TIMES = [
    *("", "yesterday", "Z", "12:00Z", "2026-02-30T00:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T12:60:00Z"),
    *("2026-01-31T12:00:61Z", "2026-01-31T12:00:60Z", "2026-01-30T23:59:60Z", "2016-12-31T23:59:60+01:00"),
    *("2026-01-31T24:00:01Z", "2026-01-31T24:01:00Z", "2026-01-31T24:00:00.1Z", "2026-01-31T12:00:00+24:00"),
    *("2026-01-31T12:00:00ZZ", "2026-01-31T12:00:00Z\n", "\u0662026-01-31T12:00:00Z", "9" * 100_000),
    *(None, True, 1769860800, 1.5, [], {}),
]
OUT_OF_RANGE = ["9999-12-31T24:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60z", "9999-12-31T23:00-02:00"]
TOO_EARLY = ["1969-12-31T23:59:59Z", "1970-01-01t01:00:00+01:01", "1601-01-01T00:00:00z", "0001-01-01T00:00:00Z"]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_a_time_is_that_time(text):
    assert read_time(text) == SPELLINGS[text]


@pytest.mark.parametrize("text", NO_TIMES, ids=lambda text: repr(text)[:40])
def test_what_is_no_time_is_told_so(text):
    with pytest.raises(ValueError, match=r"must be a time such as|leap second"):
        read_time(text)


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_a_time_beyond_the_calendar_is_told_so(text):
    with pytest.raises(TimeRangeError, match="year must be 1 to 9999"):
        read_time(text)


@pytest.mark.parametrize("text", ["2026-01-31T12:00", "2026-01-31t12:00:00.5", "2026-01-31", "2026-W05-6"])
def test_a_time_without_a_zone_has_the_one_that_the_door_gives_it(text):
    with pytest.raises(ValueError, match="needs a time zone"):
        read_time(text)
    assert read_time(text, UTC).date() == NOON.date()


def test_an_actual_is_observed_at_any_spelling(inference, row):
    for number, (text, moment) in enumerate(SPELLINGS.items()):
        name = f"times-{number}"
        body = {"features": row, "prediction_id": name}
        assert inference.post("/v1/predict", json=body).status_code == 200
        actual = {"prediction_id": name, "value": 20, "observed_at": text}
        answer = inference.post("/v1/actuals", json=actual)
        assert answer.status_code == 200, (text, answer.text)
        kept = inference.get(f"/v1/predictions/{name}").json()["actual"]["observed_at"]
        assert read_time(kept) == moment, text


@pytest.mark.parametrize(
    "text", [*NO_TIMES, *OUT_OF_RANGE, *TOO_EARLY, "2026-01-31T12:00:00"], ids=lambda text: repr(text)[:40]
)
def test_an_actual_observed_at_no_time_is_refused(inference, product, text):
    actual = {"entity": {product.entity.key: 17}, "value": 20, "observed_at": text}
    answer = inference.post("/v1/actuals", json=actual)
    assert answer.status_code == (400 if text is None else 422), answer.text  # null: not given
    assert answer.json()["field"] == "observed_at"


@pytest.fixture
def push_body(product, row):
    """Makes the body of a push of one row, of an entity that no other test knows."""

    def make(event_time, created=None):
        columns = {product.entity.key: [900_001], EVENT_TIME: [event_time], **{name: [row[name]] for name in row}}
        if created is not None:
            columns[CREATED_TIME] = [created]
        return {"push_source_name": push_source_name(product), "df": columns, "to": "online"}

    return make


@pytest.mark.parametrize("text", SPELLINGS)
def test_features_are_pushed_at_any_spelling(features, push_body, text):
    answer = features.post("/push", json=push_body(event_time=text, created=text))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("text", ["2026-01-31T12:00:60Z", "2026-01-31T24:00:01Z", 7, *OUT_OF_RANGE, *TOO_EARLY])
def test_features_pushed_at_no_time_are_refused(features, push_body, text):
    answer = features.post("/push", json=push_body(event_time=text))
    assert answer.status_code == 422, answer.text
    assert "event_timestamp[0]" in answer.text


def test_a_materialization_takes_any_spelling_and_names_what_is_no_time(features):
    for text in ("2016-12-31t00:00:00z", "2016-12-30T24:00:00Z", "2016-06-30T23:59:60Z"):
        body = {"start_ts": text, "end_ts": "2017-01-01t00:00:00.123456789z"}
        assert features.post("/materialize", json=body).status_code == 200, text
    for text in ("2016-12-31T12:00:60Z", "0001-01-01T00:00:00+14:00"):
        answer = features.post("/materialize", json={"start_ts": text, "end_ts": "2017-01-01T00:00:00Z"})
        assert answer.status_code == 422
        assert "start_ts" in answer.text


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    from beacon_console.app import create

    with Service(create(Settings(home=tmp_path_factory.mktemp("console")))) as running:
        yield running


QUERIES = {text.replace("+", sign): moment for text, moment in SPELLINGS.items() for sign in ("%2B", "+")}


@pytest.mark.parametrize("text", QUERIES)
def test_the_ledgers_page_takes_any_spelling(console, text):
    """Also with a + that stands for a blank, as a browser's address line sends it."""
    answer = console.get(f"/promotions?at={text.replace(' ', '%20')}")
    assert answer.status == 200
    moment = QUERIES[text]
    assert f'value="{moment.strftime("%Y-%m-%d %H:%M:%S")}"' in answer.body.decode()


WORDS = [text for text in NO_TIMES if isinstance(text, str) and 0 < len(text) < 1000 and text == text.strip()]


@pytest.mark.parametrize("text", [*WORDS, *OUT_OF_RANGE])
def test_the_ledgers_page_names_what_is_no_time(console, text):
    answer = console.get(f"/promotions?at={quote(text)}")
    assert answer.status == 422
    assert re.search("at (must be a time|has a leap second|is out of range)", answer.body.decode())


@pytest.mark.parametrize("job", [drift, promote])
def test_a_jobs_moment_is_read_alike(job):
    for text, moment in SPELLINGS.items():
        assert job._moment(text) == moment, text
    for text in ("yesterday", "2026-01-31T12:00:60Z", *OUT_OF_RANGE):
        with pytest.raises(argparse.ArgumentTypeError):
            job._moment(text)


def test_there_is_one_parser():
    """But for times that Beacon wrote: drift and the lake read millions, and the client has none of our packages."""
    own = {
        "services/client/beacon_client/frames.py",
        "services/core/beacon_core/data/prediction_log/lake/blocks.py",
        "services/core/beacon_core/domain/times.py",
        "services/drift-profiling/beacon_drift_profiling/profiling/log.py",
    }
    folders = (ROOT / name for name in ("services", "jobs"))
    sources = [file for folder in folders for file in folder.rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in sources if "fromisoformat" in file.read_text(encoding="utf-8")}
    assert found == own
