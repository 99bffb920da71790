"""The pages of single predictions."""

from typing import Any
from urllib.parse import quote

from flask import Flask, redirect, render_template, request

from beacon_console.parameters import found_or_404
from beacon_console.predictions.lookup import find_prediction
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.web.flask_app import root


def add_predictions(app: Flask, product: Product, database: DatabaseClient) -> None:
    """Add the pages of predictions."""

    @app.get("/predictions")
    def predictions() -> Any:
        wanted = request.args.get("id", "").strip()
        if wanted:
            return redirect(f"{root()}/predictions/{quote(wanted, safe='')}", 303)
        return render_template("predictions.html", now=clock.now())

    @app.get("/predictions/<path:prediction_id>")
    def prediction(prediction_id: str) -> str:
        with database.connect() as connection:
            found = find_prediction(connection, product, prediction_id) if is_client_id(prediction_id) else None
        found = found_or_404(
            found,
            f"No prediction in the log has the id {prediction_id[:64]}. A new one comes into the log within seconds.",
            "unknown_prediction",
        )
        return render_template("prediction.html", found=found, now=clock.now())
