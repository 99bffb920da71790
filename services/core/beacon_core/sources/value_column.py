"""A column of numbers, flags or text, as it is read block by block; numbers are exact to the last digit.

Text becomes the nearest double, or the whole number itself, never by way of a float. pyarrow converts what is spelt
plainly, all at once; the rest is read text by text, each distinct one once.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import SHOWN, DataError, examples, shown_value
from beacon_core.domain.integers import EXACT_BELOW, INT64
from beacon_core.domain.numbers import NUMBER_RULE, WHOLE_RULE, NumberError, read_number
from beacon_core.domain.text import normal_text
from beacon_core.sources.column_types import ARROW, ColumnType
from beacon_core.sources.signs import SIGNED, UNREAD, without_sign
from beacon_core.sources.spelling import LOOKS, Spelling, number_pattern

FLAGS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
FLAGS |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}
RULES = {
    "float": NUMBER_RULE,
    "int": WHOLE_RULE,
    "bool": "true or false (or yes and no, t and f, 1 and 0)",
    "text": "text",
}
NUMBERS = frozenset({"float", "int"})
MOST_DIGITS = 25


class ValueColumn:
    """One column: its values so far, and the first of the cells that break its rule.

    `sign` is what each number is written with; empty: none.
    """

    def __init__(self, name: str, kind: ColumnType, spelling: Spelling, sign: str = "") -> None:
        self._name = name
        self._type = kind.type
        self._spelling = spelling
        self._sign = sign if kind.type in NUMBERS else ""
        self._chunks: list[pa.Array] = []
        self._rows = 0
        self._wrong: list[tuple[int, Any]] = []
        self._count = 0

    def add(self, cells: pa.Array) -> None:
        """Convert the next cells: text without blanks around it, or a type of Arrow; null where one is missing."""
        is_signed = self._sign and pa.types.is_string(cells.type)
        bare = without_sign(cells, self._sign) if is_signed else cells
        values, wrong = CONVERTERS[self._type](bare, self._spelling)
        if wrong is not None and len(rows := pc.indices_nonzero(wrong)):
            self._count += len(rows)
            for row in rows[: SHOWN - len(self._wrong)].to_pylist():
                self._wrong.append((self._rows + row + 1, cells[row].as_py()))
        self._chunks.append(values)
        self._rows += len(cells)

    def finish(self, file: str, marks: str) -> pa.ChunkedArray:
        """The cells that were added since the last call.

        Raises `DataError` where one breaks the rule, which names the `marks` of a missing value.
        """
        if self._count:
            signed = f" with the sign {shown_value(self._sign)} (format.signs)" if self._sign else ""
            rule = f"must be {RULES[self._type]}{signed}{marks}, has {examples(self._wrong, self._count)}"
            raise DataError(file, self._name, rule + self._hint())
        chunks, self._chunks = self._chunks, []
        return pa.chunked_array(chunks, ARROW[self._type])

    def _hint(self) -> str:
        """Text that is a number in another spelling, or with a sign."""
        cell = str(self._wrong[0][1])
        signed = SIGNED.fullmatch(cell) if self._type in NUMBERS and not self._sign else None
        sign = (signed["before"] or signed["behind"]) if signed else ""
        if sign and not sign.isalpha():  # `21x` is a slip
            return f"; a sign that each number has can be said, as format.signs: {{{self._name}: {sign!r}}}"
        is_other = self._type in NUMBERS and not cell.isdecimal() and LOOKS.fullmatch(cell)
        marks = any(mark in cell for mark in ", '_\u00a0\u202f\u2019") or cell.count(".") > 1
        return "; other marks can be said, as format.decimal and format.thousands" if is_other and marks else ""


Converted = tuple[pa.Array, pa.Array | None]
"""The values, and which cells are wrong (null or false: none)."""


def _floats(cells: pa.Array, spelling: Spelling) -> Converted:
    kind = cells.type
    if pa.types.is_string(kind):
        return _numbers(cells, spelling, pa.float64(), read_number)
    if pa.types.is_floating(kind):
        values = cells.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        return values, pc.is_inf(values)
    if pa.types.is_integer(kind):
        return cells.cast(pa.float64(), safe=False), None
    return _all_wrong(cells, pa.float64())


def _whole(cells: pa.Array, spelling: Spelling) -> Converted:
    kind = cells.type
    if pa.types.is_string(kind):
        return _numbers(cells, spelling, pa.int64(), _read_whole)
    if pa.types.is_uint64(kind):
        return _numbers(cells.cast(pa.string()), Spelling(), pa.int64(), _read_whole)
    if pa.types.is_integer(kind):
        return cells.cast(pa.int64()), None
    if pa.types.is_floating(kind):
        values = cells.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        good = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), float(EXACT_BELOW)))
        return pc.if_else(good, values, pa.scalar(None, pa.float64())).cast(pa.int64()), pc.invert(good)
    return _all_wrong(cells, pa.int64())


def _flags(cells: pa.Array, _spelling: Spelling) -> Converted:
    kind = cells.type
    if pa.types.is_boolean(kind):
        return cells, None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        cells = _text_of(cells)
    if pa.types.is_string(cells.type):
        place = pc.index_in(pc.utf8_lower(cells), value_set=pa.array(FLAGS))
        values = pa.array(FLAGS.values()).take(place)
        return values, pc.and_(pc.is_null(values), pc.is_valid(cells))
    return _all_wrong(cells, pa.bool_())


def _texts(cells: pa.Array, _spelling: Spelling) -> Converted:
    if not pa.types.is_string(cells.type):
        cells = _text_of(cells)
    if pc.all(pc.string_is_ascii(cells)).as_py() is False:
        cells = _by_text(cells, pa.string(), normal_text)[0]
    return cells, pc.equal(cells, "")


CONVERTERS: dict[str, Callable[[pa.Array, Spelling], Converted]] = {
    "float": _floats,
    "int": _whole,
    "bool": _flags,
    "text": _texts,
}


def _numbers(cells: pa.Array, spelling: Spelling, kind: pa.DataType, read: Callable[[str], Any]) -> Converted:
    if not spelling.is_plain:
        cells = _plainly(cells, spelling)
    plain = _without_zeros(cells) if pa.types.is_integer(kind) else cells
    try:
        values = plain.cast(kind)
    except pa.ArrowInvalid:
        return _by_text(cells, kind, read)
    # Arrow also reads `inf`, and hexadecimal digits.
    if pa.types.is_floating(kind):
        is_fine = pc.all(pc.is_finite(values)).as_py()
    else:
        is_fine = not pc.any(pc.match_substring(plain, "x", ignore_case=True)).as_py()
    return (values, None) if is_fine is not False else _by_text(cells, kind, read)


def _without_zeros(cells: pa.Array) -> pa.Array:
    """`17.0`, as pandas writes whole numbers beside gaps, as `17`."""
    if not pc.any(pc.match_substring(cells, ".")).as_py():
        return cells
    return pc.replace_substring_regex(cells, r"^([+-]?[0-9]+)\.0*$", r"\1")


def _plainly(cells: pa.Array, spelling: Spelling) -> pa.Array:
    """Numbers of another spelling as Python spells them; another text becomes one that is no number."""
    is_number = pc.match_substring_regex(cells, number_pattern(spelling))
    plain = pc.replace_substring(cells, spelling.thousands, "") if spelling.thousands else cells
    plain = pc.replace_substring(plain, spelling.decimal, ".")
    return pc.if_else(is_number, plain, pc.if_else(pc.is_valid(cells), UNREAD, None))


def _by_text(cells: pa.Array, kind: pa.DataType, read: Callable[[str], Any]) -> Converted:
    """Each distinct text by itself."""
    encoded = cells.dictionary_encode()
    values: list[Any] = []
    wrong: list[bool] = []
    for text in encoded.dictionary.to_pylist():
        try:
            values.append(read(text))
            wrong.append(False)
        except ValueError:
            values.append(None)
            wrong.append(True)
    return pa.array(values, kind).take(encoded.indices), pa.array(wrong, pa.bool_()).take(encoded.indices)


def _read_whole(text: str) -> int:
    """The whole number in `text`, exact; raises `NumberError`."""
    value = read_number(text)
    if text.lstrip("+-").isdecimal():
        whole = int(text)
    else:
        if not value.is_integer() or math.fabs(value) >= 10.0**MOST_DIGITS:
            raise NumberError(text)
        exact = Decimal(text)
        if exact != exact.to_integral_value():
            raise NumberError(text)
        whole = int(exact)
    if whole not in INT64:
        raise NumberError(text)
    return whole


def _text_of(cells: pa.Array) -> pa.Array:
    """A type of Arrow as text: whole floats as whole numbers."""
    kind = cells.type
    if pa.types.is_floating(kind):
        return pa.array([_float_text(value) for value in cells.to_pylist()], pa.string())
    return cells.cast(pa.string())


def _float_text(value: float | None) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    return str(int(value)) if value.is_integer() and abs(value) < EXACT_BELOW else repr(value)


def _all_wrong(cells: pa.Array, kind: pa.DataType) -> Converted:
    return pa.nulls(len(cells), kind), pc.is_valid(cells)
