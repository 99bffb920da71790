"""The prediction log's process, for real: killed under load, away, hung, and with another one beside it."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.load import PREDICT, under_load
from support.log_process import PYTHON, LogProcess
from support.logged import logged_ids
from support.server import INFERENCE, Server, serving
from support.waiting import until

from beacon_core.spool.messages import SOCKET, is_too_long

KILLS = int(os.environ.get("BEACON_KILLS", "3"))
READERS = 30
pytestmark = [pytest.mark.xdist_group("log-process"), pytest.mark.slow]


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with serving(home, access_log="false") as running:
        yield running


def log_of(server: Server) -> LogProcess:
    assert server.log_process is not None
    return server.log_process


def predict(server: Server, row: dict[str, float], **more: str) -> httpx.Response:
    return httpx.post(f"{server.address}{PREDICT}", json={"features": row, **more}, timeout=30)


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.address}{path}", timeout=30)


def is_unavailable(answer: httpx.Response) -> bool:
    code = answer.json().get("code")
    return (answer.status_code, code, answer.headers.get("retry-after")) == (503, "prediction_log_unavailable", "1")


def test_kill_9_under_load_loses_no_acknowledged_record_and_doubles_none(
    server: Server, home: Path, row: dict[str, float]
) -> None:
    with under_load(server.address, row) as loads:
        for number in range(KILLS):
            loads.wait_for(40 + 13 * (number % 5))
            log_of(server).kill()
            loads.wait_for(20)
            log_of(server).start()
        loads.wait_for(20)
    assert server.stop() == 0
    acknowledged, found = loads.acknowledged, logged_ids(home / "beacon.db")
    print(f"kills {KILLS}, acknowledged {len(acknowledged)}, in the database {len(found)}")
    assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
    assert sorted(found) == sorted(acknowledged)
    assert list((home / "spool").glob("*.jsonl")) == [], "what is shipped goes"


def test_inference_starts_and_predicts_without_it(home: Path, row: dict[str, float]) -> None:
    with serving(home, access_log="false", ships=False) as server:
        for name in ("a", "b"):
            answer = predict(server, row, prediction_id=name)
            assert (answer.status_code, answer.headers["beacon-logged"]) == (200, "true")
        assert predict(server, row, prediction_id="a").status_code == 200, "a retry is answered"
        assert is_unavailable(get(server, "/v1/predictions/a"))
        assert is_unavailable(
            httpx.post(f"{server.address}/v1/actuals", json={"prediction_id": "a", "value": 20}, timeout=30)
        )
        assert is_unavailable(httpx.post(f"{server.address}/v1/explain", json={"prediction_id": "a"}, timeout=30))
        assert get(server, "/readyz").status_code == 200
        process = LogProcess(home, {"BEACON_HOME": str(home), "BEACON_PRODUCT": os.environ["BEACON_PRODUCT"]})
        process.start()
        try:
            assert get(server, "/v1/predictions/a").json()["prediction_id"] == "a"
            until(lambda: process.metrics()["beacon_prediction_log_spool_records"] == 0, "all is shipped")
            assert sorted(logged_ids(home / "beacon.db")) == ["a", "b"]
            assert (
                httpx.post(f"{server.address}/v1/actuals", json={"prediction_id": "a", "value": 20}).status_code == 200
            )
        finally:
            process.kill()
        assert is_unavailable(get(server, "/v1/predictions/a"))


def test_a_process_that_hangs_holds_up_nothing_but_what_asks_it(server: Server, row: dict[str, float]) -> None:
    predict(server, row, prediction_id="before")
    log_of(server).send(signal.SIGSTOP)
    readers = [threading.Thread(target=_read, args=(server,)) for _ in range(READERS)]
    try:
        for reader in readers:
            reader.start()
        with under_load(server.address, row) as loads:
            loads.wait_for(200)
            began = time.monotonic()
            assert predict(server, row, prediction_id="during").status_code == 200
            took = time.monotonic() - began
            assert get(server, "/readyz").status_code == 200
            assert any(reader.is_alive() for reader in readers), "health waited for the readers"
    finally:
        log_of(server).send(signal.SIGCONT)
        for reader in readers:
            reader.join()
    print(f"a prediction with an id took {took:.1f} s")
    assert took < 5.0
    assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
    until(lambda: log_of(server).metrics()["beacon_prediction_log_spool_records"] == 0, "all is shipped")
    assert get(server, "/v1/predictions/during").status_code == 200


def _read(server: Server) -> None:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"{server.address}/v1/predictions/before", timeout=60)


def test_a_second_process_on_the_spool_is_refused_in_one_line(server: Server, home: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "BEACON_HOME": str(home), "BEACON_PRODUCT": os.environ["BEACON_PRODUCT"]}
    second = subprocess.run(
        [PYTHON, "-m", "beacon_prediction_log"], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 75
    (line,) = second.stderr.splitlines()
    assert "another process ships this spool" in line


def test_it_ships_on_until_inference_has_ended(home: Path, row: dict[str, float]) -> None:
    server = Server(home, INFERENCE, access_log="false")
    server.start()
    try:
        with under_load(server.address, row) as loads:
            loads.wait_for(20)
            log_of(server).send(signal.SIGTERM)  # as `make run` ends both at once
            loads.wait_for(20)
        assert server.stop() == 0
    finally:
        server.end()
    assert sorted(logged_ids(home / "beacon.db")) == sorted(loads.acknowledged)


def test_a_folder_whose_path_is_too_long_for_a_socket_has_one_all_the_same(
    home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    spool = tmp_path / ("long" * 20) / "spool"
    assert is_too_long(spool / SOCKET)
    with serving(home, access_log="false", spool=spool) as server:
        predict(server, row, prediction_id="a")
        assert get(server, "/v1/predictions/a").status_code == 200
        place = (spool / SOCKET).resolve()
        assert server.stop() == 0
    assert not place.exists()
    assert not (spool / SOCKET).is_symlink()
