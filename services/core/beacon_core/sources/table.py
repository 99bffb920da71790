"""The product's table: all of its sources read, typed and joined; the one door for everything that reads it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import HEADER, ROWS, DataError, listed, shown_value, without_a_name
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.product_entry import NOW
from beacon_core.domain.source import Format, Source
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.dialect import NUMBER, Dialect
from beacon_core.sources.join import join_left
from beacon_core.sources.newest import newest_rows
from beacon_core.sources.places import LocalFile
from beacon_core.sources.raw import open_file, streams
from beacon_core.sources.stream import Stream
from beacon_core.sources.typed import read_typed

Types = Mapping[str, ColumnType]
KEY_TYPES = {"int64": ColumnType("int"), "text": ColumnType("text")}


class LoadedTable(NamedTuple):
    """The table, and one line per file that says how it is written; then one on rows that newer ones supersede."""

    table: pa.Table
    descriptions: tuple[str, ...]


def column_types(product: Product) -> dict[str, ColumnType]:
    """The columns that the product needs of its table, with their types: keys, times, features, target and others.

    A column that is a feature has the feature's type, also where it is a key or a time. The key of `row_number` is no
    column of the source.
    """
    zone = product.time.zone
    own = {feature.name: _feature_type(feature, zone) for feature in product.features if feature.lag is None}
    types: dict[str, ColumnType] = {}
    if product.entity is not None and not product.entity.row_number:
        types |= {name: KEY_TYPES[kind] for name, kind in product.entity.columns}
    times = [product.time.event, None if product.time.created == NOW else product.time.created]
    types |= {name: ColumnType("timestamp", zone=zone) for name in times if name is not None}
    types |= own | {product.target.name: ColumnType("float")}
    if product.target.weight is not None:
        types.setdefault(product.target.weight, ColumnType("float"))
    if product.time.group is not None:
        types.setdefault(product.time.group, ColumnType("text"))
    return types


def read_table(product: Product, *, columns: Iterable[str] | None = None) -> pa.Table:
    """The product's table, or some of its columns; see `load_table`."""
    return load_table(product, columns=columns).table


def load_table(
    product: Product,
    *,
    columns: Iterable[str] | None = None,
    rows: int | None = None,
    sources: tuple[Source, ...] | None = None,
) -> LoadedTable:
    """Read the product's sources, or those that are given in their place, each column by its type.

    float is float64, int is int64, bool is bool, text is string (stripped, Unicode NFC), dates are date32, timestamps
    are UTC in microseconds; a category of numbers is float64. A missing value is null. `columns` are those to read of
    the product's; `rows` ends the reading after so many. Of the rows of one key in several sources the newest counts.
    A Kaggle data set is read from its sample. Raises `DataError` for the data, `FetchError` or `FetchRefusedError` for
    the place.
    """
    types = column_types(product)
    chosen = set(types) if columns is None else set(columns)
    first, *others = product.sources if sources is None else sources
    reading = _Reading(product, {name: kind for name, kind in types.items() if name in chosen}, rows)
    joined = [(other, reading.read_joined(other)) for other in others if other.join]
    given = [first, *(other for other in others if not other.join)]
    parts = [reading.read_rows(source) for source in given]
    table = pa.concat_tables(parts)
    for other, part in joined:
        table = join_left(table, part, other.join, other.name)
    table = table.select([name for name in types if name in chosen])
    count = len(table)
    lengths = [(source.name, len(part)) for source, part in zip(given, parts, strict=True)]
    table = newest_rows(table, product, lengths).slice(0, rows)
    limits = product.data.rows
    if rows is None and len(table) < limits.min:
        rule = f"has {len(table)} rows, must have at least {limits.min} (data.rows.min): truncated?"
        raise DataError(reading.name, ROWS, rule)
    if len(table) > limits.max:
        raise DataError(reading.name, ROWS, f"must have at most {limits.max} rows (data.rows.max), has {len(table)}")
    if rows is None and len(table) < count:
        text = f"{count - len(table)} of {count} rows are superseded by a newer row of the same key"
        reading.descriptions.append(text)
    if product.entity is not None and product.entity.row_number:
        numbers = pa.array(range(1, len(table) + 1), pa.int64())
        table = table.add_column(0, product.keys[0], numbers)
    return LoadedTable(table.combine_chunks(), tuple(reading.descriptions))


