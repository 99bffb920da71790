"""Reads, over SQLite and over a real Redis: the answers are Feast's own, TTL is enforced, bad input is a clear 4xx."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from feast.feature_server_utils import convert_response_to_dict
from support.features import PATIENT_SECONDS, STALE, UNKNOWN, WITH_NULL, Redis, as_we_word_it, by_name, fill
from support.ports import free_port
from support.service import METRICS_PORT, Service
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("features")
PATH = "/get-online-features"
POLL_SECONDS = 0.05


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_feature_serving.catalog.registry.POLL_SECONDS", POLL_SECONDS)
        yield


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, product: Product, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a filled feature store; the whole module runs on each kind."""
    home = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        settings = Settings(home=home, features_metrics_port=METRICS_PORT)
        fill(settings, product)
        yield settings
        return
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, Redis(home, port):
        patch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
        folder = ROOT / "feature_repo" / "redis"
        settings = Settings(
            home=home,
            feature_repo=folder,
            features_metrics_port=METRICS_PORT,
            online_store_timeout_seconds=PATIENT_SECONDS,
        )
        fill(settings, product)
        yield settings


@pytest.fixture(scope="module")
def features(store: Settings) -> Iterator[Service]:
    """Feature serving, in process."""
    from beacon_feature_serving.app import create

    with Service(create(store)) as running:
        yield running


