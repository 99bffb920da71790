"""The types of a Parquet file become those of the product, or are refused with the column, the rule and the value."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.source_products import product_of

from beacon_core.domain.data_errors import DataError
from beacon_core.sources.table import read_table

TABLE = pa.table(
    {
        "id": [1, 2],
        "seen": [datetime(2024, 1, 31, 12, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)],
        "amount": [0.1, 2.5],
        "name": ["Ann", "Bo"],
        "new": [True, False],
        "day": [date(2024, 1, 31), date(2024, 2, 1)],
        "price": [-1.5, 1e9],
    }
)
TYPES = {
    "a float that is whole is an int": ({"id": [1.0, 2.0]}, "id", [1, 2]),
    "floats of 32 bits": ({"amount": pa.array([0.5, None], pa.float32())}, "amount", [0.5, None]),
    "NaN is missing": ({"amount": [float("nan"), 1.0]}, "amount", [None, 1.0]),
    "decimals": ({"amount": pa.array(["0.1", "2"]).cast(pa.decimal128(38, 18))}, "amount", [0.1, 2.0]),
    "numbers as text": ({"amount": ["0.1", "2"]}, "amount", [0.1, 2.0]),
    "flags as numbers": ({"new": [1, 0]}, "new", [True, False]),
    "a number as a category": ({"name": [1.0, 20.0]}, "name", ["1", "20"]),
    "days as times": ({"day": pa.array([0, 86400], pa.timestamp("s"))}, "day", [date(1970, 1, 1), date(1970, 1, 2)]),
    "times without a zone": (
        {"seen": pa.array([0, 1], pa.timestamp("ns"))},
        "seen",
        [datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)],
    ),
    "an empty column": ({"name": pa.nulls(2)}, "name", [None, None]),
}
TYPE_FAULTS = {
    "a fraction": ({"id": [1.5, 2.0]}, "id: must be a whole number .* has 1.5 in row 1"),
    "a float that is no exact id": ({"id": [2.0**53, 2.0]}, "id: must be a whole number"),
    "a flag as a number": ({"amount": [True, False]}, "amount: must be a finite number .* has True in row 1"),
    "infinity": ({"amount": [1.0, float("inf")]}, "amount: must be a finite number .* has inf in row 2"),
    "a list": ({"name": [["a"], []]}, "name: is of the type list<.*>; a cell must hold one value"),
    "a time of day": ({"day": pa.array([0, 1], pa.timestamp("s"))}, "day: must be a date .* has a time of day"),
    "a number as a time": ({"seen": [1, 2]}, "seen: must be a time .* is of the type int64"),
}


def two_rows(columns: dict[str, Any]) -> pa.Table:
    table = TABLE
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, values if isinstance(values, pa.Array) else pa.array(values))
    return table


@pytest.mark.parametrize(("columns", "name", "wanted"), TYPES.values(), ids=TYPES)
def test_parquets_types_become_the_products(columns: Any, name: str, wanted: list[Any], tmp_path: Path) -> None:
    pq.write_table(two_rows(columns), tmp_path / "items.parquet")
    assert read_table(product_of(tmp_path, {"file": "items.parquet"}))[name].to_pylist() == wanted


@pytest.mark.parametrize(("columns", "rule"), TYPE_FAULTS.values(), ids=TYPE_FAULTS)
def test_another_type_of_parquet_is_refused(columns: Any, rule: str, tmp_path: Path) -> None:
    pq.write_table(two_rows(columns), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=rule):
        read_table(product_of(tmp_path, {"file": "items.parquet"}))
