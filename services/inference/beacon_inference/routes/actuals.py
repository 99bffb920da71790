"""Parses the actuals of a request: one or many, by prediction id or by entity and time."""

from datetime import datetime
from typing import Any

from beacon_core.domain.actuals import Actual
from beacon_core.domain.entity_key import key_text
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.domain.times import error_code, read_past_time
from beacon_core.platform import clock
from beacon_inference.prediction.values import NO_ENTITY, check_client_id, parse_target_value, read_entity
from beacon_inference.protocols.messages import ActualRequest

KEYS = ActualRequest.__struct_fields__


def parse_actuals(body: Any, product: Product, max_rows: int) -> list[Actual]:
    """Read `{"actuals": [...]}` or a single one; raises BeaconError that names the item, the key and the rule."""
    if not isinstance(body, dict):
        raise BeaconError("invalid_body", 'send an object: {"actuals": [...]} or one actual')
    if "actuals" not in body:
        return [_actual(body, product, "")]
    if set(body) != {"actuals"} or not isinstance(body["actuals"], list):
        raise BeaconError("invalid_body", "actuals must be a list, and the only key", "actuals")
    items = body["actuals"]
    if not 1 <= len(items) <= max_rows:
        raise BeaconError("batch_too_large" if items else "invalid_body", f"send 1 to {max_rows} actuals", "actuals")
    return [_actual(item, product, f"actuals[{index}].") for index, item in enumerate(items)]


def _actual(item: Any, product: Product, prefix: str) -> Actual:
    if not isinstance(item, dict):
        raise BeaconError("invalid_body", "must be an object", prefix.rstrip("."))
    for key in item:
        if key not in KEYS:
            raise BeaconError("invalid_body", f"unknown key; known are {', '.join(KEYS)}", f"{prefix}{key}"[:128])
    item = {key: value for key, value in item.items() if value is not None}
    if "entity" in item and product.entity is None:
        raise BeaconError("invalid_entity", NO_ENTITY, f"{prefix}entity")
    by_id, by_entity = "prediction_id" in item, "entity" in item
    if by_id == by_entity:
        raise BeaconError(
            "invalid_body", "name either a prediction_id, or an entity and observed_at", f"{prefix}entity"
        )
    source = item.get("source", "api")
    if not isinstance(source, str):
        raise BeaconError("invalid_type", "source must be a string", f"{prefix}source")
    check_client_id(source, f"{prefix}source")
    observed_at = _time(item["observed_at"], f"{prefix}observed_at") if "observed_at" in item else None
    if by_entity and observed_at is None:
        raise BeaconError("invalid_body", "an actual of an entity needs its time", f"{prefix}observed_at")
    return Actual(
        value=parse_target_value(item.get("value"), product, f"{prefix}value"),
        observed_at=observed_at or clock.now(),
        source=source,
        prediction_id=_id(item["prediction_id"], f"{prefix}prediction_id") if by_id else None,
        entity=key_text(read_entity(item["entity"], product, f"{prefix}entity")) if by_entity else None,
    )


def _id(prediction_id: Any, field: str) -> str:
    if not isinstance(prediction_id, str):
        raise BeaconError("invalid_type", "must be a string", field)
    check_client_id(prediction_id, field)
    return prediction_id


def _time(text: Any, field: str) -> datetime:
    try:
        return read_past_time(text, clock.now())
    except ValueError as error:
        raise BeaconError(error_code(error), str(error), field) from None
