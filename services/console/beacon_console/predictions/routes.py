"""The pages of single predictions."""

from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, Response, redirect, render_template, request

from beacon_console.downloads.answer import File, Form
from beacon_console.inference_api import Failure, InferenceApi
from beacon_console.parameters import found_or_404
from beacon_console.predictions.filters import BOTH_WAYS, position_text, read_filter, read_position
from beacon_console.predictions.lookup import FoundPrediction, entity_text, find_prediction, missing_sentence
from beacon_console.predictions.table import LogReader, most_lines, table_of
from beacon_core.data.client import DatabaseClient
from beacon_core.data.prediction_log import log_pages, traffic
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import root

MOST_SHOWN = 20
"""Contributions that the page shows at once; the others are a click away."""
ON_A_PAGE = 50
"""Predictions on a page of the list."""


def add_predictions(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the pages of predictions."""
    inference = InferenceApi(settings.inference_address, settings.api_key)

    def find(prediction_id: str) -> FoundPrediction:
        with database.connect() as connection:
            found = find_prediction(connection, product, prediction_id) if is_client_id(prediction_id) else None
            why_not = "" if found is not None else missing_sentence(connection, prediction_id)
        known: FoundPrediction = found_or_404(found, why_not, "unknown_prediction")
        return known

    @app.get("/predictions")
    def predictions() -> Any:
        wanted = request.args.get("id", "").strip()
        if wanted:
            return redirect(f"{root()}/predictions/{quote(wanted, safe='')}", 303)
        chosen, after = read_filter(product.entity), read_position()
        with database.connect() as connection:
            page = log_pages.page_of(connection, chosen.wanted, after, ON_A_PAGE)
        following = None if page.following is None else position_text(page.following)
        return render_template(
            "predictions.html",
            page=page,
            entities={line.id: entity_text(product.entity, line.entity) for line in page.lines},
            given=chosen.given,
            ways=BOTH_WAYS,
            is_first=after is None,
            query=urlencode(chosen.given),
            next_query=urlencode(chosen.given | {"after": following}) if following else "",
            most=most_lines(product),
            now=clock.now(),
        )

    @app.get("/predictions.<any(csv, parquet):form>")
    def predictions_file(form: Form) -> Response:
        """What the list's filter lets pass, the newest first; the file's name says where it was cut."""
        chosen, after = read_filter(product.entity), read_position()
        with database.connect() as connection:
            reader = LogReader(connection, chosen.wanted, after, most_lines(product))
            file = File(table_of(product, reader.pages()), form)
        return file.answer(f"predictions-newest-{reader.count}" if reader.is_cut else "predictions")

    @app.get("/predictions/<path:prediction_id>")
    def prediction(prediction_id: str) -> str:
        found = find(prediction_id)
        with database.connect() as connection:
            current = traffic.current_version(connection, traffic.versions(connection))
        return render_template("prediction.html", found=found, current=current, now=clock.now())

    @app.get("/predictions/<prediction_id>/explanation")
    def explanation(prediction_id: str) -> str:
        """A page of its own: an explanation takes work, which only who wants it should ask for."""
        found = find(prediction_id)
        explained = inference.explain_logged(found.row.id)
        failure = explained if isinstance(explained, Failure) else None
        return render_template(
            "explanation.html",
            found=found,
            explained=None if failure else explained,
            failure=failure,
            shown=MOST_SHOWN,
            now=clock.now(),
        )
