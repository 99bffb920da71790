"""The log's process beside inference, shipping to other stores than the database: what a test asks of both."""

import time
from pathlib import Path

import httpx
from support.lakes import ids_in, opened
from support.load import PREDICT
from support.log_process import LogProcess
from support.server import Server

from beacon_core.data.prediction_log.lake import LakePlace
from beacon_core.spool.segments import segments

SHIP_SECONDS = 120.0


def log_of(server: Server) -> LogProcess:
    assert server.log_process is not None
    return server.log_process


def stop_whole(server: Server, home: Path) -> None:
    """End both; a process that had not the time to ship the rest is followed by another."""
    assert server.stop() == 0
    end = time.monotonic() + SHIP_SECONDS
    while segments(home / "spool"):
        assert time.monotonic() < end, log_of(server).log()
        log_of(server).start()
        log_of(server).stop()


def in_home(home: Path) -> LakePlace:
    return LakePlace(str(home / "lake"), f"sqlite:///{home / 'beacon.db'}")


def lake_ids(place: LakePlace) -> list[str]:
    with opened(*place) as found:
        return sorted(ids_in(found))


def waiting(server: Server, store: str) -> float:
    return log_of(server).metrics()[f"beacon_prediction_log_store_waiting{{store={store}}}"]


def failures(server: Server, store: str) -> float:
    return log_of(server).metrics()[f"beacon_prediction_log_store_failures_total{{store={store}}}"]


def ask(server: Server, row: dict[str, float], count: int) -> list[str]:
    names = []
    for _ in range(count):
        answer = httpx.post(f"{server.address}{PREDICT}", json={"features": row}, timeout=30)
        assert (answer.status_code, answer.headers["beacon-logged"]) == (200, "true")
        names.append(answer.json()["prediction_id"])
    return names
