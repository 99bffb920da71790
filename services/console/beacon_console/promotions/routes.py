"""The ledger's pages."""

from flask import Flask, render_template, request

from beacon_console.promotions.queries import ROWS, Run, grouped, moment_of, served
from beacon_console.reading import Store
from beacon_core.data import ledger
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform import clock


def add_promotions(app: Flask, product: Product, store: Store) -> None:
    """Add the pages of the ledger."""

    @app.get("/promotions")
    def promotions() -> str:
        now = clock.now()
        moment = moment_of(request.args.get("at", "").strip())
        with store.reading() as connection:
            runs = grouped(ledger.history(connection, product.name, ROWS))
            current = served(connection, product, now)
            then = None if moment is None else served(connection, product, moment)
        return render_template("promotions.html", runs=runs, current=current, then=then, now=now)

    @app.get("/promotions/<name>")
    def promotion(name: str) -> str:
        with store.reading() as connection:
            rows = ledger.history(connection, product.name, ROWS, run=name)
        if not rows:
            raise BeaconError("not_found", f"There is no promotion {name[:64]} in the ledger.")
        return render_template("promotion.html", run=Run(rows[::-1]), now=clock.now())
