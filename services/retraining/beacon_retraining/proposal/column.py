"""One column of a table that nobody has described: its type, found from all of its cells."""

import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from beacon_core.domain.data_errors import SHOWN_CHARACTERS, DataError, shown_value
from beacon_core.domain.integers import EXACT_BELOW
from beacon_core.domain.text import normal_text
from beacon_core.domain.value_rules import MOST_CHARACTERS
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.date_styles import Moment, reader_of, styles_of
from beacon_core.sources.signs import sign_of, without_sign
from beacon_core.sources.spelling import PLAIN, Spelling, number_pattern
from beacon_core.sources.time_column import TimeColumn
from beacon_core.sources.value_column import CONVERTERS
from beacon_retraining.proposal.table_column import Form, Kind, Matrix, TableColumn

FLAG_PAIRS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
MOST_LEVELS = 50
"""A category of more levels is one of `many`."""
MOST_TRIED = 50
"""Texts that are tried as dates before a column is read as such."""
MOST_UNUSUAL = 3
"""So many texts among numbers may be marks of a missing value; of more, the column is text."""
NUMBER_SHARE = 0.8
SIGNED = r"^[+-]?[$€£¥₹]\s?[+-]?\d[\d.,'\s]*$|^[+-]?\d[\d.,'\s]*[%€$£¥°a-zA-Zµ²³/]{1,5}$"
"""A number with a currency or a unit."""
FAR = 3.0
"""Times the spread of all other values: a repeated end that lies further off may be a mark of a missing value."""
MARK_SHARE, FEWEST_MARKS = 0.005, 3
CONTROL = r"[\x00-\x1f\x7f]"
DATE_DIGITS = r"^(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$"
SEASON = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
DATE_NAME = re.compile(r"date|day|time|datum|tag", re.IGNORECASE)


def describe(name: str, cells: pa.ChunkedArray, sample: NDArray[np.int64], form: Form) -> TableColumn:
    """Describe a column; `sample` are the numbers of the rows whose values are kept."""
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    cells = pa.concat_arrays(cells.chunks) if isinstance(cells, pa.ChunkedArray) else cells
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    kind = cells.type
    if pa.types.is_null(kind):
        return _empty(name, len(cells), len(sample))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_duration(kind):
        return TableColumn(
            name=name, kind="unreadable", values=_nothing(sample), rows=len(cells), problem=f"is of the type {kind}"
        )
    if pa.types.is_boolean(kind):
        values = _floats(cells.cast(pa.float64()))
        return _numeric(name, values, sample, is_flag=True)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numeric(name, _floats(cells.cast(pa.float64(), safe=False)), sample, fractions=False)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _times(name, cells, sample, form)
    if not pa.types.is_string(kind):
        cells = cells.cast(pa.string())
    return _text(name, _normal(cells), sample, form)


def _normal(cells: pa.Array) -> pa.Array:
    cells = pc.utf8_trim_whitespace(cells)
    if pc.all(pc.string_is_ascii(cells)).as_py() is False:
        encoded = cells.dictionary_encode()
        texts = [normal_text(text) for text in encoded.dictionary.to_pylist()]
        cells = pa.array(texts, pa.string()).take(encoded.indices)
    return cells


