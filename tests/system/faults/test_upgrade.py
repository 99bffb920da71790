"""An upgrade under load, and back: the last release's server, a migration under it, this one's, and the last's again.

The steps are a cluster's: a new pod is ready before an old one gets no more requests, and an old one ships its spool.
"""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text
from support import last_release
from support.packages import release_package, row_of
from support.postgres import Postgres, postgres
from support.server import INFERENCE, Program, Server
from support.waiting import until

from beacon_core.data.database import migrate_at
from beacon_core.domain.product import Product

CLIENTS, EACH = 3, int(os.environ.get("UPGRADE_ANSWERS") or 300)
"""Answers of each of the three phases, by the clients together; UPGRADE_ANSWERS=1700 makes 5,000 and more in all."""
OLD = Program("beacon_inference", "../.venv", "INFERENCE")
MIGRATE = "import sys; from beacon_core.data.database import migrate_at; migrate_at(sys.argv[1])"


class Users(threading.Thread):
    """Asks whoever is in service, on a connection of its own for each request, and keeps what it was told."""

    def __init__(self, service: Callable[[], str], row: dict[str, object]) -> None:
        super().__init__()
        self._service, self._row = service, row
        self.ids: list[str] = []
        self.failed: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                answer = httpx.post(f"{self._service()}/v1/predict", json={"features": self._row}, timeout=20)
            except httpx.TransportError as error:
                self.failed.append(repr(error))
                continue
            if answer.status_code == 200 and answer.headers["beacon-logged"] == "true":
                self.ids.append(answer.json()["prediction_id"])
            else:
                self.failed.append(answer.text)


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres() as server:
        server.create_database("upgraded")
        server.database = "upgraded"
        yield server


@pytest.mark.timeout(900)
def test_no_request_fails_and_no_record_is_lost_by_an_upgrade_or_the_way_back(
    database: Postgres, product: Product, tmp_path: Path
) -> None:
    last = last_release.unpack(tmp_path / "last", "services/core/beacon_core", "services/inference/beacon_inference")
    path = ":".join(str(last / "services" / name) for name in ("core", "inference"))
    old_code = {"PYTHONPATH": path}
    with ExitStack() as stack:

        def pod(name: str, *, old: bool) -> Server:
            home = tmp_path / name
            release_package(home, product)
            program, code = (OLD, old_code) if old else (INFERENCE, {})
            server = Server(home, program, code, ships=not old, database_url=database.url)
            stack.callback(server.end)
            server.start()
            return server

        made = subprocess.run(
            [sys.executable, "-c", MIGRATE, database.url], env=old_code, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        assert database.query("SELECT version_num FROM alembic_version")[0][0] == "0001_tables"
        before = pod("before", old=True)
        current = [before.address]
        row = dict(zip(product.feature_names, row_of(product), strict=True))
        users = [Users(lambda: current[0], row) for _ in range(CLIENTS)]

        def answers() -> int:
            return sum(len(user.ids) for user in users)

        def more(count: int) -> None:
            goal = answers() + count
            until(lambda: answers() >= goal or any(user.failed for user in users), f"{count} answers more", 600)

        def replace(gone: Server, new: Server) -> None:
            current[0] = new.address
            more(50)  # the old one is still there for requests on their way
            assert gone.stop() == 0, gone.log()

        for user in users:
            user.start()
        try:
            more(EACH)
            migrate_at(database.url)
            more(EACH // 2)
            new = pod("new", old=False)
            replace(before, new)
            more(EACH)
            back = pod("back", old=True)
            replace(new, back)
            more(EACH)
        finally:
            for user in users:
                user.ended.set()
            for user in users:
                user.join()
        assert back.stop() == 0, back.log()
    assert [failure for user in users for failure in user.failed] == []
    told = [one for user in users for one in user.ids]
    assert len(told) >= 3 * EACH
    engine = create_engine(database.url)
    with engine.connect() as connection:
        kept = Counter(connection.execute(text("SELECT id FROM predictions")).scalars())
        counted = connection.scalar(text("SELECT sum(predictions) FROM traffic"))
    engine.dispose()
    assert set(told) - kept.keys() == set()
    assert counted == len(kept)
    print(f"\n  {len(told)} predictions, none failed and none lost")
