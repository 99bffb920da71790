"""A typed table of the product as a DataFrame, as the rest of retraining uses it.

| column | dtype |
| --- | --- |
| key, int64 or text | int64 or str, never missing |
| float, int, category of numbers, target, weight | float64, NaN where missing |
| bool | boolean, NA where missing |
| category of text, group | str, missing as pandas has it |
| date, timestamp | datetime64[us] or datetime64[us, UTC], NaT where missing |
"""

from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import SHOWN, DataError, examples
from beacon_core.domain.product import Product


def frame_of(table: pa.Table, product: Product, name: str) -> pd.DataFrame:
    """The table's rows, in its order; `name` is what errors call it. Raises `DataError` for a missing key or time."""
    keys = set(product.keys)
    for column in (*product.keys, product.time.event):
        if column is not None and column in table.column_names:
            _check_present(table[column], name, column)
    return pd.DataFrame(dict(_columns(table, keys)))


def _columns(table: pa.Table, keys: set[str]) -> Iterator[tuple[str, object]]:
    for name in table.column_names:
        column, kind = table[name], table[name].type
        if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and name not in keys):
            yield name, column.cast(pa.float64(), safe=False).to_numpy()
        elif pa.types.is_boolean(kind):
            yield name, column.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
        elif pa.types.is_date(kind):
            yield name, column.cast(pa.timestamp("us")).to_pandas()
        else:
            yield name, column.to_pandas()


def _check_present(column: pa.ChunkedArray, file: str, name: str) -> None:
    if column.null_count:
        rows = pc.indices_nonzero(pc.is_null(column))
        shown = examples(((row + 1, None) for row in rows[:SHOWN].to_pylist()), len(rows))
        raise DataError(file, name, f"must not be missing, has {shown}")
