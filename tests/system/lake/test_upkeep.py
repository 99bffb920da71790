"""Upkeep of the lake: files are joined, snapshots end, and of what was erased no byte is left."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select
from support.lakes import NOON, every_byte, ids_in, in_folder, opened, own_rows, row
from support.settings import Settings

from beacon_core.data import erasure, lake_upkeep, profiles, removals, watermarks
from beacon_core.data.database import migrate, open_store
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log import LogSlice, lake, partitions
from beacon_core.data.prediction_log.lake import maintenance
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.tables import actuals
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.product import Product
from beacon_core.domain.retention import Retention
from beacon_core.platform import clock
from beacon_core.platform.settings import SettingsError, load_settings

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
        lake.end_snapshots(found, datetime.now(UTC), NOW)
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


def test_retention_and_erasure_take_the_lake_along(tmp_path: Path, product: Product) -> None:
    settings = Settings(home=tmp_path, lake=str(tmp_path / "lake"))
    kept = replace(product.policy, retention=Retention(predictions_days=400, actuals_days=400))
    product = replace(product, policy=kept)
    now = NOON + timedelta(days=401)
    with lake_upkeep.open_lake(settings, product) as found:
        columns = {name.partition("_")[2] for name in found.load().schema().column_names}
        assert set(product.feature_names) <= columns
        lake.append_rows(found, own_rows(10, NOON))
        lake.append_rows(found, own_rows(5, now - timedelta(days=1), entity="car-1"))
    subject = Subject(entity="car-1")
    engine = open_store(settings.database)
    migrate(engine)
    assert lake_upkeep.count(settings, product, now) == {"lake predictions": 10}
    assert lake_upkeep.expire(settings, product, now) == {"lake predictions": 10}
    assert lake_upkeep.erase(settings, product, engine, subject, dry_run=True) == ErasedPlace({"lake": 5})
    assert lake_upkeep.erase(settings, product, engine, subject, dry_run=False) == ErasedPlace({"lake": 5})
    assert lake_upkeep.erase(settings, product, engine, subject, dry_run=False) == ErasedPlace({"lake": 0})
    assert parquet_files(tmp_path) == []


def test_an_erasure_takes_along_what_the_database_has_of_predictions_in_the_lake(
    tmp_path: Path, product: Product
) -> None:
    """Their actuals, and the profiles of their hours, which drift makes anew from the rows that are left."""
    settings = replace(Settings(home=tmp_path), lake=str(tmp_path / "lake"), log_stores=("lake",))
    engine = open_log(settings)
    migrate(engine)
    gone, kept = row("gone", 1, "car-1"), row("kept", 2, "car-2")
    with lake_upkeep.open_lake(settings, product) as found:
        lake.append_rows(found, [gone, kept])
    hour = Partition(NOON, "1")
    profiles.put(engine, hour, profiles.WHOLE, b"", 2, profiles.ProfileContent("d", "b", 0, 0.0, {}))
    told = {"observed_at": NOON, "received_at": NOON, "source": "test", "value": 1.0}
    with engine.begin() as connection:
        connection.execute(insert(actuals), [told | {"prediction_id": "gone"}, told | {"prediction_id": "kept"}])
        watermarks.write(connection, erasure.PROFILE_JOB, Watermark(LATER, LATER))
    removed = lake_upkeep.erase(settings, product, engine, Subject(entity="car-1"), dry_run=False).removed
    assert removed == {"lake": 1, "lake actuals": 1}
    with engine.connect() as connection:
        assert connection.scalars(select(actuals.c.prediction_id)).all() == ["kept"]
        assert profiles.digest_of(connection, hour) is None
        again = partitions.changed_partitions(connection, watermarks.read(connection, erasure.PROFILE_JOB), EVERYTHING)
        assert again.partitions == {hour}


def test_rows_that_come_into_the_lake_after_their_erasure_go_with_the_next_upkeep(
    tmp_path: Path, product: Product
) -> None:
    settings = replace(Settings(home=tmp_path), lake=str(tmp_path / "lake"), log_stores=("lake",))
    engine = open_log(settings)
    migrate(engine)
    erased = clock.now()
    names = {"entity": removals.digests_of(["car-1"], "run"), "ids": []}
    with engine.begin() as connection:
        row_of = removals.Removal("run", erased, product.name, "erasure", "begun", "Ann", "so", names)
        removals.append(connection, row_of)
    with lake_upkeep.open_lake(settings, product) as found:
        late = (erased - timedelta(minutes=1) - NOON) / timedelta(minutes=1)
        lake.append_rows(
            found, [row("late", late, "car-1"), row("new", late + 2, "car-1"), row("other", late, "car-2")]
        )
        assert lake_upkeep.erase_late_rows(settings, product, engine, clock.now()) == 1
        assert ids_in(found) == ["other", "new"]


def test_without_a_lake_nothing_is_done(tmp_path: Path, product: Product) -> None:
    settings = Settings(home=tmp_path)
    engine = open_store(settings.database)
    assert lake_upkeep.count(settings, product, NOON) == lake_upkeep.expire(settings, product, NOON) == {}
    assert lake_upkeep.erase(settings, product, engine, Subject(entity="car-1"), dry_run=False) == ErasedPlace()
    assert not parquet_files(tmp_path)


@pytest.mark.parametrize("wrong", ["gs://bucket/log", "s3://", "file://log"])
def test_a_place_that_is_none_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(SettingsError, match="BEACON_LAKE: must be a folder, or s3://BUCKET/FOLDER"):
        load_settings({"BEACON_LAKE": wrong})
