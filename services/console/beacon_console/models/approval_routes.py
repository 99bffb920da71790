"""The route that approves or rejects a model that the gate judged."""

from typing import Any

from flask import Flask, redirect, request

from beacon_console.login.acting import Acting
from beacon_core.data import approvals
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.product import Product
from beacon_core.web.flask_app import root


def add_approvals(app: Flask, product: Product, database: DatabaseClient, acting: Acting) -> None:
    """Add the route that approves and rejects."""

    @app.post("/models/<version>/decision")
    def decide(version: str) -> Any:
        person = acting.person("approver")
        given = {name: request.form.get(name, "") for name in ("decision", "reason", "sha256")}
        people = product.policy.approvals.people
        with database.begin() as connection:
            approvals.decide(connection, product.name, version, person=person, **given, people=people)
        return redirect(f"{root()}/models/{version}#verdict", 303)
