"""Writes: behind the token, checked, in both stores with their event times, and never from the future."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from msgspec import structs
from support.api_keys import entry, write_keys
from support.data_files import data_path
from support.features import PATIENT_SECONDS, TOKEN, Redis, fill, frame_of
from support.ports import free_port
from support.service import METRICS_PORT, Answer, Service
from support.settings import Settings

from beacon_core.domain.api_keys import new_key
from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("features")
BEARER = [("authorization", f"Bearer {TOKEN}")]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, product: Product, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a filled store that takes writes; the whole module runs on each kind."""
    home = tmp_path_factory.mktemp(request.param)
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, Redis(home, port):
        patch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
        folder = ROOT / "feature_repo" / ("redis" if request.param == "redis" else "")
        settings = Settings(
            home=home,
            feature_repo=folder,
            features_metrics_port=METRICS_PORT,
            feature_token=TOKEN,
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


def rows(product: Product, entity: int, event_time: datetime, **values: Any) -> dict[str, list[Any]]:
    """One row, as the columns of a write."""
    frame = frame_of(product, [1], event_time, event_time).drop(columns=definitions.CREATED_TIME)
    told: dict[str, list[Any]] = {name: [frame[name].iloc[0].item()] for name in product.feature_names}
    return told | {product.entity.key: [entity], definitions.EVENT_TIME: [event_time.isoformat()]} | values


def push(features: Service, product: Product, df: Any, to: str = "online_and_offline") -> Answer:
    body = {"push_source_name": definitions.push_source_name(product), "df": df, "to": to}
    return features.post("/push", body, BEARER)


def read(features: Service, product: Product, entity: int, feature: str = "RM") -> tuple[Any, str, str]:
    body = {"feature_service": product.feature_service, "entities": {product.entity.key: [entity]}}
    answer = features.post("/get-online-features", body).json()
    column = answer["results"][answer["metadata"]["feature_names"].index(feature)]
    return column["values"][0], column["statuses"][0], column["event_timestamps"][0]


def offline(store: Settings, product: Product, entity: int) -> pd.DataFrame:
    frame = pd.read_parquet(data_path(store))
    return frame[frame[product.entity.key] == entity].reset_index(drop=True)


def utc(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def test_a_push_lands_in_both_stores_with_its_event_time(features: Service, store: Settings, product: Product) -> None:
    answer = push(features, product, rows(product, 801, NOW, RM=[7.5], LSTAT=[None]))
    assert (answer.status, answer.body) == (200, b"")
    assert read(features, product, 801) == (7.5, "PRESENT", utc(NOW))
    assert read(features, product, 801, "LSTAT") == (None, "NULL_VALUE", utc(NOW))
    stored = offline(store, product, 801)
    assert stored[definitions.EVENT_TIME].tolist() == [pd.Timestamp(NOW)]
    assert stored["RM"].tolist() == [7.5]
    assert stored["LSTAT"].isna().all()
    assert len(pd.read_parquet(data_path(store))) >= 507


@pytest.mark.parametrize(("to", "online", "kept"), [("online", 1, 0), ("offline", 0, 1)])
def test_a_push_goes_where_it_is_sent(
    features: Service, store: Settings, product: Product, to: str, online: int, kept: int
) -> None:
    entity = 810 + online
    assert push(features, product, rows(product, entity, NOW), to).status == 200
    assert (read(features, product, entity)[1] == "PRESENT") == bool(online)
    assert len(offline(store, product, entity)) == kept


def test_a_repeated_push_changes_nothing(features: Service, store: Settings, product: Product) -> None:
    df = rows(product, 802, NOW, RM=[6.25])
    for _ in range(3):
        assert push(features, product, df).status == 200
    assert len(offline(store, product, 802)) == 1


def test_times_without_a_zone_are_utc(features: Service, product: Product) -> None:
    naive = NOW.replace(tzinfo=None).isoformat()
    assert push(features, product, rows(product, 803, NOW, event_timestamp=[naive])).status == 200
    assert read(features, product, 803)[2] == utc(NOW)


def test_training_sees_what_was_known_at_each_prediction(features: Service, store: Settings, product: Product) -> None:
    """Three states of one entity; each prediction joins the newest one of its past, never one of its future."""
    key = product.entity.key
    steps = [(NOW - timedelta(days=days), rm) for days, rm in ((3, 5.0), (2, 6.0), (1, 7.0))]
    for time, rm in steps:
        df = rows(product, 804, time, RM=[rm], created=[time.isoformat()])
        assert push(features, product, df).status == 200
    second = timedelta(seconds=1)
    moments = [steps[0][0] - second, *(time + second for time, _ in steps), steps[2][0], steps[2][0] - second]
    joined = repo.known_at(store, product, pa.table({key: [804] * 6, definitions.EVENT_TIME: moments}))
    # Before the first row nothing was known.
    assert joined["RM"].to_pylist() == [None, 5.0, 6.0, 7.0, 7.0, 6.0]


def test_training_does_not_see_what_was_reported_late(features: Service, store: Settings, product: Product) -> None:
    """A row about the past that arrives today was not known to yesterday's prediction."""
    key, day = product.entity.key, timedelta(days=1)
    first = rows(product, 809, NOW - 5 * day, RM=[5.0], created=[(NOW - 5 * day).isoformat()])
    late = rows(product, 809, NOW - 3 * day, RM=[9.0])
    for df in (first, late):
        assert push(features, product, df).status == 200
    moments = pa.table({key: [809] * 2, definitions.EVENT_TIME: [NOW - day, NOW + timedelta(hours=1)]})
    assert repo.known_at(store, product, moments)["RM"].to_pylist() == [5.0, 9.0]


def test_a_late_row_does_not_replace_a_newer_one(features: Service, store: Settings, product: Product) -> None:
    """Across pushes and within one: what is served is what the join of training finds, the newest by event time."""
    hour = timedelta(hours=1)
    assert push(features, product, rows(product, 820, NOW, RM=[7.0])).status == 200
    assert push(features, product, rows(product, 820, NOW - hour, RM=[5.0])).status == 200
    assert read(features, product, 820) == (7.0, "PRESENT", utc(NOW))
    two = [rows(product, 821, time, RM=[rm]) for time, rm in ((NOW, 8.0), (NOW - hour, 4.0))]
    assert push(features, product, {name: [*two[0][name], *two[1][name]] for name in two[0]}).status == 200
    assert read(features, product, 821) == (8.0, "PRESENT", utc(NOW))
    assert [len(offline(store, product, entity)) for entity in (820, 821)] == [2, 2]


def test_writes_need_the_token(features: Service, product: Product) -> None:
    for path in ("/push", "/write-to-online-store", "/materialize", "/materialize-incremental"):
        for headers in (
            [],
            [("authorization", "Bearer wrong")],
            [("authorization", TOKEN)],
            [("authorization", "Bearer é")],
        ):
            answer = features.post(path, {}, headers)
            assert answer.status == 401
            assert json.loads(answer.json())["class"] == "FeastPermissionError"
            assert TOKEN not in answer.body.decode()


def test_entities_and_writes_count_for_a_clients_quota(store: Settings, product: Product, tmp_path: Path) -> None:
    from beacon_feature_serving.app import create

    key = new_key()
    quotas = {"rows_per_second": 0.001, "requests_per_second": 3}
    file = write_keys(tmp_path / "keys.json", entry("shop", key, "features", "push") | quotas)
    with Service(create(structs.replace(store, api_keys_file=file, feature_token=""))) as running:

        def answer(path: str, body: Any) -> tuple[int, str]:
            given = running.post(path, body, [("x-api-key", key)])
            return given.status, given.headers.get("retry-after", "")

        lookup = {"feature_service": product.feature_service, "entities": {product.entity.key: [1, 2, 3]}}
        assert answer("/get-online-features", lookup) == (200, "")
        assert answer("/get-online-features", lookup)[0] == 429
        rejected = running.post("/get-online-features", lookup, [("x-api-key", key)])
        assert rejected.status == 429
        message = json.loads(rejected.json())
        assert message["class"] == "FeastError"
        assert message["message"].startswith("the API key of shop may send 0.001 rows per second; try again in ")
    quotas = {"requests_per_second": 0.001}
    write_keys(file, entry("shop", key, "push") | quotas)
    with Service(create(structs.replace(store, api_keys_file=file, feature_token=""))) as running:
        assert [answer("/push", {})[0] for _ in range(2)] == [422, 429]
        assert running.metrics()["beacon_client_quota_rejections_total{client=shop,quota=requests_per_second}"] == 1


def test_without_a_token_the_write_routes_are_off(store: Settings, product: Product) -> None:
    from beacon_feature_serving.app import create

    closed = Settings(home=store.home, feature_repo=store.feature_repo, features_metrics_port=METRICS_PORT)
    with Service(create(closed)) as running:
        for headers in ([], [("authorization", "Bearer ")], BEARER):
            answer = running.post("/push", {}, headers)
            assert answer.status == 404
            assert "BEACON_FEATURE_TOKEN" in json.loads(answer.json())["message"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a missing feature": ({"RM": None}, "RM is missing"),
    "a missing key": ({"tract_id": None}, "tract_id is missing"),
    "no event time": ({"event_timestamp": None}, "event_timestamp is missing"),
    "an unknown column": ({"B": [1.0]}, "unknown column B"),
    "ragged": ({"RM": [1.0, 2.0]}, "same length"),
    "no list": ({"RM": 6.0}, "must be a list"),
    "text for a number": ({"RM": ["6"]}, "RM[0]: must be a number"),
    "true for a number": ({"RM": [True]}, "RM[0]: must be a number"),
    "text for a key": ({"tract_id": ["1"]}, "tract_id[0]: must be an integer"),
    "no time": ({"event_timestamp": ["yesterday"]}, "event_timestamp[0]: must be a time"),
    "a null time": ({"event_timestamp": [None]}, "event_timestamp[0]: must be a time"),
    "the future": ({"event_timestamp": [(NOW + timedelta(hours=1)).isoformat()]}, "lies in the future"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_refused_and_nothing_is_written(features: Service, product: Product, name: str) -> None:
    changes, words = BAD[name]
    df = {key: value for key, value in (rows(product, 805, NOW) | changes).items() if value is not None}
    answer = push(features, product, df)
    assert answer.status == 422
    assert words in json.loads(answer.json())["message"]
    assert read(features, product, 805)[1] == "NOT_FOUND"


def test_bad_bodies_are_refused(features: Service, product: Product) -> None:
    empty: dict[str, list[Any]] = {name: [] for name in rows(product, 1, NOW)}
    nulls = {name: [None] for name in product.feature_names}
    good = rows(product, 806, NOW)
    view = definitions.view_name(product)
    cases: list[tuple[str, Any, int]] = [
        ("/push", {"push_source_name": "nothing", "df": good}, 422),
        ("/push", {"push_source_name": definitions.push_source_name(product), "df": good, "to": "moon"}, 422),
        ("/push", {"push_source_name": definitions.push_source_name(product), "df": empty}, 422),
        ("/push", {"push_source_name": definitions.push_source_name(product), "df": good | nulls}, 422),
        ("/push", {"push_source_name": definitions.push_source_name(product), "df": {}}, 422),
        ("/push", {"df": good}, 422),
        ("/push", b"{", 422),
        ("/write-to-online-store", {"feature_view_name": "nothing", "df": good}, 404),
        ("/write-to-online-store", {"feature_view_name": view, "df": [1]}, 422),
        ("/materialize", {"start_ts": NOW.isoformat(), "end_ts": NOW.isoformat()}, 422),
        ("/materialize", {"start_ts": "x", "end_ts": NOW.isoformat()}, 422),
        ("/materialize", {"end_ts": NOW.isoformat()}, 422),
        ("/materialize-incremental", {}, 422),
        ("/materialize-incremental", {"end_ts": NOW.isoformat(), "feature_views": ["nothing"]}, 404),
    ]
    for path, body, status in cases:
        answer = features.post(path, body, BEARER)
        assert answer.status == status, (path, answer.body)
        assert answer.json()


def test_write_to_online_store_writes_online_only(features: Service, store: Settings, product: Product) -> None:
    body = {
        "feature_view_name": definitions.view_name(product),
        "df": rows(product, 807, NOW, RM=[4.5], created=[None]),
    }
    answer = features.post("/write-to-online-store", body, BEARER)
    assert (answer.status, answer.json()) == (200, None)
    assert read(features, product, 807)[0] == 4.5
    assert offline(store, product, 807).empty


def test_materialization_brings_pushed_rows_online(features: Service, product: Product) -> None:
    time = NOW - timedelta(hours=2)
    assert push(features, product, rows(product, 808, time, RM=[8.0]), "offline").status == 200
    assert read(features, product, 808)[1] == "NOT_FOUND"
    interval = {"start_ts": (NOW - timedelta(hours=3)).isoformat(), "end_ts": (NOW + timedelta(minutes=1)).isoformat()}
    answer = features.post("/materialize", interval | {"feature_views": [definitions.view_name(product)]}, BEARER)
    assert (answer.status, answer.json()) == (200, None)
    assert read(features, product, 808) == (8.0, "PRESENT", utc(time))
    answer = features.post("/materialize-incremental", {"end_ts": (NOW + timedelta(minutes=2)).isoformat()}, BEARER)
    assert (answer.status, answer.json()) == (200, None)


def test_materialization_does_not_replace_a_newer_row(features: Service, product: Product) -> None:
    """What was pushed online alone, or while a materialization runs, is newer than all that it has read."""
    assert push(features, product, rows(product, 822, NOW - timedelta(hours=2), RM=[5.0]), "offline").status == 200
    assert push(features, product, rows(product, 822, NOW, RM=[9.0]), "online").status == 200
    interval = {"start_ts": (NOW - timedelta(hours=3)).isoformat(), "end_ts": (NOW + timedelta(minutes=1)).isoformat()}
    body = interval | {"feature_views": [definitions.view_name(product)]}
    assert features.post("/materialize", body, BEARER).status == 200
    assert read(features, product, 822) == (9.0, "PRESENT", utc(NOW))
