"""Writes when something is wrong: a store that hangs, a write that lasts, parameters that this server does not take."""

import asyncio
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from support.data_files import data_path, locked
from support.features import TOKEN, Redis, by_name, fill, frame_of
from support.ports import free_port
from support.service import METRICS_PORT, Answer, Service
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("features")
BEARER = [("authorization", f"Bearer {TOKEN}")]
NOW = datetime.now(UTC).replace(microsecond=0)
END = {"end_ts": NOW.isoformat()}
INTERVAL = END | {"start_ts": (NOW - timedelta(days=1)).isoformat()}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, Redis(tmp_path_factory.mktemp("redis"), port) as running:
        patch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
        yield running


@pytest.fixture(scope="module")
def store(redis: Redis, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a filled store on Redis that takes writes."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        feature_repo=ROOT / "feature_repo" / "redis",
        features_metrics_port=METRICS_PORT,
        feature_token=TOKEN,
    )
    fill(settings, product)
    return settings


@pytest.fixture(scope="module")
def features(store: Settings) -> Iterator[Service]:
    """Feature serving, in process."""
    from beacon_feature_serving.app import create

    with Service(create(store)) as running:
        yield running


def columns(product: Product, entity: int, **values: Any) -> dict[str, list[Any]]:
    """One row of `entity`, now, as the columns of a write."""
    frame = frame_of(product, [1], NOW, NOW).drop(columns=definitions.CREATED_TIME)
    told: dict[str, list[Any]] = {name: [frame[name].iloc[0].item()] for name in product.feature_names}
    return told | {product.entity.key: [entity], definitions.EVENT_TIME: [NOW.isoformat()]} | values


def pushed(product: Product, entity: int, **values: Any) -> dict[str, Any]:
    df = columns(product, entity, **values)
    return {"push_source_name": definitions.push_source_name(product), "df": df, "to": "online_and_offline"}


def written(product: Product, entity: int, **values: Any) -> dict[str, Any]:
    return {"feature_view_name": definitions.view_name(product), "df": columns(product, entity, **values)}


def read(features: Service, product: Product, entity: int) -> tuple[Any, str]:
    body = {"feature_service": product.feature_service, "entities": {product.entity.key: [entity]}}
    values, statuses, _ = by_name(features.post("/get-online-features", body).json())["RM"]
    return values[0], statuses[0]


def test_a_write_to_a_hung_redis_is_a_503_at_once_and_nothing_is_written(
    features: Service, store: Settings, redis: Redis, product: Product
) -> None:
    assert features.post("/push", pushed(product, 901), BEARER).status == 200
    before = data_path(store).read_bytes()
    redis.send(signal.SIGSTOP)
    try:
        for path, body in (("/push", pushed(product, 902)), ("/write-to-online-store", written(product, 902))):
            answer = features.post_within(0.2, path, body, BEARER)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
    finally:
        redis.send(signal.SIGCONT)
    assert data_path(store).read_bytes() == before
    assert read(features, product, 902) == (None, "NOT_FOUND")
    assert features.post("/push", pushed(product, 902, RM=[5.5]), BEARER).status == 200
    assert read(features, product, 902) == (5.5, "PRESENT")


def test_a_materialization_onto_a_hung_redis_is_a_503_at_once(
    features: Service, redis: Redis, product: Product
) -> None:
    body = pushed(product, 903, RM=[6.5]) | {"to": "offline"}
    assert features.post("/push", body, BEARER).status == 200
    redis.send(signal.SIGSTOP)
    try:
        for path in ("/materialize", "/materialize?async=true"):
            assert features.post_within(0.2, path, INTERVAL, BEARER).status == 503
    finally:
        redis.send(signal.SIGCONT)
    assert features.post("/materialize", INTERVAL, BEARER).status == 200
    assert read(features, product, 903) == (6.5, "PRESENT")


