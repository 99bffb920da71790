"""The types that columns are read as."""

from typing import Literal, NamedTuple

import pyarrow as pa

ReadType = Literal["float", "int", "bool", "text", "date", "timestamp"]
ARROW: dict[ReadType, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""What `read_typed` gives for each."""


class ColumnType(NamedTuple):
    """How a column is read: `levels` are texts that are never marks of a missing value.

    Times without a zone are in `zone`, a name of the IANA database.
    """

    type: ReadType
    levels: tuple[str, ...] = ()
    zone: str = "UTC"
