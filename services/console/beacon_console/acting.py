"""The one thing the console changes: a person's decision on a model that the gate let pass.

Every form carries the token itself, typed by the person: no cookie lets another site act in somebody's name.
"""

import hmac
from typing import Any

from flask import Flask, redirect, request

from beacon_console import decisions
from beacon_console.reading import Store
from beacon_core.errors import BeaconError
from beacon_core.product import Product
from beacon_core.settings import Settings

FORM = frozenset({"application/x-www-form-urlencoded"})
LENGTHS = {"person": 64, "reason": 500}


def add_decisions(app: Flask, settings: Settings, product: Product, store: Store) -> None:
    """Add the route that approves and rejects."""

    @app.post("/models/<version>/decision")
    def decide(version: str) -> Any:
        _check_sender(settings)
        decision = request.form.get("decision", "")
        if decision not in {decisions.APPROVED, decisions.REJECTED}:
            raise BeaconError("invalid_body", "decision must be approved or rejected.", "decision")
        person, reason = (_text(name) for name in LENGTHS)
        with store.writing() as connection:
            newest = next(iter(decisions.verdicts_of(connection, product, version)), None)
            if newest is None or newest.outcome != decisions.PASS:
                raise BeaconError(
                    "not_found", f"No verdict lets model {version[:64]} pass, so there is nothing to decide."
                )
            if request.form.get("sha256") != newest.sha256:
                rule = f"Another package of model {version[:64]} was judged meanwhile. Read its verdict first."
                raise BeaconError("idempotency_conflict", rule, "sha256")
            decisions.decide(connection, product, newest, decision, person, reason)
        return redirect(f"/models/{newest.version}#verdict", 303)


def _check_sender(settings: Settings) -> None:
    """Refuse whoever has no token, and what another site sent."""
    if not settings.console_token:
        raise BeaconError("not_found", "Decisions are switched off here: BEACON_CONSOLE_TOKEN is not set.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise BeaconError("unauthorized", "This form was sent by another site.")
    if request.mimetype not in FORM:
        raise BeaconError("unsupported_media_type", "Send the form of the model's page.", "Content-Type")
    if not hmac.compare_digest(request.form.get("token", "").encode(), settings.console_token.encode()):
        raise BeaconError("unauthorized", "The token is not the right one. Nothing was decided.", "token")


def _text(name: str) -> str:
    text = request.form.get(name, "").strip()
    if not text or len(text) > LENGTHS[name] or not text.isprintable():
        raise BeaconError("invalid_body", f"{name} must be 1 to {LENGTHS[name]} characters on one line.", name)
    return text
