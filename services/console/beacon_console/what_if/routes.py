"""The form that asks the model in service about a row that somebody makes up.

Whoever may read the console may ask: the answer is neither logged nor counted. It costs inference work, so all readers
together may ask twice a second.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask, render_template, request

from beacon_console.forms import check_form
from beacon_console.inference_api import Failure, InferenceApi
from beacon_console.parameters import found_or_404, query_text
from beacon_console.predictions.lookup import FoundPrediction, find_prediction
from beacon_console.what_if.answer import WhatIf, ask
from beacon_console.what_if.fields import field_name, fields_of, read_values, texts_of
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.product import Product
from beacon_core.domain.quotas import Meter, Quota
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings

MOST_BYTES = 1 << 20
"""Of the form: a product may have two thousand features."""
PER_SECOND = 2.0
SHOWN = 20
"""Fields and rows that are shown at once; the others are a click away."""


def add_what_if(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the page."""
    inference = InferenceApi(settings.inference_address, settings.api_key)
    meter, lock = Meter(Quota(requests_per_second=PER_SECOND)), threading.Lock()

    def original() -> FoundPrediction | None:
        name = query_text("from", 64)
        if name is None:
            return None
        with database.connect() as connection:
            found = find_prediction(connection, product, name) if is_client_id(name) else None
        known: FoundPrediction = found_or_404(
            found, f"No prediction in the log has the id {name}.", "unknown_prediction"
        )
        return known

    @app.get("/what-if")
    def what_if() -> str:
        found = original()
        start = {feature.name: feature.example for feature in product.features}
        return page(found, texts_of(start if found is None else found.row.features), {}, None)

    @app.post("/what-if")
    def what_if_asked() -> Any:
        request.max_content_length = MOST_BYTES
        check_form()
        found = original()
        texts = {name: request.form.get(field_name(at), "") for at, name in enumerate(product.feature_names)}
        values, errors = read_values(product, texts)
        if errors:
            return page(found, texts, errors, None), 422
        with lock:
            excess = meter.take_request(time.monotonic(), clock.timestamp())
        if excess is not None:
            raise BeaconError("quota_exceeded", "Too many ask at once; try again in a second.", retry_after=1)
        logged = None if found is None else (found.row.id, found.row.features)
        answered = ask(inference, product, values, logged)
        if isinstance(answered, Failure) and answered.field in product.feature_names:
            return page(found, texts, {str(answered.field): answered.reason}, None), 422
        return page(found, texts, {}, answered)

    def page(
        found: FoundPrediction | None,
        texts: Mapping[str, str],
        errors: Mapping[str, str],
        answered: WhatIf | Failure | None,
    ) -> str:
        return render_template(
            "what_if.html",
            found=found,
            fields=fields_of(product, texts, errors),
            errors=errors,
            answered=None if isinstance(answered, Failure) else answered,
            failure=answered if isinstance(answered, Failure) else None,
            shown=SHOWN,
            now=clock.now(),
        )
