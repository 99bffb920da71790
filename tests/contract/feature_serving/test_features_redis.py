"""Redis hung, dead, emptied, busy, behind a password: a 503 in time, or the answer; a busy one is no outage."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client
from support.features import Redis, by_name, fill
from support.ports import free_port
from support.service import METRICS_PORT, Answer, Service
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("features")
PATH = "/get-online-features"
FOLDER = ROOT / "feature_repo" / "redis"
SILENT_SECONDS = Settings().online_store_timeout_seconds * 2 / 3


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A Redis that stays up."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, Redis(tmp_path_factory.mktemp("redis"), port):
        patch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
        yield "127.0.0.1", port


@pytest.fixture(scope="module")
def features(address: tuple[str, int], product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Feature serving, in process, on the Redis that stays up."""
    from beacon_feature_serving.app import create

    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home, feature_repo=FOLDER, features_metrics_port=METRICS_PORT, max_batch_rows=10**6, max_body_bytes=10**8
    )
    fill(settings, product)
    with Service(create(settings)) as running:
        yield running


def ask(product: Product, entities: Any) -> dict[str, Any]:
    return {"feature_service": product.feature_service, "entities": {product.entity.key: entities}}


def test_a_process_that_got_no_cpu_finds_the_answer_that_waits(
    features: Service, product: Product, address: tuple[str, int]
) -> None:
    """The clock says that time is up, the socket says that Redis answered long ago: the socket is right."""

    async def stalled() -> Answer:
        asked = asyncio.create_task(features.ask("POST", PATH, ask(product, [1])))
        await asyncio.sleep(0)  # the question is on its way
        time.sleep(0.4)  # noqa: ASYNC251 - the whole process stands still
        with socket.create_connection(address) as other:
            other.sendall(b"PING\r\n")
            assert other.recv(64) == b"+PONG\r\n"  # Redis answers in the order in which it was asked
        return await asked

    assert features.run(stalled()).status == 200


def test_a_long_queue_is_slow_and_no_outage(features: Service, product: Product) -> None:
    """The faster the machine, the more is asked until it is a queue: one longer than Redis may be silent."""

    async def at_once(entities: list[int]) -> set[int]:
        asked = (features.ask("POST", PATH, ask(product, entities)) for _ in range(24))
        return {answer.status for answer in await asyncio.gather(*asked)}

    taken, entities = 0.0, list(range(1, 501))
    while taken < 2 * SILENT_SECONDS:
        entities += entities
        begun = time.perf_counter()
        assert features.run(at_once(entities)) == {200}
        taken = time.perf_counter() - begun


def test_a_lookup_that_nobody_waits_for_any_more_leaves_its_answer_to_nobody_else(
    features: Service, product: Product
) -> None:
    async def given_up() -> list[Answer]:
        before = await features.ask("POST", PATH, ask(product, [2]))
        for _ in range(20):
            asked = asyncio.create_task(features.ask("POST", PATH, ask(product, [1])))
            await asyncio.sleep(0)  # the question is on its way
            asked.cancel()
        return [before, await features.ask("POST", PATH, ask(product, [2]))]

    before, after = features.run(given_up())
    assert after.status == 200
    assert by_name(after.json()) == by_name(before.json())


def test_connections_that_redis_closes_are_replaced(
    features: Service, product: Product, address: tuple[str, int]
) -> None:
    """As its `timeout` does to idle ones: the next read is asked again, and nobody sees a 503."""

    async def read_while_cut() -> list[int]:
        reader, writer = await asyncio.open_connection(*address)
        statuses = []
        for _ in range(20):
            asked = [asyncio.create_task(features.ask("POST", PATH, ask(product, [1]))) for _ in range(4)]
            writer.write(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
            assert (await reader.readline()).startswith(b":")
            statuses += [answer.status for answer in await asyncio.gather(*asked)]
        writer.close()
        return statuses

    assert features.run(read_while_cut()) == [200] * 80


def test_redis_hung_dead_and_emptied(tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from beacon_feature_serving.app import create

    port = free_port()
    monkeypatch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
    settings = Settings(home=tmp_path, feature_repo=FOLDER, features_metrics_port=METRICS_PORT)

    def status(running: Service) -> int:
        return running.post_within(0.2, PATH, ask(product, [1, 2])).status

    with Redis(tmp_path, port) as redis:
        fill(settings, product)
        with Service(create(settings)) as running:
            assert status(running) == 200
            redis.send(signal.SIGSTOP)
            assert [status(running) for _ in range(3)] == [503] * 3
            redis.send(signal.SIGCONT)
            until(lambda: status(running) == 200, "Redis goes on")
            redis.__exit__()
            assert status(running) == 503
            with Redis(tmp_path, port):
                until(lambda: status(running) == 200, "another Redis is there")
                statuses = by_name(running.post(PATH, ask(product, [1])).json())["RM"][1]
                assert statuses == ["NOT_FOUND"]


def test_redis_with_a_password_and_a_database(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beacon_feature_serving.app import create

    port = free_port()
    monkeypatch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port},db=3")
    monkeypatch.setenv("REDIS_PASSWORD", "sec,ret")
    settings = Settings(home=tmp_path, feature_repo=FOLDER, features_metrics_port=METRICS_PORT)
    with Redis(tmp_path, port):
        with socket.create_connection(("127.0.0.1", port)) as admin:
            admin.sendall(b"CONFIG SET requirepass sec,ret\r\n")
            assert admin.recv(64) == b"+OK\r\n"
        fill(settings, product)
        with Service(create(settings)) as running:
            assert running.post(PATH, ask(product, [1])).status == 200
        monkeypatch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port},password=wrong,db=3")
        with Service(create(settings)) as running:
            assert running.post(PATH, ask(product, [1])).status == 503


def test_another_installation_on_the_same_redis_has_rows_of_its_own(
    features: Service, product: Product, address: tuple[str, int], tmp_path: Path
) -> None:
    assert features is not None  # which filled it
    with Client(*address) as client:
        before = {key: client.hgetall(key) for key in client.scan_iter()}
        assert before
        fill(Settings(home=tmp_path, feature_repo=FOLDER, installation="housing-beacon"), product)
        new = set(client.scan_iter()) - before.keys()
        assert len(new) == len(before)
        assert all(key.endswith(b"housing_beacon") for key in new)
        assert {key: client.hgetall(key) for key in before} == before
        client.delete(*new)
