"""What is known of one column of a table that nobody has described, and of the form of its cells."""

from typing import Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from beacon_core.sources.marks import NUMBER_MARKS, TEXT_MARKS
from beacon_core.sources.spelling import PLAIN, Spelling

Matrix = NDArray[np.float64]
Kind = Literal["float", "int", "bool", "category", "many", "date", "timestamp", "empty", "unreadable"]


class Form(NamedTuple):
    """How cells are written: numbers and their sign, the zone of times without one, marks, a pattern of dates.

    `missing` are the only marks, where the source says any; None for the usual ones.
    """

    spelling: Spelling = PLAIN
    zone: str = "UTC"
    missing: tuple[str, ...] | None = None
    pattern: str | None = None
    sign: str | None = None

    @property
    def number_marks(self) -> pa.Array:
        """What stands for a missing number or time."""
        return pa.array(NUMBER_MARKS if self.missing is None else self.missing, pa.string())

    @property
    def text_marks(self) -> pa.Array:
        """What stands for a missing text."""
        return pa.array(TEXT_MARKS if self.missing is None else self.missing, pa.string())


class TableColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its type and what tells it.

    `values` are numbers of the sampled rows, NaN where one is missing: the number itself, 1 for true, a level's
    position in `levels` (by first appearance), days or seconds since 1970. `low`, `high` and `distinct` are of all
    rows. `common` is the most frequent level. `marks` are unusual marks of a missing value, `usual` the others of a
    column of numbers, `sign` is what each of its numbers is written with. `notes` are what a person should check,
    `problem` is why it cannot be read.
    """

    name: str
    kind: Kind
    values: Matrix
    rows: int
    missing: int = 0
    distinct: int = 0
    low: float = 0.0
    high: float = 0.0
    levels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    common: str = ""
    marks: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    sign: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether its values are measurements."""
        return self.kind in {"float", "int"}

    @property
    def is_time(self) -> bool:
        """Whether its values are dates or timestamps."""
        return self.kind in {"date", "timestamp"}

    @property
    def is_unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.distinct == self.rows

    @property
    def missing_share(self) -> float:
        """The share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0
