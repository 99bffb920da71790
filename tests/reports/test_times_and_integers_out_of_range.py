"""Times that no store can keep, and integers that no type holds: a 4xx in the service's own shape, never a 500."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.data_files import data_path
from support.feature_homes import Features, feature_home, features_of, fill_from_file, items, offline
from support.service import Answer, Service
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions

pytestmark = [pytest.mark.xdist_group("data"), pytest.mark.timeout(600)]
NOW = datetime.now(UTC).replace(microsecond=0)
HALF_AN_HOUR_AHEAD = "in half an hour"
BEFORE_1970 = [
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "1601-01-01T00:00:00Z",
    "1677-09-21T00:12:43Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00+00:01",
]
IN_THE_FUTURE = [
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "2262-04-12T00:00:00Z",
    HALF_AN_HOUR_AHEAD,
]
NEVER = "is out of range: the year must be"
HUGE = [10**400, -(10**400), 10**4299, 2**64, -(2**63) - 1]


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Features]]:
    home = tmp_path_factory.mktemp("home")
    product = items(home / "product")
    with feature_home(home, request.param) as settings:
        fill_from_file(settings, product)
        with features_of(settings, product) as features:
            yield settings, features


def written(text: str) -> str:
    """The time as it is sent; one that moves must not name a test."""
    return (datetime.now(UTC) + timedelta(minutes=30)).isoformat() if text == HALF_AN_HOUR_AHEAD else text


def feasts(answer: Answer) -> str:
    """The message of a refusal in one of Feast's two shapes."""
    assert answer.status == 422, answer.body
    body = answer.json()
    if isinstance(body, dict):
        (detail,) = body["detail"]
        assert set(detail) == {"type", "loc", "msg"}
        return str(detail["msg"])
    told = json.loads(body)
    assert (told["module"], told["class"]) == ("feast.errors", "FeastError")
    return str(told["message"])


@pytest.mark.parametrize("text", [*BEFORE_1970, *IN_THE_FUTURE])
def test_each_time_of_a_write_is_held_to_what_can_be_kept(served: tuple[Settings, Features], text: str) -> None:
    settings, features = served
    before = data_path(settings).read_bytes()
    rule = "lies before 1970" if text in BEFORE_1970 else "lies in the future"
    for column in ("event_timestamp", "created"):
        row = features.row(801, NOW, **{column: written(text)})
        for answer in (*(features.push(row, to) for to in ("online", "offline")), features.write(row)):
            message = feasts(answer)
            assert rule in message or NEVER in message
            assert f"{column}[0]" in message
    for path, field in (
        ("/materialize", "start_ts"),
        ("/materialize", "end_ts"),
        ("/materialize-incremental", "end_ts"),
    ):
        body = {"start_ts": "2020-01-01", "end_ts": NOW.isoformat()} if path == "/materialize" else {}
        message = feasts(features.post(path, body | {field: written(text)}))
        assert field in message
        assert rule in message or NEVER in message
    assert data_path(settings).read_bytes() == before
    assert set(features.read(801)[0].values()) == {None}


def test_created_by_a_clock_that_is_a_little_ahead_is_now(served: tuple[Settings, Features]) -> None:
    """So that training may see what is served."""
    settings, features = served
    row = features.row(802, NOW, created=(datetime.now(UTC) + timedelta(minutes=4)).isoformat())
    assert features.push(row).status == 200
    stored = offline(settings).set_index(features.product.entity.key).loc[802]
    assert stored["created"] <= datetime.now(UTC)


def test_1970_is_taken(served: tuple[Settings, Features]) -> None:
    _, features = served
    body = {"start_ts": "1970-01-01T00:00:00Z", "end_ts": datetime.now(UTC).isoformat()}
    assert features.post("/materialize", body).status == 200
    assert features.post("/materialize", {"disable_event_timestamp": True}).status == 200


@pytest.mark.parametrize("number", HUGE, ids=lambda number: f"{number.bit_length()} bits")
def test_integers_of_any_length_are_refused_wherever_one_may_stand(
    served: tuple[Settings, Features], number: int
) -> None:
    _, features = served
    product = features.product
    key = product.entity.key
    bodies: list[tuple[str, Any]] = [
        ("/get-online-features", {"feature_service": product.feature_service, "entities": {key: [number]}}),
        ("/get-online-features", {"feature_service": product.feature_service, "entities": {key: [1, number]}}),
        ("/get-online-features", {"feature_service": number, "entities": {key: [1]}}),
        ("/get-online-features", {"features": [number], "entities": {key: [1]}}),
        ("/get-online-features", {"feature_service": product.feature_service, "entities": {key: number}}),
        ("/materialize", {"start_ts": number, "end_ts": NOW.isoformat()}),
        ("/materialize-incremental", {"end_ts": number}),
        ("/materialize-incremental", {"end_ts": NOW.isoformat(), "feature_views": [number]}),
        ("/materialize", {"disable_event_timestamp": number}),
        ("/push", {"push_source_name": number, "df": {}}),
        ("/push", {"push_source_name": definitions.push_source_name(product), "df": {}, "to": number}),
        ("/write-to-online-store", {"feature_view_name": number, "df": {}}),
    ]
    for path, body in bodies:
        feasts(features.post(path, body))
    for name in (key, *product.feature_names, "event_timestamp", "created"):
        assert name in feasts(features.push(features.row(803, NOW, **{name: number})))
        assert name in feasts(features.write(features.row(803, NOW, **{name: number})))
    assert set(features.read(803)[0].values()) == {None}


@pytest.mark.parametrize("text", [*BEFORE_1970[1:], *IN_THE_FUTURE])
def test_an_actual_is_observed_at_a_time_that_can_be_kept(
    shared_service: Service, row: dict[str, float], product: Product, text: str
) -> None:
    name = shared_service.post("/v1/predict", {"features": row}).json()["prediction_id"]
    entity = {product.entity.key: 1}
    for actual in ({"prediction_id": name}, {"entity": entity}):
        one = actual | {"value": 20, "observed_at": written(text)}
        answer = shared_service.post("/v1/actuals", one)
        assert answer.error() == (422, "out_of_valid_range", "observed_at")
        answer = shared_service.post("/v1/actuals", {"actuals": [one]})
        assert answer.error() == (422, "out_of_valid_range", "actuals[0].observed_at")


@pytest.mark.parametrize("number", HUGE, ids=lambda number: f"{number.bit_length()} bits")
def test_an_actual_takes_no_integer_that_no_type_holds(shared_service: Service, product: Product, number: int) -> None:
    moment = NOW.isoformat()
    for actual in (
        {"prediction_id": "a", "value": number},
        {"prediction_id": number, "value": 20},
        {"entity": {product.entity.key: number}, "value": 20, "observed_at": moment},
        {"prediction_id": "a", "value": 20, "observed_at": number},
        {"prediction_id": "a", "value": 20, "source": number},
    ):
        assert shared_service.post("/v1/actuals", actual).error()[0] in {400, 422}
