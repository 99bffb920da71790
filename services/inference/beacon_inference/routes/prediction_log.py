"""The routes of the prediction log: one prediction by its id, and the actuals that join it."""

from typing import Any

import msgspec
from flask import Flask, jsonify

from beacon_core.domain.actuals import LoggedActual
from beacon_core.domain.api_keys import Scope
from beacon_core.domain.entity_key import EntityKeyError, KeyValue, parse_key
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.features import request_features, store_features
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_core.spool.record import Record, made_at
from beacon_core.web.access import AccessControl
from beacon_core.web.flask_app import current_request, json_body
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction_log.log import PredictionLog
from beacon_inference.protocols.messages import (
    ActualsResponse,
    LoggedActualResponse,
    LoggedPredictionResponse,
    ShadowPrediction,
)
from beacon_inference.protocols.serializer import Serializer
from beacon_inference.routes.actuals import parse_actuals

FLASK_SCOPES: dict[str, Scope] = {"/v1/predictions/<prediction_id>": "read_log", "/v1/actuals": "actuals"}
"""What an API key needs for each of the routes."""


def add_log(
    app: Flask,
    settings: Settings,
    access: AccessControl,
    models: Models,
    log: PredictionLog,
    serializers: PerProduct[Serializer],
) -> None:
    """Add the routes; they need an API key when one is set."""

    @app.get("/v1/predictions/<prediction_id>")
    def prediction(prediction_id: str) -> Any:
        access.check(current_request(), "read_log")
        if not is_client_id(prediction_id):
            raise _unknown(prediction_id, "prediction_id", models.product)
        found = log.wait(log.find([prediction_id], actuals=True))
        if prediction_id not in found.records:
            raise _unknown(prediction_id, "prediction_id", models.product)
        product = models.product
        record, actual = found.records[prediction_id], found.actuals.get(prediction_id)
        return jsonify(_described(record, actual, serializers(product), product))

    @app.post("/v1/actuals")
    def actuals() -> Any:
        access.check(current_request(), "actuals")
        product = models.product
        body = json_body(settings.max_batch_rows)
        items = parse_actuals(body, product, settings.max_batch_rows)
        added = log.wait(log.add_actuals(items))
        if added.unknown is not None:
            prefix = f"actuals[{added.unknown}]." if "actuals" in body else ""
            raise _unknown(str(items[added.unknown].prediction_id), f"{prefix}prediction_id", product)
        outcomes = added.outcomes
        return jsonify(ActualsResponse(outcomes, len(outcomes) - outcomes.count("duplicate")))


def _unknown(prediction_id: str, field: str, product: Product) -> BeaconError:
    share = product.policy.logging.share
    rule = f"no prediction has the id {prediction_id[:64]}"
    if share < 1:
        rule += f" in the log, which keeps a share of {share:g} of them (logging.share of policy.yaml)"
    return BeaconError("unknown_prediction", rule, field)


def _described(
    record: Record, actual: LoggedActual | None, serializer: Serializer, product: Product
) -> LoggedPredictionResponse:
    """The answer that was given, and the rest of the record of one prediction."""
    names = record.names  # the product may have others by now
    (answer,), (values,) = serializer.responses(record), record.values()
    known = dict(zip(names, values, strict=True))
    stored = None if record.from_store is None else [names[column] for column in record.from_store.get(0, ())]
    shadow = None if record.shadow is None else ShadowPrediction(str(record.shadow_version), record.shadow[0])
    return LoggedPredictionResponse(
        **msgspec.structs.asdict(answer),
        time=made_at(record),
        entity=_entity(record, product),
        features=dict.fromkeys(names) | request_features(known, stored),
        served=None if stored is None else dict.fromkeys(names) | store_features(known, stored),
        shadow=shadow,
        latency_seconds=record.latency,
        request_id=record.request_id,
        trace_id=record.trace_id,
        client=record.client,
        actual=None if actual is None else LoggedActualResponse(**actual._asdict()),
    )


def _entity(record: Record, product: Product) -> dict[str, KeyValue] | None:
    """The entity by the columns of its key; a key of an earlier product is one text."""
    text = None if record.entities is None else record.entities[0]
    if text is None:
        return None
    try:
        return (
            dict(zip(product.keys, parse_key(product.entity, text), strict=True)) if product.entity else {"key": text}
        )
    except EntityKeyError:
        return {"key": text}
