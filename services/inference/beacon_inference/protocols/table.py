"""Rows and named columns, as the foreign protocols send them, into the matrix."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from beacon_core.errors import BeaconError
from beacon_core.product import Product
from beacon_inference.ask import Ask, Matrix
from beacon_inference.native import explain_value, unknown_feature

Values = list[float | None]
_decode_flat = msgspec.json.Decoder(Values).decode
_decode_nested = msgspec.json.Decoder(list[Values]).decode


def decode(body: bytes, kind: type[Any]) -> Any:
    """Decode a JSON body into `kind`; raises BeaconError `invalid_json` or `invalid_body`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$")
        raise BeaconError("invalid_body", rule, path.strip("`.") or None) from error
    except (msgspec.DecodeError, RecursionError) as error:
        # msgspec refuses NaN and 1e999 as text; Python reads them, so that the value can be named.
        try:
            json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BeaconError(
                "invalid_json", f"the body is not JSON: {error}" if body else "the body is empty"
            ) from error
        raise BeaconError("not_finite", f"a number is too large: {error}") from error


def _refuse_constant(name: str) -> float:
    raise BeaconError("not_finite", f"{name} is not a number that JSON knows")


def numbers(raw: msgspec.Raw, field: str) -> tuple[Matrix, int]:
    """Read a list, or a list of lists, of numbers and nulls: the array and its dimensions (1 or 2)."""
    try:
        return np.array(_decode_flat(raw), dtype=np.float64), 1
    except msgspec.ValidationError:
        pass
    except msgspec.DecodeError as error:
        raise BeaconError("not_finite", f"a number is too large: {error}", field) from error
    try:
        rows = _decode_nested(raw)
    except msgspec.ValidationError as error:
        _explain_numbers(msgspec.json.decode(raw), field)
        raise BeaconError("invalid_type", str(error), field) from error
    except msgspec.DecodeError as error:
        raise BeaconError("not_finite", f"a number is too large: {error}", field) from error
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
        self._names = product.feature_names
        self._key = product.entity.key
        self._excluded = product.excluded
        self._max_rows = max_rows

    def of_rows(self, matrix: Matrix, dimensions: int, field: str) -> Ask:
        """Rows whose values are in feature order; a flat list is one row."""
        if dimensions == 1:
            matrix = matrix.reshape(1, -1)
        if matrix.ndim != 2 or matrix.shape[1] != len(self._names):
            rule = f"rows must have {len(self._names)} values, in the order {', '.join(self._names)}"
            raise BeaconError("invalid_shape", rule, field)
        self._check_count(len(matrix), field)
        return Ask(matrix, path=field + "[{row}].{feature}")

    def of_columns(self, columns: Sequence[str], data: Matrix, field: str) -> Ask:
        """Named columns: `data` is (rows, columns)."""
        self._check_count(len(data), field)
        matrix = np.full((len(data), len(self._names)), np.nan)
        entities: list[int | None] | None = None
        for position, name in enumerate(columns):
            if columns.index(name) != position:
                raise BeaconError("invalid_shape", f"column {name} is there twice", f"{field}.{name}")
            if name == self._key:
                entities = [
                    self._entity(value, f"{field}[{row}].{name}") for row, value in enumerate(data[:, position])
                ]
            elif name in self._names:
                matrix[:, self._names.index(name)] = data[:, position]
            elif name in self._excluded:
                rule = f"{name} is excluded: {self._excluded[name]}"
                raise BeaconError("unknown_feature", rule, f"{field}.{name}")
            else:
                raise unknown_feature(name, self._names, f"{field}.{name}")
        return Ask(matrix, entities, path=field + "[{row}].{feature}")

    def of_records(self, records: list[Any], field: str) -> Ask:
        """Objects of names and numbers, one a row; a name that a row lacks is missing there."""
        columns: dict[str, None] = {}
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                raise BeaconError("invalid_type", "rows must be all objects or all lists", f"{field}[{row}]")
            for name, value in record.items():
                explain_value(name, value, f"{field}[{row}].{name}")
                columns[name] = None
        names = list(columns)
        data = np.array([[record.get(name) for name in names] for record in records], dtype=np.float64)
        return self.of_columns(names, data.reshape(len(records), len(names)), field)

    def _entity(self, value: float, field: str) -> int | None:
        if np.isnan(value):
            return None
        if not float(value).is_integer() or abs(value) > 2**53:
            raise BeaconError("invalid_entity", f"{self._key} must be a whole number", field)
        return int(value)

    def _check_count(self, count: int, field: str) -> None:
        if not 1 <= count <= self._max_rows:
            raise BeaconError("batch_too_large" if count else "invalid_body", f"send 1 to {self._max_rows} rows", field)
