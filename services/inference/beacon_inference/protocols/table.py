"""Rows and named columns, as the foreign protocols send them, into the matrix."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from beacon_core.errors import BeaconError
from beacon_core.product import Product
from beacon_inference.ask import Ask, Matrix
from beacon_inference.native import UNREADABLE, check_values, explain_value, read_leniently, unknown_feature

Values = list[float | None]
_decode_flat = msgspec.json.Decoder(Values).decode
_decode_nested = msgspec.json.Decoder(list[Values]).decode


def decode(body: bytes, kind: type[Any]) -> Any:
    """Decode a JSON body into `kind`; raises BeaconError `invalid_json` or `invalid_body`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        _refuse_infinite(read_leniently(body, error))
        rule, _, path = str(error).partition(" - at `$")
        raise BeaconError("invalid_body", rule, path.strip("`.")[:128] or None) from error


def nan_as_null(body: bytes) -> bytes:
    """Put null for each bare NaN, which is no JSON: MLflow's client writes missing values so; its server reads them."""
    if b"NaN" not in body:
        return body
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=lambda name: None if name == "NaN" else float(name))
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return body  # whoever decodes it says what is wrong with it


def plain(raw: msgspec.Raw) -> Any:
    """Decode a part of the body that `decode` only skipped; raises BeaconError `invalid_json`.

    Numbers that are too large come back as infinities, so that whoever looks at them can name them.
    """
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE as error:
        return read_leniently(bytes(raw), error)


def _refuse_infinite(body: Any) -> None:
    """Name the first NaN or infinity, as Python reads them out of NaN and 1e999."""
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
    """Read a list, or a list of lists, of numbers and nulls: the array and its dimensions (1 or 2)."""
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


def _explain_numbers(value: Any, field: str, depth: int = 0) -> None:
    if isinstance(value, list) and depth < 2:
        for index, item in enumerate(value):
            _explain_numbers(item, f"{field}[{index}]", depth + 1)
    elif depth == 0:
        raise BeaconError("invalid_type", "must be a list of numbers", field)
    else:
        explain_value("the value", value, field)


class Tables:
    """Builds an `Ask` from rows in feature order, or from named columns (the entity's key may be one of them)."""

    def __init__(self, product: Product, max_rows: int) -> None:
        self._product = product
        self._names = product.feature_names
        self._key = product.entity.key
        self._max_rows = max_rows

    def decode(self, body: bytes, kind: type[Any], *, nan_is_null: bool = False) -> Any:
        """Decode a JSON body as `decode` does; one of far too many values is `body_too_large`."""
        check_values(body, self._max_rows)
        return decode(nan_as_null(body) if nan_is_null else body, kind)

    def of_rows(self, matrix: Matrix, dimensions: int, field: str) -> Ask:
        """Rows whose values are in feature order; a flat list is one row."""
        if dimensions == 1:
            matrix = matrix.reshape(1, -1)
        if matrix.ndim != 2 or matrix.shape[1] != len(self._names):
            rule = f"rows must have {len(self._names)} values, in the order {', '.join(self._names)}"
            raise BeaconError("invalid_shape", rule, field)
        self.check_count(len(matrix), field)
        return Ask(matrix, path=field + "[{row}].{feature}")

    def of_columns(self, columns: Sequence[str], data: Matrix, field: str) -> Ask:
        """Named columns: `data` is (rows, columns)."""
        self.check_count(len(data), field)
        matrix = np.full((len(data), len(self._names)), np.nan)
        entities: list[int | None] | None = None
        for position, name in enumerate(columns):
            if columns.index(name) != position:
                raise BeaconError("invalid_shape", f"column {name[:64]} is there twice", f"{field}.{name}"[:128])
            if name == self._key:
                entities = [
                    self._entity(value, f"{field}[{row}].{name}") for row, value in enumerate(data[:, position])
                ]
            else:
                self._check_name(name, f"{field}.{name}")
                matrix[:, self._names.index(name)] = data[:, position]
        path = field + "[{row}].{feature}"
        return Ask(matrix, entities, path=path, entity_path=path)

    def of_records(self, records: list[Any], field: str) -> Ask:
        """Objects of names and numbers, one a row; a name that a row lacks is missing there."""
        self.check_count(len(records), field)
        columns: dict[str, None] = {}
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                raise BeaconError("invalid_type", "rows must be all objects or all lists", f"{field}[{row}]")
            for name, value in record.items():
                self._check_name(name, f"{field}[{row}].{name}")
                explain_value(name, value, f"{field}[{row}].{name}")
                columns[name] = None
        names = list(columns)
        data = np.array([[record.get(name) for name in names] for record in records], dtype=np.float64)
        return self.of_columns(names, data.reshape(len(records), len(names)), field)

    def _check_name(self, name: str, field: str) -> None:
        if name not in self._names and name != self._key:
            raise unknown_feature(name, self._product, field)

    def _entity(self, value: float, field: str) -> int | None:
        if np.isnan(value):
            return None
        if not float(value).is_integer() or abs(value) > 2**53:
            raise BeaconError("invalid_entity", f"{self._key} must be a whole number", field)
        return int(value)

    def check_count(self, count: int, field: str) -> None:
        """Refuse no rows and too many."""
        if not 1 <= count <= self._max_rows:
            raise BeaconError("batch_too_large" if count else "invalid_body", f"send 1 to {self._max_rows} rows", field)
