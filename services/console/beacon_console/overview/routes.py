"""The front page: whether the product is well, and why not."""

from flask import Flask, render_template

from beacon_console.drift import queries as drift
from beacon_console.overview import inference
from beacon_console.overview import queries as overview
from beacon_console.parameters import MAIN_WINDOW, chosen, windows_of
from beacon_console.reading import Store
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings


def add_overview(app: Flask, settings: Settings, product: Product, store: Store) -> None:
    """Add the front page."""
    windows = windows_of(product)

    @app.get("/")
    def front() -> str:
        window = chosen("window", windows, MAIN_WINDOW)
        now = clock.now()
        asked = settings.inference_metrics_url != ""
        patience = settings.inference_metrics_timeout_seconds
        live = inference.ask(settings.inference_metrics_url, patience) if asked else None
        with store.reading() as connection:
            facts = overview.gather(connection, product, now, live, asked=asked)
            periods = drift.trend_periods(connection)
            trend = drift.score_trend(connection, periods, window)
            errors = drift.figure_trend(connection, periods, MAIN_WINDOW, overview.ERROR)
        return render_template(
            "front.html",
            now=now,
            facts=facts,
            findings=overview.judge(facts, product),
            window=window,
            windows_of=windows,
            summary=overview.summary(facts),
            rows=overview.feature_rows(facts, product, window, periods, trend),
            errors=overview.of_one_run_each(errors),
            realised=realised(facts),
            before=next((item.version for item in facts.versions if item.version != facts.model), None),
            fresh=next((job.succeeded_at for job in facts.jobs if job.name == "materialize"), None),
        )


def realised(facts: overview.Overview) -> list[drift.Figure]:
    """Pick the front page's figures: of the whole traffic, over the main window."""
    figures = [figure for figure in facts.figures if figure.window == MAIN_WINDOW and figure.segment == ""]
    return overview.of_one_version(figures, facts.model)
