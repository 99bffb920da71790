"""Drift's rows out of the lake are those of the database: features of every type, figures, and actuals."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, update
from support.lakes import in_folder, move_to_lake, rows_in
from support.traffic import EPOCH, HOUR, World

from beacon_core.data.prediction_log.partitions import Partition, TimeSpan, logged_rows
from beacon_core.data.tables import actuals, predictions
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.profiling import log_lake
from beacon_drift_profiling.profiling.aggregates import LoggedRows
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.log import read_partition
from beacon_drift_profiling.profiling.profile import Column, TextColumn

pytestmark = pytest.mark.lake
MIXED = ROOT / "tests" / "products" / "mixed" / "product.yaml"


def read_hour(world: World) -> PartitionRows:
    """The whole hour, in two slices."""
    partition, middle = Partition(EPOCH, "1"), EPOCH + timedelta(minutes=5)
    with world.engine.connect() as connection:
        parts = [
            part
            for span in (TimeSpan(EPOCH, middle), TimeSpan(middle, EPOCH + HOUR))
            for part in read_partition(connection, partition, world.product, world.product.features, span)
        ]
    one, other = parts
    assert not one.set_aside + other.set_aside
    rows = LoggedRows(
        *[np.concatenate([getattr(part.rows, name) for part in parts]) for name in LoggedRows.__struct_fields__]
    )
    columns: dict[str, Column] = {}
    for name, column in one.columns.items():
        twin = other.columns[name]
        if isinstance(column, TextColumn) and isinstance(twin, TextColumn):
            codes = np.concatenate([column.codes, twin.codes])
            columns[name] = TextColumn(codes, {**column.texts, **twin.texts})
        else:
            columns[name] = np.concatenate([column, twin])
    return PartitionRows(one.ids + other.ids, rows, columns, (), one.clients + other.clients)


def report_of_entities(world: World, names: list[str]) -> None:
    """Make some predictions ones of entities, and send actuals of these."""
    moment = EPOCH + timedelta(minutes=40)
    told = [
        {"entity": f"e{at}", "value": 100.0 + at, "observed_at": moment, "received_at": moment, "source": "t"}
        for at in range(len(names))
    ]
    with world.engine.begin() as connection:
        for at, name in enumerate(names):
            connection.execute(update(predictions).where(predictions.c.id == name).values(entity=f"e{at}"))
        connection.execute(insert(actuals), told)


def by_id(read: PartitionRows) -> tuple[list[str], list[int]]:
    order = sorted(range(len(read.ids)), key=lambda at: read.ids[at])
    return [read.ids[at] for at in order], order


@pytest.mark.parametrize("by_rows", [False, True], ids=["by columns", "row by row"])
def test_the_lake_gives_what_the_database_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_rows: bool) -> None:
    world = World(tmp_path / "home", load_product(MIXED))
    world.release()
    drawn = world.draw(120)
    drawn[::4, 1] = np.nan
    names = world.log_rows(drawn[:100], out_of_range=["pieces"], client="shop") + world.log_rows(drawn[100:], minutes=7)
    world.report_actuals(names[::3], np.arange(len(names[::3])), hour=0.5)
    report_of_entities(world, names[1::3])
    if by_rows:
        monkeypatch.setattr(log_lake, "_read", lambda *_: None)
    told = read_hour(world)
    assert np.isfinite(told.rows.actual).sum() > len(names[::3]), "some actuals are of entities"
    with move_to_lake(world.engine, rows_in(world.engine), in_folder(tmp_path)):
        read = read_hour(world)
        with world.engine.connect() as connection:
            assert logged_rows(connection, Partition(EPOCH, "1")) == 120
    ids, order = by_id(read)
    assert ids == sorted(told.ids)
    assert [read.clients[at] for at in order] == list(told.clients)
    for name in told.rows.__struct_fields__:
        np.testing.assert_array_equal(getattr(read.rows, name)[order], getattr(told.rows, name), name)
    for name, column in told.columns.items():
        twin = read.columns[name]
        values, others = (each.codes if isinstance(each, TextColumn) else each for each in (column, twin))
        np.testing.assert_array_equal(others[order], values, name)
