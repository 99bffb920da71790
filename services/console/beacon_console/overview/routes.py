"""The front page: whether the product is healthy, and why not."""

from flask import Flask, render_template

from beacon_console.drift.trend import trend_periods
from beacon_console.overview import facts, health, inference
from beacon_console.overview.drift_table import drift_rows
from beacon_console.parameters import main_window, query_choice, windows_of
from beacon_core.data import drift_results
from beacon_core.data.client import DatabaseClient
from beacon_core.data.drift_results import PerformanceFigure, window_name
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings


def add_overview(app: Flask, settings: Settings, product: Product, database: DatabaseClient) -> None:
    """Add the front page."""
    windows = windows_of(product)
    # Of the errors that a person is told about, as drift's alarms are.
    error_days = product.policy.quality.windows_days[0]
    error_window = window_name(error_days)

    @app.get("/")
    def front() -> str:
        window = query_choice("window", windows, main_window(product))
        now = clock.now()
        is_configured = settings.inference_metrics_url != ""
        timeout = settings.inference_metrics_timeout_seconds
        status = inference.fetch_status(settings.inference_metrics_url, timeout) if is_configured else None
        with database.connect() as connection:
            overview = facts.gather(connection, product, now, status, inference_configured=is_configured)
            periods = trend_periods(connection)
            trend = drift_results.score_trend(connection, periods, window)
            errors = drift_results.figure_trend(connection, periods, error_window, health.ERROR_METRIC)
        return render_template(
            "front.html",
            now=now,
            facts=overview,
            issues=health.find_issues(overview, product),
            window=window,
            windows_of=windows,
            summary=health.summary(overview, product.target.unit),
            rows=drift_rows(overview, product, window, periods, trend),
            errors=facts.one_per_run(errors),
            realised=_realised(overview, error_window),
            error_days=error_days,
            before=next((item.version for item in overview.versions if item.version != overview.model), None),
            materialized_at=next((job.succeeded_at for job in overview.jobs if job.name == "materialize"), None),
        )


def _realised(overview: facts.Overview, window: str) -> list[PerformanceFigure]:
    """Pick the front page's figures: of the whole traffic, over a window."""
    figures = [figure for figure in overview.figures if figure.window == window and figure.segment == ""]
    return facts.of_one_version(figures, overview.model)
