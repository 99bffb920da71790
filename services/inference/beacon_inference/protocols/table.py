"""Parses rows and named columns, as standard protocols send them, into the matrix."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import check_integer, whole_or_float
from beacon_core.domain.missing import missing_markers
from beacon_core.domain.product import Product
from beacon_inference.matrix import Matrix
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.values import (
    UNREADABLE,
    check_values,
    entity_key,
    explain_value,
    read_leniently,
    unknown_features,
)

Values = list[float | None]
_decode_flat = msgspec.json.Decoder(Values).decode
_decode_nested = msgspec.json.Decoder(list[Values]).decode
_decode_plain = msgspec.json.Decoder().decode
_decode_exactly = msgspec.json.Decoder(float_hook=whole_or_float).decode
# A string, whole or cut off, or a bare NaN.
NAN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|\bNaN\b', re.DOTALL)


def decode(body: bytes, kind: type[Any]) -> Any:
    """Decode a JSON body into `kind`; raises BeaconError `invalid_json` or `invalid_body`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        _refuse_infinite(read_leniently(body, error))
        rule, _, path = str(error).partition(" - at `$")
        raise BeaconError("invalid_body", rule, path.strip("`.")[:128] or None) from error


def is_present(raw: msgspec.Raw) -> bool:
    """Whether an optional part of the body is present; null counts as absent."""
    return bytes(raw) not in {b"", b"null"}


def nan_as_null(body: bytes) -> bytes:
    """Replace each bare NaN, which is not JSON, by null: MLflow's client writes missing values so."""
    if b"NaN" not in body:
        return body
    return NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)


def plain(raw: msgspec.Raw, *, exactly: bool = False) -> Any:
    """Decode a part of the body that `decode` only skipped; raises BeaconError `invalid_json`.

    Numbers that are too large become infinities, so that the check that follows can name them. `exactly`
    reads decimals that are whole numbers as int, which takes several times as long.
    """
    try:
        return (_decode_exactly if exactly else _decode_plain)(raw)
    except UNREADABLE as error:
        return read_leniently(bytes(raw), error)


def keys_in(decoded: Any, raw: msgspec.Raw, pick: Callable[[Any], list[Any]]) -> list[Any]:
    """The entities' keys that `pick` selects from `decoded`; if one is a float, `raw` is decoded again exactly."""
    keys = pick(decoded)
    return pick(plain(raw, exactly=True)) if float in map(type, keys) else keys


