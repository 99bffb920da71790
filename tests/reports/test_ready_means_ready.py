"""Ready means ready: nobody waits for what is done once, and a process that got no CPU is not told that time is up.

Reported of a first `make run`: the first entities were answered 503, "feature serving does not answer", and on a busy
machine again and again. `tests/system/e2e_laptop/test_ready.py` holds the whole of it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from support.by_entity import forms
from support.features import Redis, fill
from support.logged_inference import create
from support.packages import release_package
from support.ports import free_port
from support.server import FEATURES, serving
from support.service import METRICS_PORT, Service
from support.settings import Settings

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.settings import PREFIX, ROOT, load_settings
from beacon_inference.prediction.feature_client import FAILURES_TO_OPEN, OPEN_SECONDS
from beacon_laptop.processes import training, variables
from beacon_laptop.run import Laptop, LaptopError
from beacon_laptop.stop_request import StopRequest

pytestmark = pytest.mark.xdist_group("features")
ENTITY = 17
LOOK_UP = "/get-online-features"
LIMIT = Settings().features_timeout_seconds


@pytest.fixture(scope="module")
def filled(tmp_path_factory, product):
    """A home with features online and a model released."""
    home = tmp_path_factory.mktemp("filled")
    fill(Settings(home=home), product)
    release_package(home, product)
    return home


@pytest.fixture(scope="module")
def features(filled):
    """Feature serving, the real one."""
    with serving(filled, FEATURES) as running:
        yield running


def on_a_laptop(home, **given):
    """Settings as `make run` gives them to a service."""
    made = variables(Settings(home=home), {})
    settings = load_settings({name: text for name, text in made.items() if name.startswith(PREFIX)})
    return msgspec.structs.replace(settings, **given)


def stopped(server):
    """Feature serving says nothing, and is not gone."""
    os.killpg(server.process.pid, signal.SIGSTOP)


def goes_on(server):
    os.killpg(server.process.pid, signal.SIGCONT)


# A lookup that takes longer than a cluster gives it


def test_on_a_laptop_slow_features_are_waited_for_in_every_protocol(filled, features, product):
    async def slow(service, question):
        stopped(features)
        try:
            asked = asyncio.create_task(service.ask("POST", *question))
            await asyncio.sleep(4 * LIMIT)
            assert not asked.done()
        finally:
            goes_on(features)
        return await asked

    with Service(create(on_a_laptop(filled, features_url=features.address))) as service:
        for question in forms(product, ENTITY):
            assert service.run(slow(service, question)).status == 200, question


@pytest.mark.parametrize("name", ["features_timeout_seconds", "online_store_timeout_seconds", "overload_seconds"])
def test_a_laptop_gives_more_than_a_cluster_unless_it_is_told_otherwise(name):
    variable = f"{PREFIX}{name.upper()}"

    def limit(given):
        made = variables(Settings(), given)
        return getattr(load_settings({key: text for key, text in made.items() if key.startswith(PREFIX)}), name)

    assert limit({}) >= 20 * getattr(Settings(), name)
    assert limit({variable: ""}) == limit({}), "empty means not set"
    assert limit({variable: "0.3"}) == 0.3


@pytest.mark.parametrize("moment", ["before it asks", "while it waits", "twice"])
def test_a_process_that_stood_still_finds_the_features_that_wait(filled, features, product, moment):
    """The clock says that time is up, the socket says that feature serving answered long ago: the socket is right."""

    async def stalled(service):
        stopped(features)
        try:
            asked = asyncio.create_task(service.ask("POST", *forms(product, ENTITY)[0]))
            await asyncio.sleep(0 if moment == "before it asks" else LIMIT / 10)
            assert not asked.done()
        finally:
            goes_on(features)
        time.sleep(3 * LIMIT)  # noqa: ASYNC251 - the whole process stands still
        if moment == "twice":
            await asyncio.sleep(0)
            time.sleep(3 * LIMIT)  # noqa: ASYNC251
        return await asked

    with Service(create(Settings(home=filled, features_url=features.address))) as service:
        assert service.run(stalled(service)).status == 200


# The breaker


def test_an_open_breaker_lets_one_try_for_all(filled, product):
    """What nobody answers costs one request its time, not all of them."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        address = f"http://127.0.0.1:{hung.getsockname()[1]}"
        with Service(create(Settings(home=filled, features_url=address))) as service:

            def reasons(count):
                async def ask():
                    return await asyncio.gather(
                        *(service.ask("POST", *forms(product, ENTITY)[0]) for _ in range(count))
                    )

                answers = service.run(ask())
                assert {answer.status for answer in answers} == {503}
                return [answer.json()["error"].rpartition(": ")[2] for answer in answers]

            refused = "its last requests failed"
            assert reasons(FAILURES_TO_OPEN).count(refused) == 0
            assert reasons(2).count(refused) == 2
            time.sleep(OPEN_SECONDS)
            assert reasons(20).count(refused) == 19


# What is done once, done before anybody is told that the service is ready


@pytest.mark.parametrize("part", ["beacon_feature_serving.catalog.catalog.Catalog._resolve", "sqlite3.connect"])
def test_feature_serving_is_ready_once_it_has_read_its_registry_and_store(filled, product, monkeypatch, part):
    from beacon_feature_serving.app import create as create_features

    def too_late(*_, **__):
        raise AssertionError(f"{part} at the first request")

    with Service(create_features(Settings(home=filled, features_metrics_port=METRICS_PORT))) as service:
        assert service.get("/health").status == 200
        with monkeypatch.context() as patch:
            patch.setattr(part, too_late)
            body = {"feature_service": product.feature_service, "entities": {product.entity.key: [ENTITY]}}
            answer = service.post(LOOK_UP, body)
        assert answer.status == 200, answer.body