def _text(name: str, cells: pa.Array, sample: NDArray[np.int64], form: Form) -> TableColumn:
    encoded = cells.dictionary_encode()
    texts = encoded.dictionary
    places = np.asarray(encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False), dtype=np.int64)
    counts = np.bincount(places, minlength=len(texts) + 1)[: len(texts)]
    is_mark = _flags(pc.is_in(texts, value_set=form.number_marks))
    if bool(is_mark.all()):
        return _empty(name, len(cells), len(sample))
    if form.pattern is not None:
        as_date = _text_times(name, texts, np.flatnonzero(~is_mark), places, sample, form)
        return as_date or _unreadable(name, len(cells), sample, f"no date in the form {form.pattern}")
    if as_date := _digits_date(name, texts, is_mark, places, sample, form):
        return as_date
    spelling = form.spelling
    sign = _sign(texts.filter(pa.array(~is_mark)), form)
    bare = without_sign(texts, sign) if sign else texts
    is_number = _flags(pc.match_substring_regex(bare, number_pattern(spelling))) & ~is_mark
    unusual = ~is_number & ~is_mark
    share = counts[is_number].sum() / max(counts[~is_mark].sum(), 1)
    padded = _flags(pc.match_substring_regex(texts, r"^0\d+$"))
    if is_number.any() and share >= NUMBER_SHARE and unusual.sum() <= MOST_UNUSUAL and not padded.any():
        numbers = _numbers(bare, is_number, spelling)
        values = np.append(numbers, np.nan)[places]
        pointed = bool(_flags(pc.match_substring(bare.filter(pa.array(is_number)), spelling.decimal)).all())
        column = _numeric(name, values, sample, fractions=pointed and not is_mark.any())
        if (
            max(abs(column.low), abs(column.high)) >= EXACT_BELOW
        ):  # floats hold no such number apart from its neighbours
            column = msgspec.structs.replace(column, distinct=int(is_number.sum()))
        used = tuple(texts.filter(pa.array(is_mark & (counts > 0))).to_pylist())
        notes = (*column.notes, f"{shown_value(sign)} at each number is left out (source.format.signs)")
        column = msgspec.structs.replace(column, usual=used, sign=sign, notes=notes if sign else column.notes)
        marks = tuple(texts.filter(pa.array(unusual)).to_pylist())
        rows = int(counts[unusual].sum())
        note = f"{', '.join(map(shown_value, marks))} in {rows} rows is read as missing (source.format.missing)"
        return msgspec.structs.replace(column, marks=marks, notes=(*column.notes, note)) if marks else column
    return _words(name, texts, places, counts, sample, form, padded=bool(padded.any()))


def _sign(texts: pa.Array, form: Form) -> str:
    """The sign that the numbers are written with; none where some are written without it."""
    if form.sign is not None:
        return form.sign
    words = texts.to_pylist()
    sign = sign_of(words, NUMBER_SHARE)
    plain = re.compile(number_pattern(form.spelling))
    return "" if sign and any(map(plain.match, words)) else sign


def _words(
    name: str,
    texts: pa.Array,
    places: NDArray[np.int64],
    counts: NDArray[np.int64],
    sample: NDArray[np.int64],
    form: Form,
    *,
    padded: bool,
) -> TableColumn:
    """A column of text that is no number: flags, dates, or levels."""
    is_mark = _flags(pc.is_in(texts, value_set=form.text_marks))
    known = np.flatnonzero(~is_mark)
    words = texts.take(pa.array(known)).to_pylist() if len(known) <= 10 * MOST_LEVELS else []
    rows = len(places)
    missing = rows - int(counts[known].sum())
    if {word.lower() for word in words} in FLAG_PAIRS:
        truths = np.full(len(texts) + 1, np.nan)
        for place, word in zip(known, words, strict=True):
            truths[place] = float(word.lower() in {"true", "yes", "y", "t"})
        column = _numeric(name, truths[places], sample, is_flag=True)
        return msgspec.structs.replace(column, notes=(f"spelt {' and '.join(sorted(words))}",))
    if as_date := _text_times(name, texts, known, places, sample, form):
        return as_date
    if problem := _text_problem(texts.take(pa.array(known))):
        return TableColumn(
            name=name, kind="unreadable", values=_nothing(sample), rows=rows, missing=missing, problem=problem
        )
    codes = np.full(len(texts) + 1, np.nan)
    codes[known] = np.arange(len(known))
    distinct = len(known)
    is_listed = distinct <= MOST_LEVELS and (distinct <= 20 or 10 * distinct <= rows)
    notes = ["codes with leading zeros, so text and not numbers"] if padded else []
    used = [texts[int(place)].as_py() for place in np.flatnonzero(is_mark & (counts > 0)) if texts[int(place)].as_py()]
    signed = float(counts[known][_flags(pc.match_substring_regex(texts.take(pa.array(known)), SIGNED))].sum())
    if signed >= NUMBER_SHARE * counts[known].sum():
        example = shown_value(texts[int(known[0])].as_py())
        notes.append(
            f"numbers with a sign or a unit, such as {example}, so text: write plain numbers to have them measured"
        )
    notes += (
        [f"{', '.join(map(shown_value, used))} is read as missing; list it as a level if it is one"] if used else []
    )
    kind: Kind = "category" if is_listed else "many"
    if is_listed and len({word.casefold() for word in words}) < len(words):
        kind = "many"
        notes.append("some levels differ in upper and lower case only: make them one in the table, then list them")
    return TableColumn(
        name=name,
        kind=kind,
        values=codes[places][sample],
        rows=rows,
        missing=missing,
        distinct=distinct,
        low=0.0,
        high=float(max(distinct - 1, 0)),
        levels=tuple(words) if is_listed else (),
        counts=tuple(counts[known].tolist()) if is_listed else (),
        common=texts[int(known[counts[known].argmax()])].as_py(),
        notes=tuple(notes),
    )


