"""Parses Beacon's own JSON bodies, one row and batches, directly into the matrix.

The parser is built from product.yaml and checks types alone. When it refuses a body, a second and slower pass finds the
field and the rule.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from beacon_core.domain.entity_key import EntityKey
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.product import Product
from beacon_inference.prediction.encoding import ValueEncoder
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.values import (
    UNREADABLE,
    check_body_values,
    check_client_id,
    explain_features,
    read_entity,
    read_leniently,
)
from beacon_inference.protocols.native_types import batch_type, entity_type, row_type


class NativeParser:
    """Parses `{"features": {...}, "entity": {...}, "prediction_id": "..."}` and `{"rows": [...]}`."""

    def __init__(self, product: Product, max_rows: int) -> None:
        self._product = product
        self._encoder = ValueEncoder(product)
        self._max_rows = max_rows
        row = row_type(product, entity_type(product))
        batch = batch_type(row, max_rows)
        self._decode_row: Callable[[bytes], Any] = msgspec.json.Decoder(row, float_hook=whole_or_float).decode
        self._decode_batch: Callable[[bytes], Any] = msgspec.json.Decoder(batch, float_hook=whole_or_float).decode
        self._nothing = (None,) * len(product.features)

    def row(self, body: bytes) -> PredictionInputs:
        """Parse one row; raises BeaconError."""
        check_body_values(body, self._product)
        try:
            row = self._decode_row(body)
        except UNREADABLE as error:
            self._explain_row(read_leniently(body, error), "")
            raise BeaconError("invalid_body", str(error)) from error
        values = self._nothing if row.features is None else msgspec.structs.astuple(row.features)
        matrix, texts = self._encoder.encode([values], "features.{feature}")
        if row.prediction_id is not None:
            check_client_id(row.prediction_id, "prediction_id")
        return PredictionInputs(
            matrix,
            None if row.entity is None else [self._entity(row.entity, "entity")],
            None if row.prediction_id is None else [row.prediction_id],
            texts=texts,
        )

    def batch(self, body: bytes) -> PredictionInputs:
        """Parse up to `max_rows` rows; raises BeaconError that names a bad row by its index."""
        check_body_values(body, self._product, self._max_rows)
        try:
            rows = self._decode_batch(body).rows
        except UNREADABLE as error:
            self._explain_batch(read_leniently(body, error))
            raise BeaconError("invalid_body", str(error)) from error
        self._check_count(len(rows))
        nothing, astuple, path = self._nothing, msgspec.structs.astuple, "rows[{row}].features.{feature}"
        values = [nothing if row.features is None else astuple(row.features) for row in rows]
        matrix, texts = self._encoder.encode(values, path)
        entities = prediction_ids = None
        given = [row.entity for row in rows]
        if given.count(None) < len(rows):
            entities = [
                None if entity is None else self._entity(entity, f"rows[{index}].entity")
                for index, entity in enumerate(given)
            ]
        names = [row.prediction_id for row in rows]
        if names.count(None) < len(rows):
            prediction_ids = names
            _check_distinct_ids(prediction_ids)
        return PredictionInputs(
            matrix,
            entities,
            prediction_ids,
            path=path,
            entity_path="rows[{row}].entity.{feature}",
            id_path="rows[{row}].prediction_id",
            texts=texts,
        )

    def _entity(self, entity: Any, field: str) -> EntityKey:
        named = dict(zip(self._product.keys, msgspec.structs.astuple(entity), strict=True))
        return read_entity(named, self._product, field)

    def _check_count(self, count: int) -> None:
        if not 1 <= count <= self._max_rows:
            raise BeaconError(
                "batch_too_large" if count else "invalid_body", f"send 1 to {self._max_rows} rows", "rows"
            )

    def _explain_batch(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise BeaconError("invalid_body", 'send an object: {"rows": [...]}')
        _refuse_unknown(body, ("rows",), "")
        rows = body.get("rows")
        if not isinstance(rows, list):
            raise BeaconError("invalid_body", "rows must be a list", "rows")
        self._check_count(len(rows))
        for index, row in enumerate(rows):
            self._explain_row(row, f"rows[{index}].")

    def _explain_row(self, row: Any, prefix: str) -> None:
        if not isinstance(row, dict):
            raise BeaconError("invalid_body", 'send an object: {"features": {...}}', prefix.rstrip(".") or None)
        _refuse_unknown(row, ("features", "entity", "prediction_id"), prefix)
        explain_features(row.get("features"), self._product, f"{prefix}features")
        if row.get("entity") is not None:
            read_entity(row["entity"], self._product, f"{prefix}entity")
        if not isinstance(row.get("prediction_id"), str | None):
            raise BeaconError("invalid_type", "prediction_id must be a string", f"{prefix}prediction_id")


def _check_distinct_ids(prediction_ids: list[str | None]) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(prediction_ids):
        if name is None:
            continue
        field = f"rows[{index}].prediction_id"
        check_client_id(name, field)
        if name in seen:
            raise BeaconError("invalid_id", f"prediction_id is the same as in rows[{seen[name]}]", field)
        seen[name] = index


def _refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
    for key in body:
        if key not in known:
            raise BeaconError(
                "invalid_body", f"unknown key {key[:64]}; known are {', '.join(known)}", f"{prefix}{key}"[:128]
            )
