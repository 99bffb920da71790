"""A batch that is read column by column gives what it gives row by row; an hour in slices, what it gives as one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from support.traffic import EPOCH, World

from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.tables import predictions
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.profiling import slices
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.log import read_partition
from beacon_drift_profiling.profiling.log_columns import ColumnReader
from beacon_drift_profiling.profiling.profile import TextColumn

MIXED = ROOT / "tests" / "products" / "mixed" / "product.yaml"
SLICES = 5


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", load_product(MIXED))
    made.release()
    return made


def read(world: World) -> PartitionRows:
    with world.engine.connect() as connection:
        partition = Partition(EPOCH, "1")
        (found,) = read_partition(connection, partition, world.product, world.product.features)
    return found


def by_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> PartitionRows:
    with monkeypatch.context() as patch:
        patch.setattr(ColumnReader, "read", lambda _self, _batch: None)
        return read(world)


def same(one: PartitionRows, other: PartitionRows) -> None:
    assert (one.ids, one.set_aside, one.clients) == (other.ids, other.set_aside, other.clients)
    for name in one.rows.__struct_fields__:
        np.testing.assert_array_equal(getattr(one.rows, name), getattr(other.rows, name), name)
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        twin = other.columns[name]
        if isinstance(column, TextColumn):
            assert isinstance(twin, TextColumn)
            assert dict(column.texts) == dict(twin.texts)
            np.testing.assert_array_equal(column.codes, twin.codes, name)
        else:
            np.testing.assert_array_equal(column, twin, name)


def change(world: World, name: str, **values: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(predictions).where(predictions.c.id == name).values(**values))


def test_columns_are_what_rows_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = world.draw(200)
    rows[::7, 0] = rows[::5, 2] = np.nan
    names = world.log_rows(rows[:150], out_of_range=["pieces"], client="shop")
    names += world.log_rows(rows[150:])
    world.report_actuals(names[::3], np.arange(len(names[::3])), hour=0.5)
    found = read(world)
    same(found, by_rows(world, monkeypatch))
    assert len(found.ids) == 200
    assert set(found.clients) == {"shop", "anonymous"}
    assert np.isfinite(found.rows.actual).sum() == len(names[::3])
    assert found.rows.outside.sum() == 150


@pytest.mark.parametrize(
    "damage",
    [
        {"features": {"pieces": "many"}},
        {"features": {"colour": 7}},
        {"features": {"insured": "yes"}},
        {"features": {"made_on": "soon"}},
        {"features": []},
        {"features": None},
        {"out_of_range": {}},
    ],
    ids=str,
)
def test_a_row_that_does_not_parse_is_set_aside_alone(
    world: World, damage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = world.log_rows(world.draw(20))
    change(world, names[4], **damage)
    found = read(world)
    assert found.set_aside == (names[4],)
    assert len(found.ids) == 19
    same(found, by_rows(world, monkeypatch))


def test_a_level_that_the_product_no_longer_has_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = world.log_rows(world.draw(20))
    world.change_features([names[3]], {"colour": "a colour of long ago", "no_feature": [1]})
    found = read(world)
    same(found, by_rows(world, monkeypatch))
    assert found.set_aside == ()
    at = found.ids.index(names[3])
    assert found.columns["colour"].texts[found.columns["colour"].codes[at]] == "a colour of long ago"


def logged(world: World) -> World:
    for minute in range(0, 60, 6):
        world.log_rows(world.draw(20), minutes=minute)
    return world


def in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "cut", lambda partition, _rows: slices.cut_into(partition, SLICES))


def test_an_hour_in_slices_has_the_sums_of_the_whole(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (World(tmp_path / name, product) for name in ("whole", "cut"))
    for world in (whole, cut):
        world.release()
        logged(world)
    whole.run()
    in_slices(monkeypatch)
    cut.run()
    for (key, (rows, sums)), (twin, (others, more)) in zip(
        whole.profiles().items(), cut.profiles().items(), strict=True
    ):
        assert (key, rows) == (twin, others)
        assert more["segments"][""] == pytest.approx(sums["segments"][""])
    assert [result[:-1] for result in cut.results()] == [result[:-1] for result in whole.results()]