def _text_problem(texts: pa.Array) -> str:
    """Why texts cannot be levels; empty where they can."""
    if pc.max(pc.utf8_length(texts)).as_py() > MOST_CHARACTERS:
        return f"free text: some cells have more than {MOST_CHARACTERS} characters"
    if pc.any(pc.match_substring_regex(texts, CONTROL)).as_py():
        return "free text: some cells have several lines or tabs"
    others = texts.filter(pc.invert(pc.string_is_ascii(texts))).to_pylist()
    odd = next((text for text in others if not text.isprintable()), None)
    return (
        "" if odd is None else f"some cells have characters that nobody sees, such as {ascii(odd)[:SHOWN_CHARACTERS]}"
    )


def _numeric(
    name: str, values: Matrix, sample: NDArray[np.int64], *, is_flag: bool = False, fractions: bool = False
) -> TableColumn:
    """Numbers; `fractions` says that all are spelt with a decimal mark, so whole ones are whole by chance."""
    values = np.where(np.isfinite(values), values, np.nan)
    known = values[~np.isnan(values)]
    if not len(known):
        return _empty(name, len(values), len(sample))
    distinct = np.unique(known)
    kind: Kind = "int" if bool((distinct == np.floor(distinct)).all()) and not fractions else "float"
    notes: tuple[str, ...] = ()
    if is_flag or (len(distinct) == 2 and kind == "int" and set(distinct.tolist()) == {0.0, 1.0}):
        kind = "bool"
        notes = () if is_flag else ("0 and 1 only: say int if it counts something",)
    elif odd := _far_end(known, distinct):
        notes = (odd,)
    return TableColumn(
        name=name,
        kind=kind,
        values=values[sample],
        rows=len(values),
        missing=len(values) - len(known),
        distinct=len(distinct),
        low=float(distinct[0]),
        high=float(distinct[-1]),
        notes=notes,
    )


def _far_end(known: Matrix, distinct: Matrix) -> str:
    """A word on an end that many rows have and that lies far from all other values, such as -999."""
    if len(distinct) < 3:
        return ""
    for end, next_, other in ((distinct[0], distinct[1], distinct[-1]), (distinct[-1], distinct[-2], distinct[0])):
        share = float(np.mean(known == end))
        is_far = abs(end - next_) > FAR * abs(next_ - other) or end < 0 <= next_
        if share >= MARK_SHARE and is_far and known.size * share >= FEWEST_MARKS:
            why = "the only number below 0" if end < 0 <= next_ else "far from all others"
            return f"{end:.15g} in {share:.1%} of the rows, {why}: a mark of a missing value (source.format.missing)?"
    return ""


def _digits_date(
    name: str,
    texts: pa.Array,
    is_mark: NDArray[np.bool_],
    places: NDArray[np.int64],
    sample: NDArray[np.int64],
    form: Form,
) -> TableColumn | None:
    """Dates such as 20260131, where the column's name says so too."""
    known = np.flatnonzero(~is_mark)
    if not DATE_NAME.search(name) or not _flags(pc.match_substring_regex(texts, DATE_DIGITS))[known].all():
        return None
    return _text_times(name, texts, known, places, sample, form)