def read_stored(file: Path, product: Product) -> pa.Table:
    """A Parquet file that holds a table of `load_table`; columns that the product no longer has are left out.

    Raises `DataError` where a column is missing, or of another type by now.
    """
    types = column_types(product)
    if product.entity is not None and product.entity.row_number:
        types = {product.keys[0]: KEY_TYPES["int64"]} | types
    with open_file(LocalFile(file, file.name), Format(type="parquet")) as stream:
        missing = [name for name in types if name not in stream.dialect.names]
        if missing:
            raise DataError(file.name, HEADER, listed(missing, "is missing", "are missing"))
        return read_typed(stream, types, Format()).table


class _Reading:
    """One reading of the sources; `types` are the columns that no source has given yet."""

    def __init__(self, product: Product, types: dict[str, ColumnType], rows: int | None) -> None:
        self.descriptions: list[str] = []
        self.name = product.sources[0].name
        """What errors about all rows call the table: its last file."""
        self._product = product
        self._wanted = dict(types)
        self._rows = rows
        keys = {key for source in product.sources for key in source.join}
        self._keys = {key: column_types(product).get(key, ColumnType("text")) for key in keys}
        self._given: dict[str, str] = {}
        """Columns that joined sources gave, and the sources."""

    def read_joined(self, source: Source) -> pa.Table:
        """The columns that a joined source adds, and its keys."""
        keys = {key: self._keys[key] for key in source.join}
        parts = []
        with streams(source) as opened:
            for stream in opened:
                own = {name: kind for name, kind in self._wanted.items() if name in stream.dialect.names}
                types = keys | {name: kind for name, kind in own.items() if name not in keys}
                self._check_header(stream, keys)
                parts.append(self._typed(stream, types, source, None))
        table = pa.concat_tables(parts)
        for name in table.column_names:
            if name not in keys:
                del self._wanted[name]
                self._given[name] = source.name
        return table

    def read_rows(self, source: Source) -> pa.Table:
        """The rows of a source: all columns that no joined source has, and the keys of those."""
        types = self._wanted | {key: kind for key, kind in self._keys.items() if key not in self._given}
        parts = []
        with streams(source) as opened:
            for stream in opened:
                self._check_header(stream, types)
                if both := [name for name in stream.dialect.names if name in self._given]:
                    rule = f"is also in {self._given[both[0]]}, which is joined; rename it in one of them"
                    raise DataError(stream.name, both[0], rule)
                parts.append(self._typed(stream, types, source, self._product.data.rows.max))
        return pa.concat_tables(parts)

    def _typed(self, stream: Stream, types: Types, source: Source, most: int | None) -> pa.Table:
        rows = self._rows if most is not None else None
        found = read_typed(stream, types, source.format, rows=rows, most=most)
        self.name = stream.name if most is not None else self.name
        self.descriptions.append(f"{stream.name}: {found.dialect.text}")
        return found.table

    def _check_header(self, stream: Stream, wanted: Iterable[str]) -> None:
        """Raise `DataError` that names every column that is missing, unknown, there twice or without a name."""
        dialect = stream.dialect
        counts = Counter(dialect.names)
        known = {*column_types(self._product), *self._product.excluded, *self._keys, *dialect.index}
        missing = [name for name in wanted if name not in counts]
        unknown = [shown_value(name) for name in counts if name and name not in known]
        twice = [shown_value(name) for name, count in counts.items() if name and count > 1]
        nameless = [place for place, name in enumerate(dialect.names, 1) if not name and name not in known]
        faults = [
            listed(missing, "is missing", "are missing"),
            listed(unknown, "is not a column of this product", "are not columns of this product"),
            listed(twice, "is in the header twice", "are in the header twice"),
            f"{without_a_name(nameless)}: a delimiter too many, or an index?" if nameless else "",
            _hint(dialect) if missing and unknown else "",
        ]
        if any(faults):
            raise DataError(stream.name, HEADER, "; ".join(filter(None, faults)))


def _hint(dialect: Dialect) -> str:
    if len(dialect.names) == 1:
        return f"the delimiter {dialect.delimiter!r} gives one column; say format.delimiter"
    if any(NUMBER.fullmatch(name) for name in dialect.names):
        return "is the first line data? Then say format.header: false and format.names"
    return "renamed?"


def _feature_type(feature: Feature, zone: str) -> ColumnType:
    if feature.type == "category":
        levels = tuple(level for level in feature.known_levels if isinstance(level, str))
        return ColumnType("float") if feature.has_number_levels else ColumnType("text", levels)
    return ColumnType(feature.type, zone=zone)


def table_name(product: Product) -> str:
    """What messages call the product's table: its first file or place."""
    first = product.sources[0]
    return Path(first.file or first.place).name if first.kind in {"file", "kaggle"} else first.name


def as_file(source: Source, file: Path) -> Source:
    """The source, read from a copy of its content on this machine."""
    return msgspec.structs.replace(source, kind="file", place=str(file), base=Path(), file="", sample="")