REQUESTS = {
    "one": ([1], True, False),
    "null": ([WITH_NULL], True, False),
    "unknown": ([UNKNOWN], True, False),
    "mixed, one of them twice": ([1, UNKNOWN, WITH_NULL, 1, 506, -3], True, False),
    "a hundred": (list(range(1, 101)), True, False),
    "a list of features": ([1, 2], False, False),
    "full names": ([1, 2], False, True),
    "service with full names": ([1, 2], True, True),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_what_feast_answers(features: Service, store: Settings, product: Product, name: str) -> None:
    entities, by_service, full_names = REQUESTS[name]
    view = definitions.view_name(product)
    refs = [f"{view}:{feature}" for feature in product.feature_names[:3]]
    what = {"feature_service": product.feature_service} if by_service else {"features": refs}
    key = product.entity.key
    ours = features.post(PATH, {"entities": {key: entities}, "full_feature_names": full_names} | what)
    assert ours.status == 200

    sdk = repo.open_store(store)
    wanted = sdk.get_feature_service(product.feature_service) if by_service else refs
    theirs = sdk.get_online_features(wanted, {key: entities}, full_feature_names=full_names)
    assert by_name(ours.json()) == as_we_word_it(by_name(convert_response_to_dict(theirs.proto)))


def test_keys_come_first_then_features_in_their_order(features: Service, product: Product) -> None:
    answer = features.post(PATH, ask(product, [1])).json()
    assert answer["metadata"]["feature_names"] == [product.entity.key, *product.feature_names]
    assert answer["results"][0] == {
        "values": [1],
        "statuses": ["PRESENT"],
        "event_timestamps": ["1970-01-01T00:00:00Z"],
    }


def test_version_metadata_is_given_on_request(features: Service, product: Product) -> None:
    body = ask(product, [1]) | {"include_feature_view_version_metadata": True}
    (told,) = features.post(PATH, body).json()["metadata"]["feature_view_metadata"]
    assert told["name"] == definitions.view_name(product)


def test_a_row_past_its_ttl_is_withheld(features: Service, product: Product) -> None:
    before = features.metrics()
    columns = by_name(features.post(PATH, ask(product, [STALE, 1])).json())
    values, statuses, times = columns["RM"]
    assert values[0] is None
    assert statuses == ["OUTSIDE_MAX_AGE", "PRESENT"]
    assert times[0] == "2010-01-01T00:00:00Z"
    after = features.metrics()
    grown = {
        status: after[name] - before[name]
        for status in ("PRESENT", "OUTSIDE_MAX_AGE")
        for name in [f"beacon_feature_lookups_total{{status={status}}}"]
    }
    assert grown == {"PRESENT": 12, "OUTSIDE_MAX_AGE": 12}
    assert after["beacon_feature_age_seconds_count"] - before["beacon_feature_age_seconds_count"] == 1


def ask(product: Product, entities: Any) -> dict[str, Any]:
    return {"feature_service": product.feature_service, "entities": {product.entity.key: entities}}


SERVICE = "boston_housing_v1"
ONE = {"tract_id": [1]}
# name: body, status, Feast's error class (None for a body of the wrong shape), what the message says
BAD: dict[str, tuple[Any, int, str | None, str]] = {
    "unknown feature": ({"features": ["tract_features_v1:RMM"], "entities": ONE}, 422, "FeastError", "did you mean RM"),
    "unknown view": ({"features": ["nothing:RM"], "entities": ONE}, 404, "FeatureViewNotFoundException", "nothing"),
    "no view": ({"features": ["RM"], "entities": ONE}, 422, "FeastError", "<feature_view>:<feature>"),
    "a version": ({"features": ["tract_features_v1@v3:RM"], "entities": ONE}, 422, "FeastError", "versions"),
    "unknown service": ({"feature_service": "x", "entities": ONE}, 404, "FeatureServiceNotFoundException", "x"),
    "one feature twice": (
        {"features": ["tract_features_v1:RM"] * 2, "entities": ONE},
        422,
        "FeatureNameCollisionError",
        "RM",
    ),
    "unknown key": ({"feature_service": SERVICE, "entities": {"house": [1]}}, 422, "FeastError", "house"),
    "one key too many": ({"feature_service": SERVICE, "entities": ONE | {"house": [1]}}, 422, "FeastError", "house"),
    "the key under two names": (
        {"feature_service": SERVICE, "entities": ONE | {"tract": [1]}},
        422,
        "FeastError",
        "second time",
    ),
    "ragged": ({"feature_service": SERVICE, "entities": {"tract_id": [1], "b": [1, 2]}}, 422, "FeastError", "length"),
    "text": ({"feature_service": SERVICE, "entities": {"tract_id": [1, "2"]}}, 422, "FeastError", "tract_id[1]"),
    "true": ({"feature_service": SERVICE, "entities": {"tract_id": [True]}}, 422, "FeastError", "integer"),
    "null": ({"feature_service": SERVICE, "entities": {"tract_id": [None]}}, 422, "FeastError", "integer"),
    "a fraction": ({"feature_service": SERVICE, "entities": {"tract_id": [1.5]}}, 422, "FeastError", "integer"),
    "a list": ({"feature_service": SERVICE, "entities": {"tract_id": [[1]]}}, 422, "FeastError", "integer"),
    "65 bits": ({"feature_service": SERVICE, "entities": {"tract_id": [1 << 63]}}, 422, "FeastError", "INT64"),
    "66 bits": ({"feature_service": SERVICE, "entities": {"tract_id": [1 << 65]}}, 422, "FeastError", "tract_id[0]"),
    "no entities": ({"feature_service": SERVICE, "entities": {"tract_id": []}}, 422, "FeastError", "empty"),
    "10,000 entities": (
        {"feature_service": SERVICE, "entities": {"tract_id": [1] * 10_000}},
        422,
        "FeastError",
        "at most 1000",
    ),
    "no keys": ({"feature_service": SERVICE, "entities": {}}, 422, "FeastError", "entity key"),
    "no features": ({"features": [], "entities": ONE}, 422, "FeastError", "at least one feature"),
    "neither": ({"entities": ONE}, 422, "FeastError", "feature_service"),
    "no entities at all": ({"feature_service": SERVICE}, 422, None, "entities"),
    "service of a wrong type": ({"feature_service": 1, "entities": ONE}, 422, None, "str"),
    "entities of a wrong type": ({"feature_service": SERVICE, "entities": [1]}, 422, None, "object"),
    "a column of a wrong type": ({"feature_service": SERVICE, "entities": {"tract_id": 1}}, 422, None, "array"),
    "no body": (b"", 422, None, "JSON"),
    "not JSON": (b"{", 422, None, "JSON"),
    "NaN": (b'{"feature_service": "x", "entities": {"tract_id": [NaN]}}', 422, None, "JSON"),
    "a list for a body": ([], 422, None, "object"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_feasts_shape(features: Service, name: str) -> None:
    body, status, kind, words = BAD[name]
    answer = features.post(PATH, body)
    assert answer.status == status
    content = answer.json()
    if kind is None:
        (detail,) = content["detail"]
        assert detail["loc"][0] == "body"
        assert words in detail["msg"]
    else:
        told = json.loads(content)
        assert (told["module"], told["class"]) == ("feast.errors", kind)
        assert words in told["message"]
    assert features.post(PATH, {"feature_service": SERVICE, "entities": ONE}).status == 200


def test_other_methods_and_types_are_refused(features: Service) -> None:
    assert features.get(PATH).status == 405
    assert features.post(PATH, b"tract_id=1", [("content-type", "text/plain")]).status == 415
    assert features.post(PATH, b" " * 2_000_001).status == 413
    assert features.get("/nothing").status == 404


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "cut between entries", "noise"])
def test_a_bad_registry_file_is_passed_over(features: Service, store: Settings, product: Product, harm: str) -> None:
    file = store.home / "feast" / "registry.db"
    whole = file.read_bytes()

    def failures() -> float:
        return features.metrics()["beacon_feature_registry_failures_total"]

    def settled() -> bool:
        before = failures()
        features.run(asyncio.sleep(4 * POLL_SECONDS))
        return failures() == before

    before = failures()
    try:
        if harm == "missing":
            file.unlink()
        else:
            file.write_bytes(damaged(whole)[harm])
        features.until(lambda: failures() > before, "the bad file is seen")
        assert features.post(PATH, ask(product, [1])).status == 200
        assert features.get("/health").status == 200
    finally:
        file.write_bytes(whole)
    features.until(settled, "the good file is read")


def damaged(whole: bytes) -> dict[str, bytes]:
    from feast.protos.feast.core.Registry_pb2 import Registry

    half = Registry.FromString(whole)
    del half.projects[:]
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "cut between entries": half.SerializeToString(),
        "noise": b"\xff" * 99,
    }