def _text_times(
    name: str,
    texts: pa.Array,
    known: NDArray[np.int64],
    places: NDArray[np.int64],
    sample: NDArray[np.int64],
    form: Form,
) -> TableColumn | None:
    """Dates or timestamps as text; None where the texts are none, a column with a `problem` where they disagree."""
    tried = known[np.linspace(0, len(known) - 1, min(len(known), MOST_TRIED)).astype(np.int64)]
    readings = [_readings(texts[int(place)].as_py(), form.pattern) for place in tried]
    if not readings or not all(readings) or (form.pattern is None and _are_seasons(texts, known)):
        return None
    sampled = texts.take(pa.array(places[sample], mask=places[sample] >= len(texts)))
    usable = pc.if_else(pc.is_in(sampled, value_set=form.number_marks), pa.scalar(None, pa.string()), sampled)
    is_timed = any(moment.has_time for reading in readings for moment in reading)
    column = _times(name, usable, np.arange(len(sample)), form, is_timed=is_timed)
    is_known = np.isin(places, known)
    return msgspec.structs.replace(column, rows=len(places), missing=int((~is_known).sum()), distinct=len(known))


def _readings(text: str, pattern: str | None) -> list[Moment]:
    """What a text may mean as a time."""
    if pattern is None:
        return list(styles_of(text, UTC).values())
    try:
        return [reader_of(pattern, UTC)(text)]
    except (ValueError, OverflowError, OSError):
        return []


def _are_seasons(texts: pa.Array, known: NDArray[np.int64]) -> bool:
    """Whether texts such as 2009-10 are years that overlap, and not months: each ends with the year after its first."""
    return all(
        (match := SEASON.fullmatch(texts[int(place)].as_py())) and (int(match[1]) + 1) % 100 == int(match[2])
        for place in known
    )


def _times(
    name: str, cells: pa.Array, sample: NDArray[np.int64], form: Form, *, is_timed: bool | None = None
) -> TableColumn:
    """Dates or timestamps of Arrow's or text, in days or seconds."""
    problem = ""
    for kind in ("date", "timestamp"):
        if kind == "date" and is_timed:
            continue
        reader = TimeColumn(name, ColumnType(kind, zone=form.zone), form.pattern)
        try:
            reader.add(cells)
            found = reader.finish("", "").combine_chunks()
        except DataError as error:
            problem = error.rule
            continue
        found = pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found
        whole = found.cast(pa.int32() if kind == "date" else pa.int64())
        values = _floats(whole.cast(pa.float64(), safe=False)) / (1.0 if kind == "date" else 1e6)
        known = values[~np.isnan(values)]
        if not len(known):
            return _empty(name, len(cells), len(sample))
        return TableColumn(
            name=name,
            kind=kind,
            values=values[sample],
            rows=len(cells),
            missing=len(values) - len(known),
            distinct=len(np.unique(known)),
            low=float(known.min()),
            high=float(known.max()),
        )
    return TableColumn(name=name, kind="unreadable", values=_nothing(sample), rows=len(cells), problem=problem)


def _numbers(texts: pa.Array, chosen: NDArray[np.bool_], spelling: Spelling) -> Matrix:
    """The number of each distinct text, NaN for those that are not chosen."""
    only = pc.if_else(pa.array(chosen), texts, pa.scalar(None, pa.string()))
    values, _wrong = CONVERTERS["float"](only, spelling or PLAIN)
    return _floats(values)


def _floats(values: Any) -> Matrix:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _flags(values: Any) -> NDArray[np.bool_]:
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _nothing(sample: Sequence[int] | NDArray[np.int64]) -> Matrix:
    return np.full(len(sample), np.nan)


def _unreadable(name: str, rows: int, sample: NDArray[np.int64], problem: str) -> TableColumn:
    return TableColumn(name=name, kind="unreadable", values=_nothing(sample), rows=rows, problem=problem)


def _empty(name: str, rows: int, sampled: int) -> TableColumn:
    return TableColumn(name=name, kind="empty", values=np.full(sampled, np.nan), rows=rows, missing=rows)
