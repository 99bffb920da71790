"""The ledger's pages."""

from flask import Flask, render_template

from beacon_console.parameters import query_time
from beacon_console.promotions.runs import ROWS, PromotionRun, group_runs, served_at
from beacon_core.data import ledger
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform import clock


def add_promotions(app: Flask, product: Product, database: DatabaseClient) -> None:
    """Add the pages of the ledger."""

    @app.get("/promotions")
    def promotions() -> str:
        now = clock.now()
        moment = query_time("at")
        with database.connect() as connection:
            runs = group_runs(ledger.history(connection, product.name, ROWS))
            current = served_at(connection, product, now)
            then = None if moment is None else served_at(connection, product, moment)
        return render_template("promotions.html", runs=runs, current=current, then=then, now=now)

    @app.get("/promotions/<name>")
    def promotion(name: str) -> str:
        with database.connect() as connection:
            rows = ledger.history(connection, product.name, ROWS, run=name)
        if not rows:
            raise BeaconError("not_found", f"There is no promotion {name[:64]} in the ledger.")
        return render_template("promotion.html", run=PromotionRun(rows[::-1]), now=clock.now())
