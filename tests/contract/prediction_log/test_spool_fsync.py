"""The spool with BEACON_SPOOL_FSYNC=group, in a real server whose fdatasync is held up, counted and made to fail."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.load import PREDICT
from support.server import Server, serving
from support.waiting import until

from beacon_core.spool.segments import lines_of, read, segments

pytestmark = [pytest.mark.xdist_group("log-process"), pytest.mark.slow]
WHOLE = 1 << 30
# What Python imports by itself as it starts: an fdatasync that writes down that it begins, and ends when it may.
HELD = """
import os, pathlib, time
folder, real = pathlib.Path(os.environ["HELD_FOLDER"]), os.fdatasync
def number(name):
    return int((folder / name).read_text() or 0) if (folder / name).exists() else 0
def fdatasync(file):
    begun = number("begun") + 1
    (folder / "begun").write_text(str(begun))
    while begun > number("allowed"):
        time.sleep(0.005)
    if begun == number("failing"):
        raise OSError(5, "Input/output error")
    real(file)
os.fdatasync = fdatasync
"""


class Held:
    """The disk of a server: how many fdatasyncs have begun, and how many may end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HELD)
        self.variables = {"PYTHONPATH": str(folder), "HELD_FOLDER": str(folder)}

    @property
    def begun(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self._folder / "begun").read_text())
        return 0

    def allow(self, count: int) -> None:
        draft = self._folder / "draft"
        draft.write_text(str(count))
        draft.replace(self._folder / "allowed")

    def fail(self, number: int) -> None:
        (self._folder / "failing").write_text(str(number))


@contextlib.contextmanager
def held_server(home: Path, fsync: str) -> Iterator[tuple[Server, Held]]:
    held = Held(home / "held")
    options = {"access_log": "false", "spool_fsync": fsync, "ships": False}
    with serving(home, environment=held.variables, **options) as server:
        yield server, held


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def predict(server: Server, row: dict[str, float]) -> httpx.Response:
    return httpx.post(f"{server.address}{PREDICT}", json={"features": row}, timeout=60)


def spooled(home: Path) -> int:
    folder = home / "spool"
    return sum(len(lines_of(read(folder, segment, 0, WHOLE))) for segment in segments(folder))


def logged_of(some: list["Future[httpx.Response]"]) -> list[tuple[int, str]]:
    answers = [one.result(60) for one in some]
    return [(answer.status_code, answer.headers["beacon-logged"]) for answer in answers]


def open_segments(server: Server) -> list[str]:
    """The segments that a process of the server has open."""
    master = server.process.pid
    pids = [master, *Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    files = [file.readlink().name for pid in pids for file in Path(f"/proc/{pid}/fd").iterdir()]
    return [name for name in files if name.endswith(".jsonl")]


def test_an_answer_waits_for_an_fsync_that_began_after_its_record_and_shares_it(
    home: Path, row: dict[str, float], clients: ThreadPoolExecutor
) -> None:
    with held_server(home, "group") as (server, held):
        first = clients.submit(predict, server, row)
        until(lambda: held.begun == 1, "the first fsync begins")
        others = [clients.submit(predict, server, row) for _ in range(7)]
        until(lambda: spooled(home) == 8, "the records of all are written")
        assert httpx.get(f"{server.address}/readyz", timeout=30).status_code == 200, "the loop goes on meanwhile"
        assert not first.done()
        held.allow(1)
        assert logged_of([first]) == [(200, "true")]
        until(lambda: held.begun == 2, "the second begins")
        assert httpx.get(f"{server.address}/readyz", timeout=30).status_code == 200
        assert [one.done() for one in others] == [False] * 7, "the first one began before their records"
        held.allow(2)
        assert logged_of(others) == [(200, "true")] * 7
        assert held.begun == 2


def test_an_fsync_that_fails_is_told_and_nothing_follows_on_its_pages(home: Path, row: dict[str, float]) -> None:
    with held_server(home, "group") as (server, held):
        held.fail(2)
        held.allow(1 << 30)
        answers = [predict(server, row) for _ in range(3)]
        assert [one.status_code for one in answers] == [200] * 3
        assert [one.headers["beacon-logged"] for one in answers] == ["true", "false", "true"]
        assert "the spool could not be synced: Input/output error" in server.log()
        metrics = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10).text
        assert "beacon_prediction_log_dropped_total 1.0" in metrics
        assert [len(lines_of(read(home / "spool", number, 0, WHOLE))) for number in segments(home / "spool")] == [2, 1]


def test_without_it_no_answer_waits(home: Path, row: dict[str, float]) -> None:
    with held_server(home, "never") as (server, held):
        assert predict(server, row).headers["beacon-logged"] == "true"
        assert held.begun == 0


def test_records_of_all_segments_are_brought_to_the_disk(home: Path, row: dict[str, float]) -> None:
    """Batches that fill segments: each file of the spool, and its name in the folder, is synced before the answer."""
    with held_server(home, "group") as (server, held):
        held.allow(1 << 30)
        body = {"rows": [{"features": row}] * 1000}
        answers = []
        while len(segments(home / "spool")) < 3:
            answers.append(httpx.post(f"{server.address}/v1/predict/batch", json=body, timeout=60))
        assert {(one.status_code, one.headers["beacon-logged"]) for one in answers} == {(200, "true")}
        assert open_segments(server) == [f"{max(segments(home / 'spool')):08d}.jsonl"], "full segments are closed"
