"""What the pages show, as JSON: the prediction log with actuals, drift runs, and one run's results and figures."""

from datetime import UTC, datetime, timedelta

import msgspec
from flask import Flask, Response, request

from beacon_console.parameters import found_or_404
from beacon_core.data import drift_results
from beacon_core.data.client import DatabaseClient
from beacon_core.data.prediction_log.log_pages import LogLine, LogPosition
from beacon_core.data.prediction_log.log_rows import rows_after
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.times import read_time
from beacon_core.platform import clock

PREFIX = "/api"
MOST_ROWS = 1000
"""Rows of one page of the log."""
MOST_RUNS = 1000
NEWEST = "newest"
DEFAULT_SPAN = timedelta(days=1)
"""How far back the log is read, where `since` is not given."""


class LogAnswer(msgspec.Struct, frozen=True):
    """A page of the log; `next` is the parameter `after` of the page behind it, null at the end."""

    predictions: list[LogLine]
    next: str | None


class RunsAnswer(msgspec.Struct, frozen=True):
    """Drift runs, the newest first."""

    runs: list[drift_results.DriftRun]


class RunAnswer(msgspec.Struct, frozen=True):
    """One drift run: its comparisons, and the realised figures of the model."""

    run: drift_results.DriftRun
    results: list[drift_results.DriftResult]
    figures: list[dict[str, object]]


def add_api(app: Flask, database: DatabaseClient) -> None:
    """Add the routes."""

    @app.get(f"{PREFIX}/predictions")
    def api_predictions() -> Response:
        now = clock.now()
        since, until = moment("since", now - DEFAULT_SPAN), moment("until", now)
        after, most = place(), count("limit", MOST_ROWS)
        with database.connect() as connection:
            rows = rows_after(connection, since, until, after, most)
        following = f"{rows[-1].time.isoformat()}~{rows[-1].id}" if len(rows) == most else None
        return answer(LogAnswer(rows, following))

    @app.get(f"{PREFIX}/drift")
    def api_drift_runs() -> Response:
        most = count("limit", MOST_RUNS)
        with database.connect() as connection:
            return answer(RunsAnswer(drift_results.newest_runs(connection, most)))

    @app.get(f"{PREFIX}/drift/<period>")
    def api_drift_run(period: str) -> Response:
        with database.connect() as connection:
            newest = period == NEWEST
            run = drift_results.newest_run(connection) if newest else drift_results.run_of(connection, period)
            found: drift_results.DriftRun = found_or_404(
                run, "There is no drift run yet." if newest else f"There is no drift run {period[:64]}."
            )
            results = drift_results.results_of(connection, found.period)
            figures = drift_results.figures_of(connection, found.period)
        return answer(RunAnswer(found, results, [figure._asdict() for figure in figures]))


def answer(value: msgspec.Struct) -> Response:
    """The value as JSON."""
    return Response(msgspec.json.encode(value), content_type="application/json")


def moment(name: str, default: datetime) -> datetime:
    """A query parameter that is a time in ISO 8601, in UTC without a zone; BeaconError 422 for anything else."""
    given = request.args.get(name)
    if given is None:
        return default
    try:
        return _time(given)
    except (ValueError, OverflowError):
        raise BeaconError(
            "invalid_type", f"{name} must be a time in ISO 8601, such as 2026-01-31T12:00Z", name
        ) from None


def place() -> LogPosition | None:
    """The query parameter `after`, as an earlier answer gave it; BeaconError 422 for anything else."""
    given = request.args.get("after")
    if given is None:
        return None
    time, _, identifier = given.partition("~")
    try:
        if is_client_id(identifier):
            return LogPosition(_time(time), identifier)
    except (ValueError, OverflowError):
        pass
    raise BeaconError("invalid_type", "after must be the `next` of an earlier answer", "after")


def count(name: str, most: int) -> int:
    """A query parameter from 1 to `most`, which is its default; BeaconError 422 for anything else."""
    given = request.args.get(name, str(most))
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= most):
        raise BeaconError("invalid_type", f"{name} must be a whole number from 1 to {most}", name)
    return int(given)


def _time(text: str) -> datetime:
    return read_time(text.replace(" ", "+"), UTC)  # in an address a plus sign is a blank