def test_without_a_registry_it_waits_for_one(tmp_path: Path, product: Product) -> None:
    from beacon_feature_serving.app import create

    settings = Settings(home=tmp_path, features_metrics_port=METRICS_PORT)
    with Service(create(settings)) as running:
        assert running.get("/health").status == 503
        answer = running.post(PATH, ask(product, [1]))
        assert answer.status == 503
        assert "registry" in json.loads(answer.json())["message"]
        fill(settings, product)
        running.until(lambda: running.get("/health").status == 200, "the registry is read")
        assert running.post(PATH, ask(product, [1])).status == 200


def test_two_schema_versions_are_served_side_by_side(tmp_path: Path, product: Product) -> None:
    from beacon_feature_serving.app import create

    settings = Settings(home=tmp_path, features_metrics_port=METRICS_PORT)
    fill(settings, product)
    later = msgspec.structs.replace(product, schema_version=2, features=product.features[:-1])
    with Service(create(settings)) as running:
        assert running.post(PATH, ask(later, [1])).status == 404
        repo.apply(settings, later)
        repo.materialize(settings, later)
        running.until(lambda: running.post(PATH, ask(later, [1])).status == 200, "the registry is read again")
        old, new = (by_name(running.post(PATH, ask(each, [1])).json()) for each in (product, later))
        assert list(new) == list(old)[:-1]
        assert all(new[name] == old[name] for name in new)
        shown = running.metrics()
        for each in (product, later):
            assert shown[f"beacon_feature_materialized_timestamp_seconds{{view={definitions.view_name(each)}}}"] > 0


def test_a_sqlite_file_that_is_gone_is_a_503_until_it_is_back(tmp_path: Path, product: Product) -> None:
    from beacon_feature_serving.app import create

    settings = Settings(home=tmp_path, features_metrics_port=METRICS_PORT)
    fill(settings, product)
    file = tmp_path / "feast" / "online.db"
    with Service(create(settings)) as running:
        assert running.post(PATH, ask(product, [1])).status == 200
        file.rename(tmp_path / "away.db")
        running.until(lambda: running.post(PATH, ask(product, [1])).status == 503, "it is missed")
        answer = running.post(PATH, ask(product, [1]))
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        (tmp_path / "away.db").rename(file)
        assert running.post(PATH, ask(product, [1])).status == 200
