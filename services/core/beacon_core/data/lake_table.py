"""The predictions of the log's lake as a table that other programs read, by the entry point `beacon.tables`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from beacon_core.data.lake_upkeep import open_lake
from beacon_core.data.prediction_log import LogSlice
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_core.sources.dialect import Dialect
from beacon_core.sources.stream import Stream

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import LakeHandle

NAME = "the log's lake"
BLOCK_ROWS = 1 << 16


@contextmanager
def open_table(
    settings: Settings, product: Product, since: datetime | None, until: datetime, id_column: str
) -> Iterator[tuple[Stream, int]]:
    """The features of the predictions made in [since, until), with their ids in `id_column`, and how many there are.

    They are in the order of their time. Raises `LakeUnavailableError`.
    """
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - not every environment has its libraries

    rows = LogSlice(since=since, until=until)
    with open_lake(settings, product) as found, lake.begin(found) as handle:
        names = tuple(feature.name for feature in product.features if feature.lag is None)
        dialect = Dialect(kind="parquet", names=(id_column, *names), index=(), missing=())
        yield Stream(NAME, dialect, _blocks(handle, product, rows)), lake.count(handle, rows)


def _blocks(handle: "LakeHandle", product: Product, rows: LogSlice) -> Iterator[list[pa.Array]]:
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    for table in lake.scan_tables(handle, rows, ["id", "features"], size=BLOCK_ROWS):
        yield [_text(table["id"]), *(_values(table, feature) for feature in product.features if feature.lag is None)]


def _values(table: pa.Table, feature: Feature) -> pa.Array:
    from beacon_core.data.prediction_log.lake.columns import column_of, kind_of  # noqa: PLC0415

    name = column_of(kind_of(feature), feature.name)
    if name not in table.column_names:  # of a product that has gained it since
        return pa.nulls(len(table), pa.string())
    column = table[name].combine_chunks()
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _text(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())
