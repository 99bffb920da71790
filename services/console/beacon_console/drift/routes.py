"""The pages of drift: the runs, one run, and its report."""

from flask import Flask, Response, render_template

from beacon_console.drift import queries as drift
from beacon_console.parameters import MAIN_WINDOW, chosen, known, windows_of
from beacon_console.reading import Store
from beacon_core.domain.product import Product
from beacon_core.platform import clock

# The report brings its own style and pictures, and nothing else; it cannot act in the console's name.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


def add_drift(app: Flask, product: Product, store: Store) -> None:
    """Add the pages of drift."""
    windows = windows_of(product)

    @app.get("/drift")
    def drift_runs() -> str:
        with store.reading() as connection:
            runs = drift.runs_of(connection)
        return render_template("drift_runs.html", runs=runs, now=clock.now())

    @app.get("/drift/<period>")
    def drift_run(period: str) -> str:
        window = chosen("window", windows, MAIN_WINDOW)
        with store.reading() as connection:
            run = known(drift.run_of(connection, period), f"There is no drift run {period[:64]}.")
            results = drift.results_of(connection, period)
            figures = drift.figures_of(connection, period)
            has_report = drift.report_of(connection, period) is not None
        return render_template(
            "drift_run.html",
            now=clock.now(),
            run=run,
            window=window,
            windows_of=windows,
            results=sorted((result for result in results if result.window == window), key=excess, reverse=True),
            figures=figures,
            has_report=has_report,
        )

    @app.get("/drift/<period>/report")
    def drift_report(period: str) -> Response:
        with store.reading() as connection:
            found = drift.report_of(connection, period)
        report = known(found, f"There is no report of a drift run {period[:64]}; old ones are not kept.")
        response = Response(report, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response


def excess(result: drift.Result) -> float:
    """Return the score as a multiple of its threshold."""
    return (result.score or 0.0) / (result.threshold or 1.0)
