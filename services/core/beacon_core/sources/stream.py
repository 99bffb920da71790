"""What every reader gives: the names of the columns, the dialect, and the rows block by block."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from beacon_core.sources.dialect import Dialect


class Stream(NamedTuple):
    """A table that is being read: `blocks` are its rows, as columns in the order of the dialect's names.

    A column is text or has an Arrow type. `name` is what messages call the table.
    """

    name: str
    dialect: Dialect
    blocks: Iterator[list[pa.Array]]