def test_feature_serving_is_ready_once_it_is_connected_to_redis(tmp_path, product, monkeypatch):
    from beacon_feature_serving.app import create as create_features

    port = free_port()
    monkeypatch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
    settings = Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis", features_metrics_port=METRICS_PORT)
    with Redis(tmp_path, port), socket.create_connection(("127.0.0.1", port)) as admin:

        def clients():
            admin.sendall(b"CLIENT LIST\r\n")
            return admin.recv(65536).count(b" addr=")

        fill(settings, product)
        admin.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
        assert admin.recv(64).startswith(b":")
        assert clients() == 1, "nobody else is connected"
        with Service(create_features(settings)):
            assert clients() == 2


def test_inference_is_ready_once_it_is_connected_and_its_log_is_open(tmp_path, product):
    """And not later than that: feature serving that says nothing is no reason to stay away."""
    release_package(tmp_path, product)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Service(create(Settings(home=tmp_path, features_url=address))) as service:
            assert service.get("/readyz").status == 200
            silent.settimeout(0)
            silent.accept()[0].close()
            with sqlite3.connect(tmp_path / "beacon.db") as log:
                assert log.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
            log.close()


@pytest.mark.parametrize("state", ["nobody", "unknown name", "no address"])
def test_inference_is_ready_without_feature_serving(tmp_path, product, state):
    release_package(tmp_path, product)
    address = {"nobody": f"http://127.0.0.1:{free_port()}", "unknown name": "http://no.such.invalid", "no address": "?"}
    with Service(create(Settings(home=tmp_path, features_url=address[state]))) as service:
        assert service.get("/readyz").status == 200


# What the runner asks before it says that all is ready


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """`make run`, up to what it asks when all services are up."""
    given = Settings(home=tmp_path, inference_port=free_port(), console_port=free_port(), api_key="a key")
    monkeypatch.setattr(Laptop, "check_processes", lambda _: None)
    write_release(given.release_file, Release(Pin("any", "7", "a" * 64)))
    return Laptop(given, training(given), StopRequest())


@contextlib.contextmanager
def answering(port, statuses):
    """A server that answers with these statuses, one after the other, then with 200; what it was asked."""
    left, asked = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.path, self.rfile.read(int(self.headers["content-length"])), dict(self.headers)))
            status = left.pop(0) if left else 200
            body = b"{}" if status == 200 else b'{"error": "not now", "code": "some_code"}'
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            asked.append((self.path, b"", {}))
            self.send_error(500)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield asked
        server.shutdown()


def test_ready_is_said_when_the_examples_are_answered(runner, capsys):
    """A 503 is asked again; a page that fails is told, and no reason to end; nothing of it is traffic."""
    supervisor = types.SimpleNamespace(gone=lambda: None)
    runner.supervisor = supervisor
    bodies = [{"entity": {"some_id": 1}}, {"features": {"x": 1}}]
    settings = runner.settings
    with (
        answering(settings.inference_port, [503, 503, 200, 503, 200]) as asked,
        answering(settings.console_port, []) as pages,
    ):
        runner.warm_up(bodies)
    assert [json.loads(body) for _, body, _ in asked] == [bodies[0]] * 3 + [bodies[1]] * 2
    assert {headers["Beacon-Synthetic"] for _, _, headers in asked} == {"true"}
    assert {headers["X-API-Key"] for _, _, headers in asked} == {"a key"}
    assert [path for path, _, _ in pages] == ["/", "/models/7"]
    told = capsys.readouterr().out
    assert "refused" not in told
    assert "the console's page / answers 500\n" in told


def test_an_example_that_the_product_refuses_is_told(runner, capsys):
    runner.supervisor = types.SimpleNamespace(gone=lambda: None)
    with answering(runner.settings.inference_port, [404]):
        runner.warm_up([{"entity": {"some_id": 1}}])
    assert "the example below is refused, 404: not now" in capsys.readouterr().out


def test_without_an_answer_it_is_not_ready(runner, monkeypatch):
    monkeypatch.setattr("beacon_laptop.run.START_SECONDS", 0.5)
    runner.supervisor = types.SimpleNamespace(gone=lambda: None, logs=runner.settings.home)
    with (
        answering(runner.settings.inference_port, [503] * 1000),
        pytest.raises(LaptopError, match="has no prediction: 503 not now"),
    ):
        runner.warm_up([{"entity": {"some_id": 1}}])


# A store that another process has to itself for a moment


def test_a_locked_store_is_waited_for_and_holds_up_nobody(tmp_path, product):
    from beacon_feature_serving.app import create as create_features

    fill(Settings(home=tmp_path), product)
    body = {"feature_service": product.feature_service, "entities": {product.entity.key: [ENTITY]}}

    def locked():
        other = sqlite3.connect(tmp_path / "feast" / "online.db", isolation_level=None)
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("COMMIT")
        return other

    async def read(service, other):
        asked = asyncio.create_task(service.ask("POST", LOOK_UP, body))
        for _ in range(20):
            assert (await service.ask("GET", "/livez", b"")).status == 200
            await asyncio.sleep(0.02)
        assert not asked.done()
        other.close()
        return await asked

    other = locked()
    with Service(
        create_features(on_a_laptop(tmp_path, features_metrics_port=METRICS_PORT, online_store_timeout_seconds=2))
    ) as service:
        assert service.run(read(service, other)).status == 200

    other = locked()
    with Service(create_features(Settings(home=tmp_path, features_metrics_port=METRICS_PORT))) as service:
        assert service.post(LOOK_UP, body).status == 503
        other.close()
        assert service.post(LOOK_UP, body).status == 200