def _refuse_infinite(body: Any) -> None:
    """Raise BeaconError `not_finite` for a NaN or infinity, which Python reads from NaN and 1e999."""
    waiting = [("", body)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise BeaconError("not_finite", "must be a finite number", path.lstrip(".")[:128] or None)
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", item) for index, item in enumerate(value)]


def numbers(raw: msgspec.Raw, field: str) -> tuple[Matrix, int]:
    """Read a list, or a list of lists, of numbers and nulls: an array (n,) or (rows, columns), and its dimensions.

    Raises BeaconError `invalid_type`, `not_finite` or `invalid_shape`.
    """
    try:
        return np.array(_decode_flat(raw), dtype=np.float64), 1
    except UNREADABLE:
        pass
    try:
        rows = _decode_nested(raw)
    except UNREADABLE as error:
        _explain_numbers(plain(raw), field)
        raise BeaconError("invalid_type", str(error), field) from error
    if len({len(row) for row in rows}) > 1:
        raise BeaconError("invalid_shape", "the rows are of unequal length", field)
    return np.array(rows, dtype=np.float64), 2


def as_numbers(values: Any, field: str) -> Matrix:
    """Convert decoded lists of numbers and nulls to an array (rows, columns); raises BeaconError."""
    try:
        return np.array(msgspec.convert(values, list[Values]), dtype=np.float64)
    except msgspec.ValidationError as error:
        _explain_numbers(values, field)
        raise BeaconError("invalid_type", str(error), field) from error


def _explain_numbers(value: Any, field: str, depth: int = 0) -> None:
    if isinstance(value, list) and depth < 2:
        for index, item in enumerate(value):
            _explain_numbers(item, f"{field}[{index}]", depth + 1)
    elif depth == 0:
        raise BeaconError("invalid_type", "must be a list of numbers", field)
    else:
        explain_value("the value", value, field)


class TableParser:
    """Builds the inputs from rows in feature order, or from named columns (the entity's key may be one of them)."""

    def __init__(self, product: Product, max_rows: int) -> None:
        self._product = product
        self._names = product.feature_names
        self.key = product.entity.key
        self.max_rows = max_rows
        self.missing = missing_markers(product)

    def decode(self, body: bytes, kind: type[Any], *, nan_is_null: bool = False) -> Any:
        """Decode a JSON body as `decode` does; raises BeaconError `body_too_large` for one with too many values."""
        check_values(body, self.max_rows)
        return decode(nan_as_null(body) if nan_is_null else body, kind)

    def of_rows(self, matrix: Matrix, dimensions: int, field: str) -> PredictionInputs:
        """Rows whose values are in feature order; a flat list is one row."""
        if dimensions == 1:
            matrix = matrix.reshape(1, -1)
        if matrix.ndim != 2 or matrix.shape[1] != len(self._names):
            rule = f"rows must have {len(self._names)} values, in the order {', '.join(self._names)}"
            raise BeaconError("invalid_shape", rule, field)
        self.check_count(len(matrix), field)
        return PredictionInputs(matrix, path=field + "[{row}].{feature}")

    def of_columns(
        self, columns: Sequence[str], data: Matrix, field: str, keys: Sequence[Any] | None = None
    ) -> PredictionInputs:
        """Columns of features, by name: `data` is (rows, columns); and `keys`, the column of the entity's key."""
        self.check_count(len(data), field)
        matrix = np.full((len(data), len(self._names)), np.nan)
        if unknown := self.unknown([name for name in columns if name != self.key or keys is None], field):
            raise unknown
        for position, name in enumerate(columns):
            if columns.index(name) != position or (name == self.key and keys is not None):
                raise BeaconError("invalid_shape", f"column {name[:64]} appears twice", f"{field}.{name}"[:128])
            matrix[:, self._names.index(name)] = data[:, position]
        entities = None if keys is None else self._entities(keys, field)
        path = field + "[{row}].{feature}"
        return PredictionInputs(matrix, entities, path=path, entity_path=path)

    def of_split(self, columns: Sequence[str], raw: msgspec.Raw, field: str) -> PredictionInputs:
        """Named columns, whose values come in rows."""
        rows = plain(raw) if self.key in columns else None
        if isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(columns) for row in rows):
            key = columns.index(self.key)
            keys = keys_in(rows, raw, lambda found: [row[key] for row in found])
            data = as_numbers([[*row[:key], None, *row[key + 1 :]] for row in rows], field)
            return self.of_columns([*columns[:key], *columns[key + 1 :]], np.delete(data, key, 1), field, keys)
        data, dimensions = numbers(raw, field)
        if len(data) and (dimensions != 2 or data.shape[1] != len(columns)):
            raise BeaconError("invalid_shape", f"rows must have {len(columns)} values, as columns has names", field)
        return self.of_columns(columns, data, field)

    def of_records(
        self, raw: msgspec.Raw, field: str, records_of: Callable[[Any], Any] = lambda found: found
    ) -> PredictionInputs:
        """Objects of names and numbers, one per row, which `records_of` makes of what is decoded.

        A name that a row lacks is missing there.
        """
        decoded = plain(raw)
        records = records_of(decoded)
        if not isinstance(records, list):
            raise BeaconError("invalid_body", "must be a list of objects", field)
        self.check_count(len(records), field)
        columns: dict[str, None] = {}
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                raise BeaconError("invalid_type", "rows must be all objects or all lists", f"{field}[{row}]")
            if unknown := self.unknown([name for name in record if name != self.key], f"{field}[{row}]"):
                raise unknown
            for name, value in record.items():
                columns[name] = None
                if name != self.key:
                    explain_value(name, value, f"{field}[{row}].{name}")
        keys = None
        if self.key in columns:
            keys = keys_in(decoded, raw, lambda found: [record.get(self.key) for record in records_of(found)])
        names = [name for name in columns if name != self.key]
        data = np.array([[record.get(name) for name in names] for record in records], dtype=np.float64)
        return self.of_columns(names, data.reshape(len(records), len(names)), field, keys)

    def _entities(self, keys: Sequence[Any], field: str) -> list[int | None]:
        try:
            return [None if key is None else check_integer(key) for key in keys]
        except ValueError:  # walk the rows once more, to name the bad one
            return [
                None if key is None else entity_key(key, self.key, f"{field}[{row}]") for row, key in enumerate(keys)
            ]

    def unknown(self, columns: Iterable[str], field: str) -> BeaconError | None:
        """Return one BeaconError for all columns that are not features; None where all are."""
        return unknown_features(columns, self._product, field)

    def check_count(self, count: int, field: str) -> None:
        """Raise BeaconError for a request without rows, or with too many."""
        if not 1 <= count <= self.max_rows:
            raise BeaconError("batch_too_large" if count else "invalid_body", f"send 1 to {self.max_rows} rows", field)
