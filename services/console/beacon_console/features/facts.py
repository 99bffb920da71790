"""Everything that the page of a feature shows, read in one transaction, and what the model's package says of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from beacon_console.drift.trend import trend_periods
from beacon_console.models.registry import Registry
from beacon_core.data import drift_results
from beacon_core.data.database import Connection
from beacon_core.data.drift_results import ColumnDistribution, DriftResult, DriftRun, EffectPoint
from beacon_core.data.prediction_log import log_pages, traffic
from beacon_core.data.prediction_log.log_pages import LoggedValue
from beacon_core.data.prediction_log.traffic import CurrentVersion
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import Value
from beacon_core.model_package.manifest import FeatureFacts, Manifest
from beacon_core.platform.mlflow import RegistryUnavailableError

NEWEST = 1000
"""So many of the newest predictions are looked at, whatever drift runs there were."""
MOST_LEVELS = 10


class NewestValues(NamedTuple):
    """A feature in the newest predictions. `levels` are a category's most frequent, `ends` the least and greatest."""

    rows: int
    since: datetime | None
    missing: int
    imputed: int
    out_of_range: int
    levels: list[tuple[Value, int]]
    ends: tuple[Value, Value, Value] | None


class FeatureStory(NamedTuple):
    """What the store has of a feature."""

    current: CurrentVersion | None
    run: DriftRun | None
    results: list[DriftResult]
    distributions: dict[str, ColumnDistribution]
    trends: dict[str, list[EffectPoint]]
    newest: NewestValues


class InTraining(NamedTuple):
    """What the package says of a feature: its facts, and that it is number `rank` of `of` by importance."""

    version: str
    facts: FeatureFacts
    rank: int
    of: int


def gather(connection: Connection, feature: Feature, window: str) -> FeatureStory:
    """Read it."""
    run = drift_results.newest_run(connection)
    current = traffic.current_version(connection, traffic.versions(connection))
    found = [] if run is None else drift_results.results_of(connection, run.period, feature.name)
    serving = None if run is None else run.summary.get("serving")
    version = serving or (None if current is None else current.version)
    results = [each for each in found if each.window == window and each.kind == "data"]
    results = [each for each in results if each.model_version == version] or results
    periods = trend_periods(connection)
    return FeatureStory(
        current,
        run,
        results,
        drift_results.distributions_of(connection, feature.name),
        drift_results.trends_of(connection, periods, window, feature.name),
        newest_of(feature, log_pages.newest_values(connection, feature.name, NEWEST)),
    )


def newest_of(feature: Feature, rows: Sequence[LoggedValue]) -> NewestValues:
    """Sum up the newest values; those that are not of the feature's type now are not summed up."""
    known = [row.value for row in rows if row.value is not None]
    levels: dict[Value, int] = {}
    if feature.is_category:
        for value in known:
            levels[value] = levels.get(value, 0) + 1
    return NewestValues(
        rows=len(rows),
        since=rows[-1].time if rows else None,
        missing=len(rows) - len(known),
        imputed=sum(row.is_imputed for row in rows),
        out_of_range=sum(row.is_out_of_range for row in rows),
        levels=sorted(levels.items(), key=lambda item: (-item[1], str(item[0])))[:MOST_LEVELS],
        ends=None if feature.is_category else _ends(feature, known),
    )


def _ends(feature: Feature, values: Sequence[Value]) -> tuple[Value, Value, Value] | None:
    """The least, the middle and the greatest value, as numbers or as the text of a time."""
    numbers = sorted(feature.to_number(value) for value in values if feature.problem(value) is None)
    if not numbers:
        return None
    least, middle, greatest = (
        feature.to_value(number) or 0 for number in (numbers[0], numbers[len(numbers) // 2], numbers[-1])
    )
    return least, middle, greatest


def in_training(
    registry: Registry, product: Product, feature: Feature, current: CurrentVersion | None
) -> InTraining | str:
    """What the package of the version in service says of the feature; a sentence where that is not known."""
    if current is None:
        return "No model has answered yet"
    try:
        manifest = registry.manifest(product.name, current.version, current.sha256)
    except RegistryUnavailableError as error:
        return message_of(error)
    if manifest is None:
        return f"MLflow does not have the package of model {current.version} as it answered"
    return _facts_of(manifest, current.version, feature.name) or f"Model {current.version} was trained without it"


def _facts_of(manifest: Manifest, version: str, name: str) -> InTraining | None:
    by_size = sorted(manifest.features, key=lambda facts: -facts.importance)
    rank = next((place for place, facts in enumerate(by_size, 1) if facts.name == name), None)
    return None if rank is None else InTraining(version, by_size[rank - 1], rank, len(by_size))
