"""Upkeep of the lake: files are joined, snapshots end, and of what was erased no byte is left."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.lakes import NOON, every_byte, ids_in, in_folder, opened, own_rows, row

from beacon_core.data import erasure
from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.lake import maintenance
from beacon_core.platform import clock

pytestmark = pytest.mark.lake
NOW = timedelta(0)
ALL = 10**9
LATER = NOON + timedelta(days=3650)


def parquet_files(folder: Path) -> list[Path]:
    return list((folder / "lake").rglob("*.parquet"))


def whole(found: lake.Lake) -> list[Any]:
    with lake.begin(found) as handle:
        return [one for batch in lake.scan(handle, LogSlice(), lake_columns()) for one in batch]


def lake_columns() -> tuple[str, ...]:
    return ("id", "time", "entity", "features", "imputed", "prediction", "client")


def test_small_files_become_one_a_day_with_the_same_rows(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        for at in range(6):  # which overlap, as those of two pods do
            lake.append_rows(found, own_rows(50, NOON + timedelta(seconds=at), entity=f"car-{at}"))
            lake.append_rows(found, own_rows(50, NOON + timedelta(days=1, seconds=at)))
        before = whole(found)
        done = lake.keep_up(found, LATER, NOW)
        assert (done.joined, done.made) == (12, 2)
        assert whole(found) == before
        assert len(before) == 600
        assert len(parquet_files(tmp_path)) == 2
        assert lake.keep_up(found, LATER, NOW)[:2] == (0, 0)


def test_full_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "FULL_ROWS", 100)
    with opened(*in_folder(tmp_path)) as found:
        for at in range(10):
            lake.append_rows(found, own_rows(30, NOON + timedelta(minutes=at)))
        lake.append_rows(found, own_rows(60, NOON + timedelta(hours=1)))
        assert lake.keep_up(found, LATER, NOW)[:2] == (9, 3)
        assert len(ids_in(found)) == 360


def test_a_snapshot_stays_for_as_long_as_a_question_may_take(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        for at in range(3):
            lake.append_rows(found, own_rows(5, NOON + timedelta(minutes=at)))
        with lake.begin(found) as handle:
            done = lake.keep_up(found, clock.now(), timedelta(hours=1))
            assert (done.made, done.snapshots, done.deleted) == (1, 0, 0)
            assert len([one for batch in lake.scan(handle, LogSlice(), ["id"]) for one in batch]) == 15


def test_an_erasure_leaves_no_byte(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, [row("order-7", 1, "Erika-Mustermann"), row("order-8", 2, "other-entity")])
        lake.append_rows(found, own_rows(100, NOON, entity="Erika-Mustermann"))
        lake.append_rows(found, own_rows(100, NOON + timedelta(days=1), entity="other-entity"))
        assert [path for path, content in every_byte(tmp_path) if b"other-entity" in content]
        with lake.begin(found) as handle:
            assert len(lake.forget(handle, entity="Erika-Mustermann", most=ALL)) == 101
        lake.end_snapshots(found, LATER, NOW)
        erasure.compact(found.engine)
        assert len(ids_in(found)) == 101
    names = [name for path, content in every_byte(tmp_path) for name in (b"Erika", b"order-7") if name in content]
    assert names == []


def test_expiry_drops_files_without_reading_them(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        for at in range(4):
            lake.append_rows(found, own_rows(50, NOON + timedelta(days=at)))
        first = min(parquet_files(tmp_path), key=lambda path: path.parent.name)
        first.write_bytes(b"not read")
        with lake.begin(found) as handle:
            assert lake.expire(handle, NOON + timedelta(days=1, seconds=25), ALL) == 75
        assert len(ids_in(found)) == 125
        lake.end_snapshots(found, LATER, NOW)
        assert not first.exists()


def test_a_file_that_no_commit_names_goes_when_it_is_old(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, own_rows(5))
        left = parquet_files(tmp_path)[0].with_name("left.parquet")
        left.write_bytes(b"of a committer that was killed")
        lake.end_snapshots(found, NOON, NOW)
        assert left.exists()
        lake.end_snapshots(found, LATER, NOW)
        assert not left.exists()
        assert len(ids_in(found)) == 5
