"""Typed columns of a table as the inputs of a prediction: the numbers that a request with these rows has."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import ValueRuleError
from beacon_inference.matrix import Matrix

MICROSECONDS = 1_000_000


class ScoredRows(NamedTuple):
    """Rows to score: `matrix` (rows, features) with NaN where a value is missing, and the texts beside it.

    `unread` has the rule that a row's text breaks, by row.
    """

    matrix: Matrix
    texts: dict[tuple[int, int], str]
    unread: dict[int, str]


def rows_of(table: pa.Table, product: Product, *, keeps_texts: bool = False) -> ScoredRows:
    """The rows of a table of the product's columns, each of its type; a feature without a column is missing.

    Of a category whose levels the package lists, the number tells the model the text; the prediction log needs the
    texts themselves, and `keeps_texts`.
    """
    rows = ScoredRows(np.full((len(table), len(product.features)), np.nan), {}, {})
    for place, feature in enumerate(product.features):
        if feature.name not in table.column_names:
            continue
        column = table[feature.name].combine_chunks()
        if feature.is_text and not feature.is_time:
            _read_texts(column, place, feature, rows, keeps_texts=keeps_texts)
        else:
            rows.matrix[:, place] = _numbers(column, feature)
    return rows


def _numbers(column: pa.Array, feature: Feature) -> Matrix:
    if feature.type == "date":
        column = column.cast(pa.int32())
    if feature.type == "timestamp":
        return _floats(column.cast(pa.int64())) / MICROSECONDS
    return _floats(column)


def _floats(column: pa.Array) -> Matrix:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _read_texts(column: pa.Array, place: int, feature: Feature, rows: ScoredRows, *, keeps_texts: bool) -> None:
    """Read each distinct text once."""
    encoded = column.dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    numbers = np.full(len(texts) + 1, np.nan)
    rules: dict[int, str] = {}
    for at, text in enumerate(texts):
        try:
            numbers[at] = feature.to_number(text)
        except ValueRuleError as error:
            rules[at] = f"{feature.name} {error.problem.rule}"
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    rows.matrix[:, place] = numbers[codes]
    for row in _rows_with(codes, rules):
        rows.unread.setdefault(row, rules[int(codes[row])])
    if feature.has_many_levels:
        kept = dict(enumerate(texts)) if keeps_texts else {}
    else:
        kept = {at: text for at, text in enumerate(texts) if numbers[at] == feature.other}
    rows.texts.update({(row, place): kept[int(codes[row])] for row in _rows_with(codes, kept)})


def _rows_with(codes: NDArray[np.int64], chosen: Mapping[int, str]) -> list[int]:
    found: list[int] = np.flatnonzero(np.isin(codes, list(chosen))).tolist() if chosen else []
    return found