def test_while_one_materialization_runs_others_are_told(
    features: Service, store: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beacon_feature_serving.writing.writer.WAIT_SECONDS", 0.2)
    views = [definitions.view_name(product)]
    body = pushed(product, 904, RM=[7.5]) | {"to": "offline"}
    assert features.post("/push", body, BEARER).status == 200
    with locked(data_path(store)):  # the first one waits for this, in the background
        answer = features.post("/materialize?async=true", INTERVAL, BEARER)
        assert (answer.status, answer.json()) == (202, {"status": "accepted", "feature_views": views})
        for path in ("/materialize?async=true", "/materialize-incremental?async=1", "/materialize"):
            answer = features.post(path, INTERVAL if "incr" not in path else END, BEARER)
            assert answer.status == 409, path
            assert answer.json()["feature_views"] == views
        # A push online alone does not wait for the file: it is refused as soon as the first one waits there.
        online = pushed(product, 905) | {"to": "online"}
        until(lambda: features.post("/push", online, BEARER).status == 503, "the first one is at work")
        answer = features.post("/push", pushed(product, 905), BEARER)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert read(features, product, 904) == (None, "NOT_FOUND")
    ended(features, product)
    assert read(features, product, 904) == (7.5, "PRESENT")


def ended(features: Service, product: Product) -> None:
    """Wait until a materialization is taken again."""
    until(lambda: features.post("/materialize?async=true", INTERVAL, BEARER).status == 202, "the one before has ended")


def test_a_failure_in_the_background_is_logged_and_bars_nothing(
    features: Service, store: Settings, product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    file = data_path(store)
    ended(features, product)
    away = file.rename(file.with_name("away.parquet"))
    try:
        ended(features, product)
        ended(features, product)
    finally:
        away.rename(file)
    assert "materialization failed" in caplog.text


def test_writes_that_wait_do_not_hold_up_health(features: Service, store: Settings, product: Product) -> None:
    async def crowded() -> list[int]:
        writes = [
            asyncio.create_task(features.ask("POST", "/push", pushed(product, 940 + n), BEARER)) for n in range(12)
        ]
        await asyncio.sleep(0.2)
        asked = [features.ask("GET", path, b"") for path in ("/livez", "/health", "/readyz")]
        answers = await asyncio.gather(*asked)
        assert not any(write.done() for write in writes), "health waited for a write"
        released.set()
        assert {(await write).status for write in writes} <= {200, 503}
        return [answer.status for answer in answers]

    import threading

    released, holding = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(data_path(store)):
            holding.set()
            released.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait()
    try:
        assert features.run(crowded()) == [200, 200, 200]
    finally:
        released.set()
        holder.join()


def test_health_takes_get_and_head(features: Service) -> None:
    for path in ("/livez", "/health"):
        assert features.run(features.ask("HEAD", path, b"")).status == 200
        refused = features.post(path, {})
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert features.get("/get-online-features").headers["allow"] == "POST"


# path, change of the body, where Feast's detail says the fault is
NOT_TAKEN: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "force": ("/materialize?async=true&force=true", {}, ["query", "force"]),
    "force, incremental": ("/materialize-incremental?force=1", {}, ["query", "force"]),
    "a flag that is none": ("/materialize?async=perhaps", {}, ["query", "async"]),
    "a pinned version": ("/materialize", {"version": "v2"}, ["body", "version"]),
    "full names": ("/materialize-incremental", {"full_feature_names": True}, ["body", "full_feature_names"]),
    "an unknown field": ("/materialize", {"views": ["x"]}, ["body"]),
    "an unknown field of a push": ("/push", {"too": "online"}, ["body"]),
    "an unknown field of a write": ("/write-to-online-store", {"to": "offline"}, ["body"]),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_a_parameter_that_would_be_passed_over_is_refused(features: Service, product: Product, name: str) -> None:
    path, change, where = NOT_TAKEN[name]
    bodies = {"/push": pushed(product, 920), "/write-to-online-store": written(product, 920)}
    answer = features.post(path, bodies.get(path, INTERVAL) | change, BEARER)
    assert answer.status == 422
    (detail,) = answer.json()["detail"]
    assert detail["loc"] == where
    assert read(features, product, 920) == (None, "NOT_FOUND")


def test_batching_of_offline_pushes_is_refused_at_the_start(tmp_path: Path) -> None:
    """Feast's server answers 202 and keeps such rows in memory; here a push is on disk when it is answered."""
    from beacon_feature_serving.app import create

    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text()
    batching = "feature_server:\n  type: local\n  offline_push_batching_enabled: true\n"
    (tmp_path / "feature_store.yaml").write_text(text + batching)
    with pytest.raises(repo.FeatureStoreError, match="offline_push_batching_enabled"):
        create(Settings(home=tmp_path, feature_repo=tmp_path))


def test_a_null_is_refused_where_the_product_says_not_nullable(tmp_path: Path, product: Product) -> None:
    from beacon_feature_serving.app import create

    needed = [msgspec.structs.replace(each, nullable=each.name != "TAX") for each in product.features]
    strict = msgspec.structs.replace(product, features=tuple(needed))
    settings = Settings(home=tmp_path, features_metrics_port=METRICS_PORT, feature_token=TOKEN)
    fill(settings, strict)
    rows = len(pd.read_parquet(data_path(settings)))
    with Service(create(settings)) as running:

        def told(path: str, body: dict[str, Any]) -> tuple[int, str]:
            answer: Answer = running.post(path, body, BEARER)
            return answer.status, json.loads(answer.json())["message"] if answer.status != 200 else ""

        two = {name: [*column, *column] for name, column in columns(strict, 930).items()}
        two |= {"TAX": [300.0, None]}
        push = pushed(strict, 930)
        assert told("/push", push | {"df": two}) == (422, "df: TAX[1]: must not be null")
        refused = written(strict, 930, TAX=[None])
        assert told("/write-to-online-store", refused) == (422, "df: TAX[0]: must not be null")
        assert read(running, strict, 930) == (None, "NOT_FOUND")
        assert len(pd.read_parquet(data_path(settings))) == rows
        assert told("/push", pushed(strict, 930, RM=[None])) == (200, "")
        assert read(running, strict, 930) == (None, "NULL_VALUE")
