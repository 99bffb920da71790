"""The pages of drift: the runs, one run, and its report."""

import re

from flask import Flask, Response, render_template

from beacon_console.downloads.answer import File, Form
from beacon_console.drift.table import table_of
from beacon_console.parameters import found_or_404, main_window, query_choice, windows_of
from beacon_core.data import drift_results
from beacon_core.data.client import DatabaseClient
from beacon_core.data.drift_results import DriftResult
from beacon_core.domain.product import Product
from beacon_core.platform import clock

FILE_NAME = re.compile(r"[^A-Za-z0-9]+")
RECENT = 100
"""Runs shown on the list."""
# The report needs its own inline style and pictures only; the sandbox keeps it from acting as the console.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


def add_drift(app: Flask, product: Product, database: DatabaseClient) -> None:
    """Add the pages of drift."""
    windows = windows_of(product)

    @app.get("/drift")
    def drift_runs() -> str:
        with database.connect() as connection:
            runs = drift_results.newest_runs(connection, RECENT)
        return render_template("drift_runs.html", runs=runs, days=product.policy.drift.windows_days, now=clock.now())

    @app.get("/drift/<period>")
    def drift_run(period: str) -> str:
        window = query_choice("window", windows, main_window(product))
        with database.connect() as connection:
            run = found_or_404(drift_results.run_of(connection, period), f"There is no drift run {period[:64]}.")
            results = drift_results.results_of(connection, period)
            figures = drift_results.figures_of(connection, period)
            has_report = drift_results.report_of(connection, period) is not None
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

    @app.get("/drift/<period>/results.<any(csv, parquet):form>")
    def drift_file(period: str, form: Form) -> Response:
        """Every comparison of the run, in all windows."""
        with database.connect() as connection:
            found_or_404(drift_results.run_of(connection, period), f"There is no drift run {period[:64]}.")
            results = drift_results.results_of(connection, period)
        return File(table_of(period, results), form).answer(f"drift-{FILE_NAME.sub('-', period)}")

    @app.get("/drift/<period>/report")
    def drift_report(period: str) -> Response:
        with database.connect() as connection:
            found = drift_results.report_of(connection, period)
        report = found_or_404(found, f"There is no report of a drift run {period[:64]}; old ones are not kept.")
        response = Response(report, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response


def excess(result: DriftResult) -> float:
    """Return the score as a multiple of its threshold."""
    return (result.score or 0.0) / (result.threshold or 1.0)
