"""Joining: columns of a later source beside the rows of the first one, by the columns that both have."""

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import DataError

ROW, OTHER = "left row", "right row"


def join_left(table: pa.Table, other: pa.Table, keys: tuple[str, ...], name: str) -> pa.Table:
    """Every row of `table`, in its order, with the columns of the row of `other` that has the same keys, else null.

    Raises `DataError` for a key that `other`, the table called `name`, has twice. A missing key matches nothing.
    """
    right = other.select(keys).append_column(OTHER, pa.array(range(len(other)), pa.int64()))
    for key in keys:
        right = right.filter(pc.is_valid(right[key]))
    _check_repeats(right, keys, name)
    left = table.select(keys).append_column(ROW, pa.array(range(len(table)), pa.int64()))
    places = left.join(right, list(keys), join_type="left outer").sort_by(ROW)[OTHER]
    added = other.drop_columns(list(keys)).take(places)
    for column in added.column_names:
        table = table.append_column(column, added[column])
    return table


def _check_repeats(right: pa.Table, keys: tuple[str, ...], name: str) -> None:
    counted = right.group_by(list(keys)).aggregate([(OTHER, "count"), (OTHER, "max")])
    twice = counted.filter(pc.greater(counted[f"{OTHER}_count"], 1)).sort_by(f"{OTHER}_max")
    if len(twice):
        first = twice.slice(0, 1).to_pylist()[0]
        shown = ", ".join(f"{key} {first[key]}" for key in keys)
        rule = f"is there more than once ({shown}, again in row {first[f'{OTHER}_max'] + 1})"
        raise DataError(name, ", ".join(keys), f"{rule}; to be joined, a key must be unique")
