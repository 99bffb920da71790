"""Rows of the product's table as clients have them: by column, with JSON's types."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from beacon_core.domain.integers import whole_or_same
from beacon_core.domain.product import Product
from beacon_core.sources.table import load_table, read_stored

Row = dict[str, Any]
STORED = Path("pipeline", "raw", "table.parquet")
"""Where retraining keeps the table in use, below the state folder."""


def read_rows(product: Product, *, rows: int | None = None, home: Path | None = None) -> list[Row]:
    """The first `rows` rows of the table, or all: keys, times, features and target; None where a value is missing.

    With `home`, the state folder, the table that retraining used is read if there is one. Raises as `load_table` does.
    """
    stored = None if home is None else home / STORED
    if stored is not None and stored.is_file():
        table = read_stored(stored, product)
        return json_rows(table if rows is None else table.slice(0, rows), product)
    return json_rows(load_table(product, rows=rows).table, product)


def json_rows(table: pa.Table, product: Product) -> list[Row]:
    """The table's rows: whole levels of a category as whole numbers, dates and timestamps as ISO 8601."""
    levels = {feature.name for feature in product.features if feature.has_number_levels}
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for name, values in columns.items():
        if name in levels:
            columns[name] = list(map(whole_or_same, values))
        elif pa.types.is_temporal(table[name].type):
            columns[name] = list(map(_iso, values))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _iso(value: date | datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
