"""Truth that joins a prediction: by id, by entity and time, late, twice, corrected; and what is refused."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from support.logged_inference import create
from support.service import Service

from beacon_core.domain.actuals import Actual
from beacon_core.spool.record import Record
from beacon_prediction_log.database import Database

ACTUALS = "/v1/actuals"


@pytest.fixture
def predicted(service, row):
    """The id of a prediction."""
    return service.post("/v1/predict", {"features": row}).json()["prediction_id"]


def actual_of(service, name):
    return service.get(f"/v1/predictions/{name}").json()["actual"]


def test_an_actual_by_id_joins_its_prediction(service, predicted):
    sent = {"prediction_id": predicted, "value": 22.5, "observed_at": "2026-01-31T12:00:00+02:00", "source": "deeds"}
    answer = service.post(ACTUALS, sent)
    assert answer.json() == {"outcomes": ["accepted"], "accepted": 1}
    found = actual_of(service, predicted)
    assert (found["value"], found["source"]) == (22.5, "deeds")
    assert datetime.fromisoformat(found["observed_at"]) == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert datetime.fromisoformat(found["received_at"]) > datetime.now(UTC) - timedelta(minutes=1)


def test_the_time_and_source_may_be_left_out(service, predicted):
    assert service.post(ACTUALS, {"prediction_id": predicted, "value": 22}).status == 200
    assert actual_of(service, predicted)["source"] == "api"


def test_the_same_again_is_a_duplicate_and_another_value_a_correction(service, predicted):
    outcomes = [
        service.post(ACTUALS, {"prediction_id": predicted, "value": value}).json()["outcomes"]
        for value in (22, 22, 23, 23, 22)
    ]
    assert outcomes == [["accepted"], ["duplicate"], ["corrected"], ["duplicate"], ["corrected"]]
    assert actual_of(service, predicted)["value"] == 22


def test_many_are_taken_in_order(service, row):
    names = [service.post("/v1/predict", {"features": row}).json()["prediction_id"] for _ in range(3)]
    items = [{"prediction_id": name, "value": value} for name, value in zip(names, (1, 2, 3), strict=True)]
    assert service.post(ACTUALS, {"actuals": [*items, items[0]]}).json() == {
        "outcomes": ["accepted", "accepted", "accepted", "duplicate"],
        "accepted": 3,
    }
    assert [actual_of(service, name)["value"] for name in names] == [1, 2, 3]


def test_one_bad_actual_rejects_all(service, predicted):
    good = {"prediction_id": predicted, "value": 22}
    answer = service.post(ACTUALS, {"actuals": [good, good | {"value": -1}]})
    assert answer.error() == (422, "out_of_valid_range", "actuals[1].value")
    unknown = service.post(ACTUALS, {"actuals": [good, good | {"prediction_id": "nobody"}]})
    assert unknown.error() == (404, "unknown_prediction", "actuals[1].prediction_id")
    assert actual_of(service, predicted) is None


def test_a_late_actual_joins_a_prediction_of_an_earlier_process(settings, row):
    with Service(create(settings)) as service:
        name = service.post("/v1/predict", {"features": row}).json()["prediction_id"]
    with Service(create(settings)) as service:
        assert service.post(ACTUALS, {"prediction_id": name, "value": 30}).status == 200
        assert actual_of(service, name)["value"] == 30


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path, product):
    """A database with predictions of entity 17 at noon and at two, and of entity 18 at noon."""
    database = Database(f"sqlite:///{tmp_path / 'beacon.db'}", product.feature_names)
    yield database
    database.close()


def record(product, name, hours, entity):
    moment = (NOON + timedelta(hours=hours)).timestamp()
    given = [1.0] * len(product.feature_names)
    return Record(
        [name], moment, product.feature_names, [given], [20.0], [18.0], [22.0], "1", "a" * 64, 0.001, "r", "0" * 32,
        entities=[str(entity)],
    )  # fmt: skip


@pytest.fixture
def records(database, product):
    kept = {
        name: record(product, name, hours, entity)
        for name, hours, entity in [("noon", 0, 17), ("two", 2, 17), ("other", 0, 18)]
    }
    database.insert(list(kept.values()))
    return kept


def of_entity(value, hours, entity="17"):
    return Actual(value=value, observed_at=NOON + timedelta(hours=hours), source="t", entity=entity)


def joined(database, records):
    found = {name: database.find_actual(each) for name, each in records.items()}
    return {name: actual.value for name, actual in found.items() if actual}


@pytest.mark.parametrize(
    ("hours", "joins"), [(-1, {}), (0, {"noon": 1.0}), (1.5, {"noon": 1.0}), (2, {"two": 1.0}), (99, {"two": 1.0})]
)
def test_an_actual_of_an_entity_joins_the_prediction_before_it(database, records, hours, joins):
    database.add_actuals([of_entity(1.0, hours)])
    assert joined(database, records) == joins


def test_of_several_actuals_the_first_observed_counts_corrected(database, records):
    outcomes = database.add_actuals(
        [of_entity(5.0, 1.5), of_entity(1.0, 1), of_entity(1.0, 1), of_entity(2.0, 1), of_entity(9.0, 1, "18")]
    )
    assert outcomes == ["accepted", "accepted", "duplicate", "corrected", "accepted"]
    assert joined(database, records) == {"noon": 2.0, "other": 9.0}


def test_an_actual_for_the_id_wins_over_one_for_the_entity(database, records):
    database.add_actuals([of_entity(1.0, 1), Actual(value=3.0, observed_at=NOON, source="t", prediction_id="noon")])
    assert joined(database, records)["noon"] == 3.0


def test_an_actual_of_an_entity_is_taken_over_http(service):
    sent = {"entity": {"tract_id": 17}, "observed_at": "2026-01-31T12:00:00Z", "value": 22}
    assert service.post(ACTUALS, sent).json()["outcomes"] == ["accepted"]
    assert service.post(ACTUALS, sent).json()["outcomes"] == ["duplicate"]


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
ENTITY = {"entity": {"tract_id": 1}}
REFUSED = [
    ({}, 400, "invalid_body", "entity"),
    ([], 400, "invalid_body", None),
    ({"actuals": []}, 400, "invalid_body", "actuals"),
    ({"actuals": {}}, 400, "invalid_body", "actuals"),
    ({"actuals": [7]}, 400, "invalid_body", "actuals[0]"),
    ({"actuals": [{}] * 1001}, 422, "batch_too_large", "actuals"),
    ({"actuals": [{"prediction_id": "P", "value": 1}], "x": 1}, 400, "invalid_body", "actuals"),
    ({"prediction_id": "P", "value": 1, "x": 1}, 400, "invalid_body", "x"),
    ({"prediction_id": "P", "value": 1, **ENTITY}, 400, "invalid_body", "entity"),
    ({"prediction_id": "P"}, 422, "invalid_type", "value"),
    ({"prediction_id": "P", "value": "22"}, 422, "invalid_type", "value"),
    ({"prediction_id": "P", "value": True}, 422, "invalid_type", "value"),
    ({"prediction_id": "P", "value": 100.1}, 422, "out_of_valid_range", "value"),
    ({"prediction_id": "P", "value": 10**400}, 422, "not_finite", "value"),
    ({"prediction_id": "nobody", "value": 1}, 404, "unknown_prediction", "prediction_id"),
    ({"prediction_id": 7, "value": 1}, 422, "invalid_type", "prediction_id"),
    ({"prediction_id": "a b", "value": 1}, 422, "invalid_id", "prediction_id"),
    ({"prediction_id": None, "value": 1}, 400, "invalid_body", "entity"),
    ({"prediction_id": None, "value": 1, **ENTITY}, 400, "invalid_body", "observed_at"),
    ({"prediction_id": "P", "value": None}, 422, "invalid_type", "value"),
    ({"prediction_id": "P", "value": 1, "source": "a b"}, 422, "invalid_id", "source"),
    ({"prediction_id": "P", "value": 1, "source": 7}, 422, "invalid_type", "source"),
    ({"prediction_id": "P", "value": 1, "observed_at": TOMORROW}, 422, "out_of_valid_range", "observed_at"),
    ({"prediction_id": "P", "value": 1, "observed_at": "2026-01-31T12:00:00"}, 422, "invalid_type", "observed_at"),
    ({"prediction_id": "P", "value": 1, "observed_at": "yesterday"}, 422, "invalid_type", "observed_at"),
    ({"prediction_id": "P", "value": 1, "observed_at": 1700000000}, 422, "invalid_type", "observed_at"),
    (
        {"prediction_id": "P", "value": 1, "observed_at": "0001-01-01T00:00:00+14:00"},
        *(422, "out_of_valid_range", "observed_at"),
    ),
    ({"value": 1, **ENTITY}, 400, "invalid_body", "observed_at"),
    ({"value": 1, "entity": 1, "observed_at": "2026-01-31T12:00:00Z"}, 422, "invalid_entity", "entity"),
    (
        {"value": 1, "entity": {"tract_id": "1"}, "observed_at": "2026-01-31T12:00:00Z"},
        *(422, "invalid_entity", "entity.tract_id"),
    ),
    (
        {"value": 1, "entity": {"tract_id": 10**70}, "observed_at": "2026-01-31T12:00:00Z"},
        *(422, "invalid_entity", "entity.tract_id"),
    ),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED, ids=lambda value: repr(value)[:50])
def test_a_bad_actual_is_refused(service, predicted, body, status, code, field):
    if isinstance(body, dict) and body.get("prediction_id") == "P":
        body = body | {"prediction_id": predicted}
    assert service.post(ACTUALS, body).error() == (status, code, field)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b'{"value": NaN}', "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[" * 9999, "invalid_json"),
    ]
    + [(b'{"source":"\xff"}', "invalid_json"), (b'{"source":"\\ud800"}', "invalid_json")],
)
def test_a_body_that_is_no_json_is_refused(service, body, code):
    assert service.post(ACTUALS, body).error() == (400, code, None)


def test_another_content_type_is_415(service):
    assert service.post(ACTUALS, b"{}", [("Content-Type", "text/plain")]).error()[0] == 415


class TestKey:
    """With an API key set, the prediction log is closed to those who do not have it."""

    @pytest.fixture
    def locked(self, settings):
        with Service(create(msgspec.structs.replace(settings, api_key="open-sesame"))) as running:
            yield running

    GIVEN = [[], [("X-API-Key", "wrong")], [("Authorization", "Bearer wrong")], [("X-API-Key", "\xe9")]]

    @pytest.mark.parametrize("headers", GIVEN)
    def test_without_it_nothing_is_read_or_written(self, locked, headers):
        assert locked.post(ACTUALS, {}, headers).error()[:2] == (401, "unauthorized")
        assert locked.get("/v1/predictions/x", headers).error()[:2] == (401, "unauthorized")

    @pytest.mark.parametrize("headers", [[("X-API-Key", "open-sesame")], [("Authorization", "Bearer open-sesame")]])
    def test_with_it_the_log_is_open(self, locked, row, headers):
        name = locked.post("/v1/predict", {"features": row}).json()["prediction_id"]
        assert locked.post(ACTUALS, {"prediction_id": name, "value": 1}, headers).status == 200
        assert locked.get(f"/v1/predictions/{name}", headers).json()["actual"]["value"] == 1
