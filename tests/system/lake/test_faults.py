"""The lake's faults: what was acknowledged is there once, and each fault is told in one line."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.disk import small_disk
from support.flaky import Flaky, flaky
from support.lakes import NOON, ids_in, in_folder, opened, own_rows, row
from support.postgres import Postgres, postgres
from support.s3 import s3_bucket

from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.lake import Appended, LakeDamagedError, LakePlace, LakeUnavailableError, SpoolBlock
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.lake
KILLS = int(os.environ.get("BEACON_LAKE_KILLS", "10"))
BLOCK_ROWS = 20


def append_blocks(found: lake.Lake, count: int, tries: int = 1) -> None:
    """Append blocks as a shipper does, which gives a block again until it is acknowledged."""
    for at in range(count):
        block = SpoolBlock("s", 1, at * BLOCK_ROWS, (at + 1) * BLOCK_ROWS)
        rows = own_rows(BLOCK_ROWS, NOON + timedelta(minutes=at))
        for attempt in range(1, tries + 1):
            try:
                lake.append_rows(found, rows, block)
            except LakeUnavailableError:
                if attempt == tries:
                    raise
                continue
            break


def expected(count: int) -> list[str]:
    return [one.id for at in range(count) for one in own_rows(BLOCK_ROWS, NOON + timedelta(minutes=at))]


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LakePlace, Flaky]]:
    """A lake on a real S3 server, behind a proxy that can be made to fail."""
    with s3_bucket("lake") as bucket, flaky(os.environ["AWS_ENDPOINT_URL"]) as (address, state):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield LakePlace(f"{bucket}/log", f"sqlite:///{tmp_path / 'catalog.db'}"), state


def test_s3_that_answers_503_half_the_time(s3: tuple[LakePlace, Flaky]) -> None:
    place, state = s3
    with opened(*place) as found:
        state.refuses_each = 2
        append_blocks(found, 4, tries=10)
        assert ids_in(found) == expected(4)
        assert state.refused > 10


def test_s3_that_is_away_for_a_while(s3: tuple[LakePlace, Flaky]) -> None:
    place, state = s3
    with opened(*place) as found:
        append_blocks(found, 1)
        state.refuses_each = 1
        with pytest.raises(LakeUnavailableError, match="the lake's files cannot be read or written"):
            append_blocks(found, 2)
        state.refuses_each = 0
        append_blocks(found, 3)
        assert ids_in(found) == expected(3)


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[tuple[LakePlace, Postgres]]:
    with postgres() as cluster:
        yield LakePlace(str(tmp_path / "lake"), cluster.url), cluster


def test_a_catalog_that_is_killed_and_comes_back(on_postgres: tuple[LakePlace, Postgres]) -> None:
    place, cluster = on_postgres
    with opened(*place) as found:
        append_blocks(found, 1)
        cluster.kill()
        with pytest.raises(LakeUnavailableError, match="the lake's catalog does not answer"):
            append_blocks(found, 2)
        with pytest.raises(LakeUnavailableError, match="the lake's catalog does not answer"), opened(*place):
            pass
        cluster.start()
        append_blocks(found, 3, tries=3)
        assert ids_in(found) == expected(3)


def test_a_full_disk(tmp_path: Path) -> None:
    files = tmp_path / "lake"
    files.mkdir()
    filler = files / "filler"
    with small_disk(files, "2m"), opened(str(files), f"sqlite:///{tmp_path / 'catalog.db'}") as found:
        append_blocks(found, 1)
        filler.write_bytes(os.urandom(os.statvfs(files).f_bavail * os.statvfs(files).f_bsize))
        with pytest.raises(LakeUnavailableError, match="No space left on device"):
            append_blocks(found, 2)
        filler.unlink()
        append_blocks(found, 3)
        assert ids_in(found) == expected(3)


@pytest.mark.parametrize("how", ["cut", "empty", "garbled", "gone"])
def test_a_torn_file_is_named_and_the_others_are_read(tmp_path: Path, how: str) -> None:
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, own_rows(500, NOON, entity="car-1"))
        lake.append_rows(found, own_rows(500, NOON + timedelta(days=1)))
    torn = next((tmp_path / "lake").rglob("time_day=2026-03-01/*.parquet"), None)
    torn = torn or min((tmp_path / "lake").rglob("*.parquet"), key=lambda path: path.parent.name)
    whole = torn.read_bytes()
    if how == "gone":
        torn.unlink()
    else:
        middle = whole[:1000] + os.urandom(len(whole) - 2000) + whole[-1000:]
        torn.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "garbled": middle}[how])
    error = LakeUnavailableError if how == "gone" else LakeDamagedError
    with opened(*in_folder(tmp_path)) as found, lake.begin(found) as handle:
        with pytest.raises(error, match=torn.name):
            list(lake.scan(handle, LogSlice(), ["id", "prediction", "features"]))
        later = LogSlice(since=NOON + timedelta(hours=20))
        assert len([one for batch in lake.scan(handle, later, ["id"]) for one in batch]) == 500
        lake.append_rows(found, own_rows(5, NOON + timedelta(days=2)))


SHIPPER = """
import sys
from datetime import timedelta
from support.lakes import NOON, opened, own_rows
from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import SpoolBlock
files, catalog, begin, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with opened(files, catalog) as found:
    for at in range(begin, 10_000):
        rows = own_rows(size, NOON + timedelta(minutes=at))
        lake.append_rows(found, rows, SpoolBlock("s", 1, at * size, (at + 1) * size))
        print(at, flush=True)
"""


def test_a_shipper_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """kill -9 at any moment; the next one begins with the first block that was not acknowledged."""
    place, chance = in_folder(tmp_path), random.Random(7)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    acknowledged = 0
    for _ in range(KILLS):
        command = [sys.executable, "-c", SHIPPER, *place, str(acknowledged), str(BLOCK_ROWS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as shipper:
            assert shipper.stdout is not None
            for _ in range(chance.randint(1, 3)):
                assert int(shipper.stdout.readline()) == acknowledged
                acknowledged += 1
            try:
                shipper.wait(chance.uniform(0, 0.2))
            except subprocess.TimeoutExpired:
                shipper.send_signal(signal.SIGKILL)
            rest = shipper.stdout.read().split()
            acknowledged += len(rest)
    with opened(*place) as found:
        there = ids_in(found)
        assert there[: acknowledged * BLOCK_ROWS] == expected(acknowledged)
        assert len(there) in {acknowledged * BLOCK_ROWS, (acknowledged + 1) * BLOCK_ROWS}
        append_blocks(found, acknowledged + 1)
        assert ids_in(found) == expected(acknowledged + 1)


def test_a_removal_beside_a_committer_loses_nothing(tmp_path: Path) -> None:
    """An append between a removal's look and its commit: the removal looks again."""
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, [row("a", 0, "car-1"), row("b", 1)])
        with lake.begin(found) as handle:
            assert [one.id for one in lake.forget(handle, entity="car-1", most=10)] == ["a"]
            assert lake.append_rows(found, [row("c", 0.5)]) == Appended(1, 0)
        assert ids_in(found) == ["c", "b"]
