"""The rows to score: a file or a folder, an address, a query of a database, or the predictions of the log's lake."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import HEADER, DataError, listed, shown_value
from beacon_core.domain.masking import mask
from beacon_core.domain.product import Product
from beacon_core.domain.source import Format, Kind, Source
from beacon_core.platform.settings import Settings
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.raw import streams
from beacon_core.sources.stream import Stream
from beacon_core.sources.table import KEY_TYPES, column_types
from beacon_core.sources.typed import typed_blocks

LAKE = "lake:"
"""The input that is the log's lake."""
TABLES = "beacon.tables"
"""The entry points of tables that are Beacon's own: this package opens no store of the log."""
PREDICTION_ID = "prediction_id"
"""The column of the lake's ids; it is in the output, too."""
SCHEMES: dict[str, Kind] = {"http": "https", "https": "https", "s3": "s3"}
ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


class TimeSlice(NamedTuple):
    """Predictions of the lake that were made in [since, until)."""

    since: datetime | None
    until: datetime


class Block(NamedTuple):
    """Some rows of the input, of which `first_row` is the number of the first."""

    table: pa.Table
    first_row: int


class ScoringInput(NamedTuple):
    """An input: its source, or the slice of the lake."""

    source: Source | None
    span: TimeSlice | None

    @property
    def name(self) -> str:
        """What messages and the output's facts call it: never a credential."""
        return LAKE if self.source is None else mask(self.source.name)

    @property
    def has_order(self) -> bool:
        """Whether a second reading gives the rows in the same order: a query that names none need not."""
        return self.source is None or self.source.kind != "sql" or ORDERED.search(self.source.query) is not None

    def absence(self) -> DataError:
        """What there is to say of an input without rows."""
        if self.span is None:
            return DataError(self.name, "(rows)", "has no rows")
        since = "" if self.span.since is None else f" and since {self.span.since.isoformat()}"
        return DataError("lake", "--until", f"no prediction was made before {self.span.until.isoformat()}{since}")

    def problem(self, settings: Settings) -> str | None:
        """Why it cannot be read, if that is known before."""
        if self.source is None:
            return None if settings.lake else f"INPUT: {LAKE} is the log's lake, and BEACON_LAKE names none"
        if self.source.kind in {"file", "folder"} and not self.source.path.exists():
            return f"INPUT: {self.source.place} is not there"
        if self.source.kind == "sql" and not self.source.query:
            return "INPUT: a database needs --query 'SELECT ...'"
        return None

    def size(self, settings: Settings, product: Product) -> "InputSize":
        """What tells the input from the same one with other rows."""
        if self.source is None:
            with self._lake(settings, product) as (_, rows):
                return InputSize(rows=rows)
        if self.source.kind not in {"file", "folder"}:
            return InputSize()
        place = self.source.path
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        told = [file.stat() for file in files if file.is_file()]
        return InputSize(sum(one.st_size for one in told), max((one.st_mtime for one in told), default=0.0))

    def blocks(self, settings: Settings, product: Product, *, skip: int) -> Iterator[Block]:
        """The rows, block by block; of the first `skip` blocks only the numbers of rows are of use."""
        first_row = number = 0
        with self._streams(settings, product) as opened:
            for stream in opened:
                wanted = self._needed(product, stream)
                types = {name: kind for name, kind in self._types(product).items() if name in wanted}
                given = Format() if self.source is None else self.source.format
                for table in typed_blocks(stream, types, given, skip=skip - number):
                    yield Block(table, first_row + 1)
                    first_row += len(table)
                    number += 1

    @contextmanager
    def _streams(self, settings: Settings, product: Product) -> Iterator[Iterator[Stream]]:
        if self.source is not None:
            with streams(self.source) as opened:
                yield opened
            return
        with self._lake(settings, product) as (stream, _):
            yield iter([stream])

    @contextmanager
    def _lake(self, settings: Settings, product: Product) -> Iterator[tuple[Stream, int]]:
        (table,) = entry_points(group=TABLES, name="lake")
        assert self.span is not None  # noqa: S101 - an input without a source has it
        with table.load()(settings, product, self.span.since, self.span.until, PREDICTION_ID) as opened:
            yield opened

    def _types(self, product: Product) -> dict[str, ColumnType]:
        """The types of the product's columns; a key that numbers the rows of its table is a column here."""
        keys = product.entity.columns if product.entity else ()
        types = {name: KEY_TYPES[kind] for name, kind in keys} | column_types(product)
        return {PREDICTION_ID: ColumnType("text")} | types if self.source is None else types

    def _needed(self, product: Product, stream: Stream) -> set[str]:
        """The columns of the stream that are scored; raises `DataError` for one that the product does not know."""
        names = stream.dialect.names
        if self.source is None:
            return set(names)
        known = {*column_types(product), *product.excluded, *product.keys, *stream.dialect.index}
        unknown = [shown_value(name) for name in names if name not in known]
        if unknown:
            fault = listed(unknown, "is not a column of this product", "are no columns of it")
            raise DataError(stream.name, HEADER, fault)
        wanted = {*product.feature_names, *product.keys} & set(names)
        if not wanted:
            raise DataError(stream.name, HEADER, "has no feature and no key of this product")
        return wanted


class InputSize(NamedTuple):
    """Bytes and the time of the last change of an input of files, or the rows of one that has no bytes."""

    bytes: int = 0
    modified: float = 0.0
    rows: int = 0


def input_of(text: str, query: str, product: Product, span: TimeSlice) -> ScoringInput:
    """The input that the arguments name."""
    if text == LAKE:
        return ScoringInput(None, span)
    scheme, mark, _ = text.partition("://")
    own = _format(product)
    if not mark:
        path = Path(text)
        kind: Kind = "folder" if path.is_dir() else "file"
        return ScoringInput(Source(kind=kind, place=str(path.resolve()), base=Path(), format=own), None)
    kind = SCHEMES.get(scheme.lower(), "sql")
    return ScoringInput(Source(kind=kind, place=text, base=Path.cwd(), query=query, format=own), None)


def _format(product: Product) -> Format:
    """How the product's own table is written; an empty cell is missing, too, as most programs write it."""
    own = product.sources[0].format
    missing = None if own.missing is None else tuple(dict.fromkeys((*own.missing, "")))
    return msgspec.structs.replace(own, type=None, compression=None, missing=missing)
