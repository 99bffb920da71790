"""Parses rows and named columns, as standard protocols send them, into the matrix."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.entity_key import EntityKey, EntityKeyError, key_of
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Feature, Product
from beacon_inference.matrix import Matrix
from beacon_inference.prediction.encoding import ValueEncoder, encode_value
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.values import check_body_values, unknown_features
from beacon_inference.protocols.json_text import decode, nan_as_null, plain, rows

Column = Sequence[Any] | Matrix
"""The values of one column: as clients have them, None where one is missing, or numbers, NaN where one is missing."""
ExactKeys = Callable[[str], Sequence[Any]]
"""The values of a column of keys, whole numbers as int."""
LONGEST_LIST = 500
"""The longest list of names in an error."""


class TableParser:
    """Builds the inputs from rows in feature order, or from named columns (those of the entity's key may be there)."""

    def __init__(self, product: Product, max_rows: int) -> None:
        self.product = product
        self._names = product.feature_names
        self._positions = {name: position for position, name in enumerate(self._names)}
        self._kinds = dict(product.entity.columns) if product.entity else {}
        self._texts = ValueEncoder(product).texts
        self.max_rows = max_rows

    def decode(self, body: bytes, kind: type[Any], *, nan_is_null: bool = False) -> Any:
        """Decode a JSON body as `decode` does; raises BeaconError `body_too_large` for one with too many values."""
        check_body_values(body, self.product, self.max_rows)
        return decode(nan_as_null(body) if nan_is_null else body, kind)

    def of_matrix(self, matrix: Matrix, field: str) -> PredictionInputs:
        """Rows of numbers, in feature order."""
        self._check_width(matrix.shape[1], field)
        self.check_count(len(matrix), field)
        path = field + "[{row}].{feature}"
        if not self._texts:
            return PredictionInputs(matrix, path=path)
        return self.of_columns(self._names, list(matrix.T), len(matrix), field)

    def of_rows(self, raw: msgspec.Raw, field: str) -> PredictionInputs:
        """Rows whose values are in feature order."""
        found = rows(raw, field)
        self.check_count(len(found), field)
        if isinstance(found, np.ndarray):
            return self.of_matrix(found, field)
        self._check_width(len(found[0]), field)
        return self.of_columns(self._names, list(zip(*found, strict=True)), len(found), field)

    def of_split(self, names: Sequence[str], raw: msgspec.Raw, field: str) -> PredictionInputs:
        """Named columns, whose values come in rows."""
        found = rows(raw, field)
        self.check_count(len(found), field)
        if len(found[0]) != len(names):
            raise BeaconError("invalid_shape", f"rows must have {len(names)} values, as columns has names", field)
        columns: Sequence[Column] = list(found.T) if isinstance(found, np.ndarray) else list(zip(*found, strict=True))

        def exact_keys(name: str) -> Sequence[Any]:
            at = names.index(name)
            return [row[at] for row in plain(raw, exactly=True)]

        return self.of_columns(names, columns, len(found), field, exact_keys)

    def of_records(
        self, raw: msgspec.Raw, field: str, records_of: Callable[[Any], Any] = lambda found: found
    ) -> PredictionInputs:
        """Objects of names and values, one per row, which `records_of` makes of what is decoded.

        A name that a row lacks is missing there.
        """
        records = records_of(plain(raw))
        if not isinstance(records, list):
            raise BeaconError("invalid_body", "must be a list of objects", field)
        self.check_count(len(records), field)
        names: dict[str, None] = {}
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                raise BeaconError("invalid_type", "rows must be all objects or all lists", f"{field}[{row}]")
            if unknown := self.unknown(record, f"{field}[{row}]"):
                raise unknown
            names |= dict.fromkeys(record)

        def exact_keys(name: str) -> Sequence[Any]:
            return [record.get(name) for record in records_of(plain(raw, exactly=True))]

        columns = [[record.get(name) for record in records] for name in names]
        return self.of_columns(list(names), columns, len(records), field, exact_keys)

    def of_columns(
        self,
        names: Sequence[str],
        columns: Sequence[Column],
        count: int,
        field: str,
        exact_keys: ExactKeys | None = None,
    ) -> PredictionInputs:
        """Named columns of `count` rows. `exact_keys` reads a key again where a column has it as floats."""
        self.check_count(count, field)
        if unknown := self.unknown(names, field):
            raise unknown
        given = dict(zip(names, columns, strict=True))
        if len(given) < len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise BeaconError("invalid_shape", f"column {twice[:64]} appears twice", f"{field}.{twice}"[:128])
        path = field + "[{row}].{feature}"
        matrix = np.full((count, len(self._names)), np.nan)
        texts: dict[tuple[int, int], str] = {}
        for name, column in given.items():
            position = self._positions.get(name)
            if position is not None:
                text = self._texts.get(position)
                if text is None:
                    matrix[:, position] = _numbers(self.product.features[position], column, path)
                else:
                    matrix[:, position] = [
                        text.encode(value, row, path, texts) for row, value in enumerate(_list(column))
                    ]
        entities = self._entities(given, field, exact_keys)
        return PredictionInputs(matrix, entities, path=path, entity_path=path, texts=texts)

    def is_key(self, name: str) -> bool:
        """Whether a column is one of the entity's key."""
        return name in self._kinds

    def is_text_key(self, name: str) -> bool:
        """Whether a column of the entity's key is text."""
        return self._kinds.get(name) == "text"

    def feature(self, name: str) -> Feature | None:
        """The feature of this name, if there is one."""
        position = self._positions.get(name)
        return None if position is None else self.product.features[position]

    def unknown(self, names: Iterable[str], field: str) -> BeaconError | None:
        """Return one BeaconError for all columns that are neither features nor keys; None where all are."""
        return unknown_features([name for name in names if name not in self._kinds], self.product, field)

    def check_count(self, count: int, field: str) -> None:
        """Raise BeaconError for a request without rows, or with too many."""
        if not 1 <= count <= self.max_rows:
            raise BeaconError("batch_too_large" if count else "invalid_body", f"send 1 to {self.max_rows} rows", field)

    def _check_width(self, width: int, field: str) -> None:
        if width != len(self._names):
            shown = ", ".join(self._names)
            order = shown if len(shown) < LONGEST_LIST else "of product.yaml"
            raise BeaconError("invalid_shape", f"rows must have {len(self._names)} values, in the order {order}", field)

    def _entities(
        self, given: dict[str, Column], field: str, exact_keys: ExactKeys | None
    ) -> list[EntityKey | None] | None:
        """The entities of the rows; None where the request has no key.

        A column that is a key and a feature is a key where the others of the key are there, too.
        """
        entity, keys = self.product.entity, [name for name in self._kinds if name in given]
        if entity is None or all(name in self._positions for name in keys):
            return None
        if missing := [name for name in self._kinds if name not in given]:
            raise BeaconError("invalid_entity", f"the key needs {missing[0]}, too", f"{field}.{missing[0]}")
        columns = []
        for name in keys:
            values = _list(given[name])
            columns.append(exact_keys(name) if exact_keys is not None and float in map(type, values) else values)
        found: list[EntityKey | None] = []
        for row, key in enumerate(zip(*columns, strict=True)):
            if key.count(None) == len(key):
                found.append(None)
                continue
            try:
                found.append(key_of(entity, dict(zip(keys, key, strict=True))))
            except EntityKeyError as error:
                place = f"{field}[{row}].{error.column}" if error.column else f"{field}[{row}]"
                raise BeaconError("invalid_entity", str(error), place) from None
        return found


def _list(column: Column) -> Sequence[Any]:
    if isinstance(column, np.ndarray):
        return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN
    return column


def _numbers(feature: Feature, column: Column, path: str) -> Matrix:
    """The numbers of a column that is no text; raises BeaconError, whose field is `path`, for a value of another type.

    A number that is neither true nor false is refused later, as one out of range is.
    """
    if isinstance(column, np.ndarray):
        return column
    try:
        kind = list[bool | float | None] if feature.type == "bool" else list[float | None]
        return np.array(msgspec.convert(column, kind), dtype=np.float64)
    except (msgspec.ValidationError, OverflowError):  # walk the values once more, to name the bad one
        return np.array([encode_value(feature, value, path, row) for row, value in enumerate(column)])
