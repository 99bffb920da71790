"""A column of dates or timestamps: its texts are read at the end, once all of them tell one style."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import SHOWN, DataError, examples, shown_value
from beacon_core.domain.source import UNIX
from beacon_core.domain.times import EXAMPLE
from beacon_core.sources.column_types import ARROW, ColumnType
from beacon_core.sources.date_styles import Moment, Reader, Style, reader_of, styles_of

RULES = {"date": "a date such as 2026-01-31", "timestamp": f"a time such as {EXAMPLE}"}


class TimeColumn:
    """Texts, or Arrow's own times, of one column; `finish` makes them dates or timestamps in UTC."""

    def __init__(self, name: str, kind: ColumnType, pattern: str | None) -> None:
        self._name = name
        self._kind = kind
        self._zone = ZoneInfo(kind.zone)
        self._pattern = pattern
        self._reader: Reader | None = reader_of(pattern, self._zone) if pattern else None
        self._chunks: list[pa.Array] = []
        self._before = self._rows = 0

    def add(self, cells: pa.Array) -> None:
        """Take the next cells: text, dates or timestamps; null where a value is missing."""
        self._chunks.append(cells)

    def finish(self, file: str, marks: str) -> pa.ChunkedArray:
        """The cells that were added since the last call; raises `DataError`."""
        wanted = ARROW[self._kind.type]
        chunks, self._chunks = self._chunks, []
        self._before, self._rows = self._rows, self._rows + sum(map(len, chunks))
        kinds = {chunk.type for chunk in chunks} or {pa.string()}
        if kinds == {pa.string()}:
            return self._read_texts(chunks, file, marks)
        return pa.chunked_array([self._convert(file, chunk) for chunk in chunks], wanted)

    def _read_texts(self, chunks: list[pa.Array], file: str, marks: str) -> pa.ChunkedArray:
        encoded = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        texts = encoded.dictionary.to_pylist()
        moments = self._moments(file, texts, encoded.indices)
        values = [None if moment is None else self._value(moment) for moment in moments]
        wrong = {place for place, value in enumerate(values) if value is None}
        if wrong:
            rows = pc.indices_nonzero(pc.is_in(encoded.indices, value_set=pa.array(sorted(wrong), pa.int32())))
            shown = [(self._before + row + 1, texts[encoded.indices[row].as_py()]) for row in rows[:SHOWN].to_pylist()]
            hint = self._hint([text for _, text in shown])
            rule = f"must be {RULES[self._kind.type]}{marks}, has {examples(shown, len(rows))}{hint}"
            raise DataError(file, self._name, rule)
        return pa.chunked_array([pa.array(values, ARROW[self._kind.type]).take(encoded.indices)])

    def _value(self, moment: Moment) -> date | datetime | None:
        if self._kind.type == "timestamp":
            return moment.time
        return None if moment.has_time else moment.day

    def _hint(self, texts: Sequence[str]) -> str:
        if self._reader is None and self._kind.type == "date":
            with_time = [text for text in texts if any(each.has_time for each in styles_of(text, self._zone).values())]
            return "; with a time of day its type is timestamp" if with_time else self._pattern_hint(texts)
        return self._pattern_hint(texts)

    def _pattern_hint(self, texts: Sequence[str]) -> str:
        if self._pattern is not None or not any(character.isdigit() for text in texts for character in text):
            return ""
        return f"; other formats can be said, as format.dates: {{{self._name}: '%d/%m/%y'}}"

    def _moments(self, file: str, texts: list[str], indices: pa.Array) -> list[Moment | None]:
        if self._reader is not None:
            return [_read(self._reader, text) for text in texts]
        return self._by_style(file, texts, indices)

    def _by_style(self, file: str, texts: list[str], indices: pa.Array) -> list[Moment | None]:
        """Each text by the one style that fits all; None for one that fits none."""
        readings = [styles_of(text, self._zone) for text in texts]
        forms: set[str] = set()
        zoned: bool | None = None
        first = ""
        for place, (text, reading) in enumerate(zip(texts, readings, strict=True)):
            if not reading:
                continue
            own = {style.form for style in reading}
            has_zone = next(iter(reading)).has_zone
            is_new = not forms
            if not is_new and (not forms & own or (has_zone is not None and zoned is not None and has_zone != zoned)):
                row = pc.index(indices, pa.scalar(place, indices.type)).as_py() + 1
                raise DataError(
                    file,
                    self._name,
                    f"changes its format in row {row}: {shown_value(text)}, before it {shown_value(first)}; "
                    "a column must have one format" + (", with or without a zone" if forms & own else ""),
                )
            forms = own if is_new else forms & own
            zoned = has_zone if zoned is None else zoned
            first = first or text
        return self._one_style(file, texts, readings, forms)

    def _one_style(
        self, file: str, texts: list[str], readings: list[dict[Style, Moment]], forms: set[str]
    ) -> list[Moment | None]:
        by_form = [{style.form: moment for style, moment in reading.items()} for reading in readings]
        for text, reading in zip(texts, by_form, strict=True):
            if len({moment for form, moment in reading.items() if form in forms}) > 1:
                raise DataError(
                    file,
                    self._name,
                    f"may begin with the day or with the month, as in {shown_value(text)}: say which in product.yaml, "
                    f"as format.dates: {{{self._name}: '%d/%m/%Y'}}",
                )
        form = min(forms, default="")
        return [reading.get(form) for reading in by_form]

    def _convert(self, file: str, chunk: pa.Array) -> pa.Array:
        """Arrow's own times."""
        wanted = ARROW[self._kind.type]
        kind = chunk.type
        if pa.types.is_integer(kind) and self._pattern in UNIX:
            unit = "s" if self._pattern == "unix" else "ms"
            times = chunk.cast(pa.int64()).cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp("us", "UTC"))
        elif pa.types.is_date(kind):
            if self._kind.type == "date":
                return chunk.cast(wanted)
            times = pc.assume_timezone(chunk.cast(pa.timestamp("us")), self._kind.zone)
        elif pa.types.is_timestamp(kind):
            plain = chunk.cast(pa.timestamp("us", kind.tz), safe=False)
            if self._kind.type == "date":
                return self._whole_days(file, pc.local_timestamp(plain) if kind.tz else plain)
            times = plain if kind.tz else pc.assume_timezone(plain, self._kind.zone)
        else:
            raise DataError(file, self._name, f"must be {RULES[self._kind.type]}, is of the type {kind}")
        if self._kind.type == "date":
            return self._whole_days(file, pc.local_timestamp(times))
        return times.cast(wanted)

    def _whole_days(self, file: str, times: Any) -> pa.Array:
        days = times.cast(pa.date32(), safe=False)
        wrong = pc.indices_nonzero(pc.not_equal(days.cast(times.type), times))
        if len(wrong):
            rule = f"must be {RULES['date']}, has a time of day; its type is timestamp then"
            raise DataError(file, self._name, rule)
        return days


def _read(reader: Reader, text: str) -> Moment | None:
    try:
        return reader(text)
    except (ValueError, OverflowError, OSError):
        return None
