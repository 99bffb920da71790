"""Drift's rows out of the lake are those of the database: features of every type, figures, and actuals."""

from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select
from support.lakes import in_folder, opened
from support.traffic import EPOCH, HOUR, World

from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.predictions import PredictionRow
from beacon_core.data.tables import predictions
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.profiling import log_lake
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.log import read_lake, read_partition
from beacon_drift_profiling.profiling.log_lake import OwnActuals
from beacon_drift_profiling.profiling.profile import TextColumn

pytestmark = pytest.mark.lake
MIXED = ROOT / "tests" / "products" / "mixed" / "product.yaml"
JSON = ("features", "from_store", "imputed", "out_of_range")


def rows_in(world: World) -> list[PredictionRow]:
    query = select(*[predictions.c[name] for name in PredictionRow._fields])
    with world.engine.connect() as connection:
        found = [PredictionRow(*row) for row in connection.execute(query)]
    return [
        row._replace(
            time=row.time.replace(tzinfo=None).isoformat(" ", "microseconds"),
            **{
                name: None if getattr(row, name) is None else msgspec.json.encode(getattr(row, name)).decode()
                for name in JSON
            },
        )
        for row in found
    ]


def by_id(read: PartitionRows) -> tuple[list[str], list[int]]:
    order = sorted(range(len(read.ids)), key=lambda at: read.ids[at])
    return [read.ids[at] for at in order], order


@pytest.mark.parametrize("by_rows", [False, True], ids=["by columns", "row by row"])
def test_the_lake_gives_what_the_database_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_rows: bool
) -> None:
    world = World(tmp_path / "home", load_product(MIXED))
    world.release()
    drawn = world.draw(120)
    drawn[::4, 1] = np.nan
    names = world.log_rows(drawn[:100], out_of_range=["pieces"], client="shop") + world.log_rows(drawn[100:], minutes=7)
    world.report_actuals(names[::3], np.arange(len(names[::3])), hour=0.5)
    if by_rows:
        monkeypatch.setattr(log_lake, "_read", lambda *_: None)
    with world.engine.connect() as connection:
        (told,) = read_partition(connection, Partition(EPOCH, "1"), world.product, world.product.features)
    received = EPOCH + timedelta(minutes=30)
    own = OwnActuals({name: (float(at), received) for at, name in enumerate(names[::3])})
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, rows_in(world))
        with lake.begin(found) as handle:
            rows = LogSlice(since=EPOCH, until=EPOCH + HOUR, model_version="1")
            (read,) = read_lake(handle, rows, own, world.product, world.product.features)
    ids, order = by_id(read)
    assert (ids, read.set_aside) == (list(told.ids), ())
    assert [read.clients[at] for at in order] == list(told.clients)
    for name in told.rows.__struct_fields__:
        np.testing.assert_array_equal(getattr(read.rows, name)[order], getattr(told.rows, name), name)
    for name, column in told.columns.items():
        twin = read.columns[name]
        values, others = (each.codes if isinstance(each, TextColumn) else each for each in (column, twin))
        np.testing.assert_array_equal(others[order], values, name)
