"""The one route that changes something: it approves or rejects a model that the gate judged.

Where the console has a login, that says whose decision it is, and a form's hidden token keeps out other sites' forms.
Where it has none, every form carries the shared token, typed by the person: no other site can send it.
"""

from typing import Any

from flask import Flask, redirect, request

from beacon_console.forms import check_form
from beacon_console.login.attempts import Attempts
from beacon_console.login.people import current_person, require_role
from beacon_console.login.proxies import client_address
from beacon_core.data import approvals
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import current_request, root


def add_approvals(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the route that approves and rejects."""
    attempts = Attempts()

    @app.post("/models/<version>/decision")
    def decide(version: str) -> Any:
        check_form()
        person = require_role("approver")
        if person is None:
            _check_token(settings, attempts)
        given = {name: request.form.get(name, "") for name in ("decision", "person", "reason", "sha256")}
        if person is not None:
            given["person"] = person.name
        people = product.policy.approvals.people
        with database.begin() as connection:
            approvals.decide(connection, product.name, version, **given, people=people)
        return redirect(f"{root()}/models/{version}#verdict", 303)

    def may_decide() -> bool:
        person = current_person()
        return bool(settings.console_token) if person is None else person.may("approver")

    app.jinja_env.globals["may_decide"] = may_decide


def _check_token(settings: Settings, attempts: Attempts) -> None:
    """Reject a request without the shared token."""
    if not settings.console_token:
        raise BeaconError("not_found", "Decisions are switched off here: BEACON_CONSOLE_TOKEN is not set.")
    address = client_address(current_request(), settings)
    attempts.judge(address, request.form.get("token", ""), settings.console_token)
