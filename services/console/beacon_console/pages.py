"""The console's pages: each reads the store once, and hands what it found to a template."""

from typing import Any
from urllib.parse import quote

from flask import Flask, Response, redirect, render_template, request
from markdown_it import MarkdownIt
from markupsafe import Markup

from beacon_console import decisions, drift, inference, jobs, lookup, overview, traffic
from beacon_console.reading import Store
from beacon_console.registry import Registry
from beacon_core import clock
from beacon_core.errors import BeaconError
from beacon_core.ids import is_client_id
from beacon_core.masking import word
from beacon_core.platform.mlflow import RegistryDown
from beacon_core.product import Product
from beacon_core.release import NAME
from beacon_core.serving.flask_app import root
from beacon_core.settings import Settings

MAIN_WINDOW = "7d"
# The report brings its own style and pictures, and nothing else; it cannot act in the console's name.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


def add_pages(app: Flask, settings: Settings, product: Product, store: Store, registry: Registry) -> None:
    """Add every page that only shows."""
    _add_front(app, settings, product, store)
    _add_drift(app, product, store)
    _add_jobs(app, store)
    _add_models(app, product, store, registry)
    _add_predictions(app, product, store)


def _add_front(app: Flask, settings: Settings, product: Product, store: Store) -> None:
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


def _add_drift(app: Flask, product: Product, store: Store) -> None:
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


def _add_jobs(app: Flask, store: Store) -> None:
    @app.get("/jobs")
    def job_runs() -> str:
        job = request.args.get("job")
        with store.reading() as connection:
            standing = jobs.jobs_of(connection)
            if job is not None and job not in {item.name for item in standing}:
                raise BeaconError("not_found", f"No job named {job[:64]} ever ran.")
            runs = jobs.runs_of(connection, job)
        return render_template("job_runs.html", runs=runs, standing=standing, job=job, now=clock.now())

    @app.get("/jobs/<number>")
    def job_run(number: str) -> str:
        sentence = f"There is no job run {number[:64]}."
        with store.reading() as connection:
            # Beyond 18 digits no database has a number for it.
            found = jobs.run_of(connection, int(number)) if number.isdecimal() and len(number) < 19 else None
        run, stages = known(found, sentence)
        return render_template("job_run.html", run=run, stages=stages, now=clock.now())


def _add_models(app: Flask, product: Product, store: Store, registry: Registry) -> None:
    # Without HTML and links of its own: a card is a text of the registry, not of the console.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    @app.get("/models")
    def models() -> str:
        with store.reading() as connection:
            versions = traffic.versions_of(connection)
            counts = {version.version: traffic.count_of(connection, version.version) for version in versions}
        return render_template("models.html", versions=versions, counts=counts, now=clock.now())

    @app.get("/models/<version>")
    def model(version: str) -> str:
        sentence = f"There is no model version {version[:64]}, in the prediction log or in MLflow."
        if not NAME.fullmatch(version):
            raise BeaconError("unknown_model", sentence)
        with store.reading() as connection:
            logged = {item.version: item for item in traffic.versions_of(connection)}.get(version)
            count = 0 if logged is None else traffic.count_of(connection, version)
            verdicts = decisions.verdicts_of(connection, product, version)
            decided = decisions.decisions_of(connection, [verdict.sha256 for verdict in verdicts])
        registered, failure = None, None
        try:
            registered = registry.find(product.name, version)
        except RegistryDown as error:
            failure = word(error)
        if logged is None and registered is None and failure is None and not verdicts:
            raise BeaconError("unknown_model", sentence)
        card = None
        if registered is not None and registered.card is not None:
            card = Markup(markdown.render(registered.card))  # noqa: S704 - the renderer escapes HTML
        return render_template(
            "model.html",
            version=version,
            logged=logged,
            count=count,
            registered=registered,
            failure=failure,
            card=card,
            verdicts=verdicts,
            decided=decided,
            now=clock.now(),
        )


def _add_predictions(app: Flask, product: Product, store: Store) -> None:
    @app.get("/predictions")
    def predictions() -> Any:
        wanted = request.args.get("id", "").strip()
        if wanted:
            return redirect(f"{root()}/predictions/{quote(wanted, safe='')}", 303)
        return render_template("predictions.html", now=clock.now())

    @app.get("/predictions/<path:prediction_id>")
    def prediction(prediction_id: str) -> str:
        with store.reading() as connection:
            found = lookup.find(connection, product, prediction_id) if is_client_id(prediction_id) else None
        found = known(
            found,
            f"No prediction in the log has the id {prediction_id[:64]}. A new one comes into the log within seconds.",
            "unknown_prediction",
        )
        return render_template("prediction.html", found=found, now=clock.now())


def windows_of(product: Product) -> tuple[str, ...]:
    """Name the drift windows as the store does."""
    return tuple(f"{days}d" for days in product.drift.windows_days)


def realised(facts: overview.Overview) -> list[drift.Figure]:
    """Pick the front page's figures: of the whole traffic, over the main window."""
    figures = [figure for figure in facts.figures if figure.window == MAIN_WINDOW and figure.segment == ""]
    return overview.of_one_version(figures, facts.model)


def excess(result: drift.Result) -> float:
    """Return the score as a multiple of its threshold."""
    return (result.score or 0.0) / (result.threshold or 1.0)


def known(found: Any, sentence: str, code: str = "not_found") -> Any:
    """Return what was found; BeaconError 404 when it is None."""
    if found is None:
        raise BeaconError(code, sentence)
    return found


def chosen(name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return a query parameter out of a closed set; BeaconError 422 for anything else."""
    value = request.args.get(name, default)
    if value not in allowed:
        raise BeaconError("invalid_type", f"{name} must be {', '.join(allowed[:-1])} or {allowed[-1]}.", name)
    return value
