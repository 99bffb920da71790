"""kill -9 of inference, of the log's process and of PostgreSQL in turn, under load: nothing is lost, nothing doubled.

PostgreSQL has the log's table and the lake's catalog. `make test-log-kills KILLS=1000` does it as often as one likes.
"""

import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest
from support.lake_logs import stop_whole
from support.lakes import ids_in, opened
from support.load import PREDICT, under_load
from support.postgres import Postgres, postgres
from support.server import Server, serving

from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import LakePlace

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("log-process")]
KILLS = int(os.environ.get("BEACON_LOG_KILLS", "21"))
REST_SECONDS = 0.02
UPKEEP_EVERY = 100
"""Kills after which the lake is kept up, as the retention job does."""
TOLD_EVERY = 50


class Retrying(threading.Thread):
    """A client with ids of its own, which repeats a request until it is answered."""

    def __init__(self, address: str, row: dict[str, float]) -> None:
        super().__init__()
        self.address, self.row = address, row
        self.acknowledged: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        for number in count():
            name = f"order-{number}"
            while not self._is_answered(name):
                if self.done.wait(REST_SECONDS):
                    return
            self.acknowledged.append(name)
            if self.done.wait(REST_SECONDS):
                return

    def _is_answered(self, name: str) -> bool:
        body = {"features": self.row, "prediction_id": name}
        try:
            answer = httpx.post(f"{self.address}{PREDICT}", json=body, timeout=20)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.headers.get("beacon-logged", "true") == "true"  # a replay has none


def test_kills_of_inference_the_log_process_and_postgresql_lose_and_double_nothing(
    home: Path, row: dict[str, float]
) -> None:
    chance = random.Random(11)
    with postgres() as cluster:
        place = LakePlace(str(home / "lake"), cluster.url)
        stores = {"log_stores": "sql,lake", "lake": place.files, "database_url": cluster.url}
        with serving(home, access_log="false", **stores) as server:
            retrying = Retrying(server.address, row)
            with under_load(server.address, row, rest=REST_SECONDS) as loads:
                retrying.start()
                began = time.monotonic()
                for number in range(KILLS):
                    time.sleep(chance.uniform(0, 1.5))
                    kill_one(number, server, cluster)
                    if number % UPKEEP_EVERY == UPKEEP_EVERY - 1:
                        with opened(*place) as found:
                            lake.keep_up(found, datetime.now(UTC), timedelta(minutes=5))
                    if number % TOLD_EVERY == TOLD_EVERY - 1:
                        print(f"{number + 1} kills, {time.monotonic() - began:.0f} s", flush=True)
                loads.wait_for(5)
                retrying.done.set()
                retrying.join()
            stop_whole(server, home)
        acknowledged = Counter(loads.acknowledged + retrying.acknowledged)
        in_table = Counter(name for (name,) in cluster.query("SELECT id FROM predictions"))
        with opened(*place) as found:
            in_lake = Counter(ids_in(found))
    lost = {"table": acknowledged - in_table, "lake": acknowledged - in_lake}
    unanswered = len(in_table - acknowledged)
    print(f"kills {KILLS}, acknowledged {len(acknowledged)}, logged without an answer {unanswered}")
    assert {store: len(names) for store, names in lost.items()} == {"table": 0, "lake": 0}
    assert [name for name, times in in_lake.items() if times > 1] == []
    assert in_lake == in_table
    assert loads.total("unlogged") == 0
    assert len(retrying.acknowledged) > KILLS
    # A kill of inference finds at most one request of each of the three clients between its record and its answer.
    assert unanswered <= 3 * -(-KILLS // 3)


def kill_one(number: int, server: Server, cluster: Postgres) -> None:
    """Kill one of the three, and start it again."""
    assert server.log_process is not None
    victim = number % 3
    if victim == 0:
        server.log_process.kill()
        server.log_process.start()
    elif victim == 1:
        server.kill_alone()
        server.start()
    else:
        cluster.kill()
        cluster.start()
