"""Redis Cluster and Sentinel, with real servers: materialized, served, pushed, erased, and a master that dies."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from redis import Redis as Client
from support.features import STALE, UNKNOWN, Redis, by_name, fill, frame_of
from support.ports import free_port
from support.redis_groups import MASTER, PASSWORD, Watched, redis_cluster, watched_redis
from support.service import METRICS_PORT, Service
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.feature_store.columns import KEY_TYPES
from beacon_core.feature_store.online import delete_online
from beacon_core.platform.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("redis-groups")]
PATH = "/get-online-features"
KINDS = ("redis-cluster", "redis-sentinel")
PATIENT_SECONDS = 5.0


class World(NamedTuple):
    """Feature serving on one kind of Redis, and what it was filled from."""

    kind: str
    servers: dict[int, Redis]
    watched: Watched | None
    settings: Settings
    running: Service


def settings_of(folder: Path, kind: str) -> Settings:
    return Settings(
        home=folder,
        feature_repo=ROOT / "feature_repo" / kind,
        features_metrics_port=METRICS_PORT,
        online_store_timeout_seconds=PATIENT_SECONDS,
    )


@pytest.fixture(params=KINDS)
def world(
    request: pytest.FixtureRequest, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    from beacon_feature_serving.app import create

    with ExitStack() as stack:
        servers: dict[int, Redis] = {}
        watched = None
        if request.param == "redis-cluster":
            servers = stack.enter_context(redis_cluster(tmp_path))
            named = list(servers)[:2]  # the client learns of the third
        else:
            watched = stack.enter_context(watched_redis(tmp_path))
            named = watched.sentinels
            monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
            monkeypatch.setenv("REDIS_SENTINEL_MASTER", MASTER)
        monkeypatch.setenv("REDIS_CONNECTION", ",".join(f"127.0.0.1:{port}" for port in named))
        settings = settings_of(tmp_path / "home", request.param)
        fill(settings, product)
        running = stack.enter_context(Service(create(settings)))
        yield World(request.param, servers, watched, settings, running)


def ask(product: Product, entities: list[Any]) -> dict[str, Any]:
    return {"feature_service": product.feature_service, "entities": {product.entity.key: entities}}


def test_it_serves_what_a_plain_redis_serves(
    world: World, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beacon_feature_serving.app import create

    entities = [1, 4, 17, 506, STALE, UNKNOWN]
    answer = world.running.post(PATH, ask(product, entities))
    assert answer.status == 200
    found = {name: (values, statuses) for name, (values, statuses, _) in by_name(answer.json()).items()}
    for name in ("REDIS_PASSWORD", "REDIS_SENTINEL_MASTER"):
        monkeypatch.delenv(name, raising=False)
    port = free_port()
    monkeypatch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
    (tmp_path / "plain").mkdir()
    with Redis(tmp_path / "plain", port):
        plain = settings_of(tmp_path / "plain" / "home", "redis")
        fill(plain, product)
        with Service(create(plain)) as running:
            wanted = by_name(running.post(PATH, ask(product, entities)).json())
    assert found == {name: (values, statuses) for name, (values, statuses, _) in wanted.items()}
    if world.kind == "redis-cluster":
        sizes = []
        for each in world.servers:
            with Client(port=each) as client:
                sizes.append(client.dbsize())
        assert min(sizes) > 100, "every master has its share"
        assert sum(sizes) == 507


def test_a_later_row_counts_and_an_entity_is_erased(world: World, product: Product) -> None:
    store, now = repo.open_store(world.settings), datetime.now(UTC)
    name, feature = definitions.view_name(product), product.feature_names[0]
    row = frame_of(product, [17], now, now).assign(**{feature: 12.5})
    store.write_to_online_store(name, row)
    read = lambda: by_name(world.running.post(PATH, ask(product, [17])).json())  # noqa: E731
    assert read()[feature][0] == [12.5]
    store.write_to_online_store(name, row.assign(**{feature: 99.5}))  # of the same moment: the first one stays
    assert read()[feature][0] == [12.5]
    one = pa.table({column: pa.array([17], KEY_TYPES[kind]) for column, kind in product.entity.columns})
    view = store.get_feature_view(name)
    assert delete_online(store, view, one, dry_run=True) == 1
    assert delete_online(store, view, one, dry_run=False) == 1
    assert delete_online(store, view, one, dry_run=False) == 0
    assert read()[feature][1] == ["NOT_FOUND"]


def test_a_master_that_dies(world: World, product: Product) -> None:
    """Sentinel names another one, which has the rows; a cluster without replicas has lost that master's share."""

    def status(entities: list[Any]) -> int:
        return world.running.post(PATH, ask(product, entities)).status

    assert status([1, 2, 3]) == 200
    if world.watched is None:
        _kill(next(iter(world.servers.values())))
        until(lambda: {status([each]) for each in range(1, 20)} >= {503}, "who was there is missed")
        return
    before = by_name(world.running.post(PATH, ask(product, [1, 17])).json())
    _kill(world.watched.master)
    began = time.monotonic()
    until(lambda: status([1, 17]) == 200, "Sentinel names the replica", 60)
    print(f"\n  Sentinel: served again {time.monotonic() - began:.1f} s after the master died")
    assert by_name(world.running.post(PATH, ask(product, [1, 17])).json()) == before
    now = datetime.now(UTC)
    repo.open_store(world.settings).write_to_online_store(
        definitions.view_name(product), frame_of(product, [17], now, now)
    )


def _kill(server: Redis) -> None:
    server.send(signal.SIGKILL)
