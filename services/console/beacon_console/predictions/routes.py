"""The pages of single predictions."""

from typing import Any
from urllib.parse import quote

from flask import Flask, redirect, render_template, request

from beacon_console.parameters import found_or_404
from beacon_console.predictions.explanation import Failure, fetch_explanation
from beacon_console.predictions.lookup import FoundPrediction, find_prediction
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import root

MOST_SHOWN = 20
"""Contributions that the page shows at once; the others are a click away."""


def add_predictions(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the pages of predictions."""

    def find(prediction_id: str) -> FoundPrediction:
        with database.connect() as connection:
            found = find_prediction(connection, product, prediction_id) if is_client_id(prediction_id) else None
        known: FoundPrediction = found_or_404(
            found,
            f"No prediction in the log has the id {prediction_id[:64]}. A new one comes into the log within seconds.",
            "unknown_prediction",
        )
        return known

    @app.get("/predictions")
    def predictions() -> Any:
        wanted = request.args.get("id", "").strip()
        if wanted:
            return redirect(f"{root()}/predictions/{quote(wanted, safe='')}", 303)
        return render_template("predictions.html", now=clock.now())

    @app.get("/predictions/<path:prediction_id>")
    def prediction(prediction_id: str) -> str:
        return render_template("prediction.html", found=find(prediction_id), now=clock.now())

    @app.get("/predictions/<prediction_id>/explanation")
    def explanation(prediction_id: str) -> str:
        """A page of its own: an explanation takes work, which only who wants it should ask for."""
        found = find(prediction_id)
        explained = fetch_explanation(settings.inference_address, settings.api_key, found.row.id)
        failure = explained if isinstance(explained, Failure) else None
        return render_template(
            "explanation.html",
            found=found,
            explained=None if failure else explained,
            failure=failure,
            shown=MOST_SHOWN,
            now=clock.now(),
        )
