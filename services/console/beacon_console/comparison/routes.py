"""Two models compared row by row: what both answered to the same rows, and what the gate said of the two."""

from flask import Flask, render_template

from beacon_console.comparison.pairs import MOST_PAIRS, read_pairs, story_of
from beacon_console.parameters import query_text
from beacon_console.predictions.lookup import entity_text
from beacon_core.data import drift_results, verdicts
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import Connection
from beacon_core.data.drift_results import PerformanceFigure
from beacon_core.data.prediction_log import traffic
from beacon_core.data.verdicts import RecordedVerdict
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.pins import NAME
from beacon_core.domain.product import Product
from beacon_core.platform import clock

RECENT = 20
"""Verdicts that are read of each version."""
MAIN_METRIC = "mae"


def add_comparison(app: Flask, product: Product, database: DatabaseClient) -> None:
    """Add the page."""

    @app.get("/compare")
    def compare() -> str:
        first, second = _version("first"), _version("second")
        with database.connect() as connection:
            known = _known(connection, product)
            pairs = [] if first is None or second is None else read_pairs(connection, product, first, second)
            verdict = _verdict(connection, product, first, second)
            own = _own_figures(connection, first, second)
        for version in (first, second):
            if version is not None and version not in known and not pairs:
                raise BeaconError("unknown_model", f"There is no model version {version}, in the log or in a verdict.")
        if first is not None and first == second:
            raise BeaconError("invalid_type", "first and second must be two versions.", "second")
        return render_template(
            "compare.html",
            first=first,
            second=second,
            known=known,
            most=MOST_PAIRS,
            pairs=pairs,
            story=story_of(pairs) if pairs else None,
            entities={pair.row.id: entity_text(product.entity, pair.row.entity) for pair in pairs},
            verdict=verdict,
            own=own,
            now=clock.now(),
        )


def _version(name: str) -> str | None:
    text = query_text(name, 63)
    if text is not None and not NAME.fullmatch(text):
        raise BeaconError("invalid_type", f"{name} must be a model version, such as 12.", name)
    return text


def _known(connection: Connection, product: Product) -> list[str]:
    """Versions to choose from: those that answered, and those that were judged."""
    judged = verdicts.history(connection, product.name, RECENT)
    names = [each.version for each in traffic.versions(connection)]
    names += [version for each in judged for version in (each.version, each.champion_version) if version]
    return list(dict.fromkeys(names))


def _verdict(connection: Connection, product: Product, first: str | None, second: str | None) -> RecordedVerdict | None:
    """The newest verdict that compared the two."""
    if first is None or second is None:
        return None
    found = [
        each
        for new, old in ((first, second), (second, first))
        for each in verdicts.history(connection, product.name, RECENT, new)
        if each.champion_version == old
    ]
    return max(found, key=lambda each: each.id, default=None)


def _own_figures(
    connection: Connection, first: str | None, second: str | None
) -> dict[tuple[str, str], dict[str, PerformanceFigure]]:
    """The mean absolute error of each on its own rows, by window and segment, as the newest drift run has it."""
    run = None if first is None or second is None else drift_results.newest_run(connection)
    found: dict[tuple[str, str], dict[str, PerformanceFigure]] = {}
    for figure in [] if run is None else drift_results.figures_of(connection, run.period):
        if figure.metric == MAIN_METRIC and figure.model_version in {first, second}:
            found.setdefault((figure.window, figure.segment), {})[figure.model_version] = figure
    return found
