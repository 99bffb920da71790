"""Newest wins: several sources may have a row of one key, and the newest of these rows counts."""

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import DataError, shown_value
from beacon_core.domain.product import Product
from beacon_core.domain.product_entry import NOW

ROW, SOURCE, KNOWN = "row", "source", "known"
ALWAYS = pa.scalar(-(2**63), pa.int64())
"""Before all times."""


def identity(product: Product) -> list[str]:
    """The columns that tell what a row is of: the key and the event time; none where rows have no key of their own."""
    if product.entity is None or product.entity.row_number:
        return []
    event = product.time.event
    return list(dict.fromkeys([*product.keys, *([] if event is None else [event])]))


def newest_rows(table: pa.Table, product: Product, parts: Sequence[tuple[str, int]]) -> pa.Table:
    """The table without the rows that a newer one of the same key and event time supersedes; the order stays.

    `parts` are the names of the sources that its rows are from, and the numbers of their rows. The newest row is the
    one with the last `time.created`, else that of the last source. A row without a key is kept: another rule names it.
    Raises `DataError` for a key that one source has twice. Without the key's columns every row is kept.
    """
    columns = identity(product)
    if len(parts) < 2 or not columns or not set(columns) <= set(table.column_names):
        return table
    codes = [str(place) for place in range(len(columns))]
    rows = pa.table(dict(zip(codes, (table[name] for name in columns), strict=True)))
    source = [pa.array([number] * count, pa.int32()) for number, (_, count) in enumerate(parts)]
    rows = rows.append_column(ROW, pa.array(range(len(table)), pa.int64()))
    rows = rows.append_column(SOURCE, pa.chunked_array(source, pa.int32()))
    rows = rows.append_column(KNOWN, _known(table, product))
    has_key = reduce(pc.and_, (pc.is_valid(rows[code]) for code in codes))
    keyed = rows.filter(has_key)
    _check_repeats(keyed, codes, columns, parts)
    ordered = keyed.sort_by([(KNOWN, "ascending"), (SOURCE, "ascending")])
    last = ordered.group_by(codes, use_threads=False).aggregate([(ROW, "last")])[f"{ROW}_last"]
    kept = pc.or_(pc.invert(has_key), pc.is_in(rows[ROW], value_set=last.combine_chunks()))
    return table.filter(kept)


def _known(table: pa.Table, product: Product) -> pa.ChunkedArray:
    """When each row became known, in microseconds; the same for all where no column says it."""
    created = product.time.created
    if created == NOW or created not in table.column_names:
        return pa.chunked_array([pa.repeat(ALWAYS, len(table))])
    return pc.fill_null(table[created].cast(pa.int64()), ALWAYS)


def _check_repeats(
    rows: pa.Table, codes: Sequence[str], columns: Sequence[str], parts: Sequence[tuple[str, int]]
) -> None:
    counted = rows.group_by([*codes, SOURCE]).aggregate([(ROW, "count"), (ROW, "min"), (ROW, "max")])
    twice = counted.filter(pc.greater(counted[f"{ROW}_count"], 1)).sort_by(f"{ROW}_min")
    if not len(twice):
        return
    first = twice.slice(0, 1).to_pylist()[0]
    name, _ = parts[first[SOURCE]]
    before = sum(count for _, count in parts[: first[SOURCE]]) - 1
    shown = ", ".join(f"{column} {shown_value(first[code])}" for code, column in zip(codes, columns, strict=True))
    places = f"rows {first[f'{ROW}_min'] - before} and {first[f'{ROW}_max'] - before}"
    rule = f"must tell the rows of each source apart, has {shown} in {places}"
    raise DataError(name, " and ".join(columns), f"{rule}; between sources the newest row counts")
