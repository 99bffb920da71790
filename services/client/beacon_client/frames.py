"""Between data frames and the rows of JSON that the services speak."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

Row = Mapping[str, Any]


def rows_of(data: Any) -> list[dict[str, Any]]:
    """The rows of a pandas DataFrame, of a pyarrow.Table, or of dictionaries; what is missing has no key."""
    if hasattr(data, "to_pylist"):
        found: Iterable[Row] = data.to_pylist()
    elif hasattr(data, "to_dict") and hasattr(data, "columns"):
        found = data.to_dict("records")
    else:
        found = data
    return [{str(name): _plain(value) for name, value in row.items() if not _is_missing(value)} for row in found]


def frame(rows: Sequence[Row], index: Any = None) -> Any:
    """A pandas DataFrame."""
    import pandas as pd  # noqa: PLC0415 - an extra

    return pd.DataFrame.from_records(list(rows), index=index)


def table(rows: Sequence[Row], times: Sequence[str]) -> Any:
    """A pyarrow.Table, its columns `times` as times in UTC."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    moments = [{name: _moment(value) if name in times else value for name, value in row.items()} for row in rows]
    found = pa.Table.from_pylist(moments)
    for name in times:
        if name in found.column_names:
            column = found[name].cast(pa.timestamp("us", tz="UTC"))
            found = found.set_column(found.column_names.index(name), name, column)
    return found


def _moment(text: Any) -> Any:
    return None if text is None else datetime.fromisoformat(str(text))


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in {"NaTType", "NAType"}


def _plain(value: Any) -> Any:
    """A value as JSON has it: numpy's as Python's, times as text."""
    if hasattr(value, "isoformat") and isinstance(value, date):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
