"""The one route that changes something: it approves or rejects a model that the gate judged.

Every form carries the token, typed by the person. No cookie lets another site act in somebody's name.
"""

import hmac
from typing import Any

from flask import Flask, redirect, request

from beacon_console.forms import check_form
from beacon_core.data import approvals
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import root


def add_approvals(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the route that approves and rejects."""

    @app.post("/models/<version>/decision")
    def decide(version: str) -> Any:
        _check_sender(settings)
        given = {name: request.form.get(name, "") for name in ("decision", "person", "reason", "sha256")}
        with database.begin() as connection:
            approvals.decide(connection, product.name, version, **given)
        return redirect(f"{root()}/models/{version}#verdict", 303)


def _check_sender(settings: Settings) -> None:
    """Reject a request without the token, or from another site."""
    if not settings.console_token:
        raise BeaconError("not_found", "Decisions are switched off here: BEACON_CONSOLE_TOKEN is not set.")
    check_form()
    if not hmac.compare_digest(request.form.get("token", "").encode(), settings.console_token.encode()):
        raise BeaconError("unauthorized", "The token is not the right one. Nothing was decided.", "token")
