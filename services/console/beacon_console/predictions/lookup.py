"""One prediction by its id: everything the log holds of it, and its actual."""

from typing import NamedTuple

from beacon_console.distributions import ShownBin, bins_of
from beacon_console.parameters import main_window
from beacon_core.data import drift_results, prediction_log
from beacon_core.data.database import Connection
from beacon_core.data.drift_results import ColumnDistribution
from beacon_core.data.prediction_log import LoggedPrediction, log_pages, which_actual
from beacon_core.domain.actuals import LoggedActual
from beacon_core.domain.entity_key import EntityKeyError, parse_key
from beacon_core.domain.features import request_features, store_features
from beacon_core.domain.ids import time_of
from beacon_core.domain.product import Entity, Product
from beacon_core.domain.value_rules import Value


class FeatureValue(NamedTuple):
    """One feature of a prediction: its value in the request, and its value in the feature store.

    `title` and `unit` are product.yaml's, empty for a feature that it no longer has.
    """

    name: str
    title: str
    unit: str
    in_request: Value | None
    in_store: Value | None
    imputed: bool
    out_of_range: bool
    bins: list[ShownBin]
    """Training's distribution with the value's bin marked; empty where there is none, or no value."""


class FoundPrediction(NamedTuple):
    """A prediction's row, its features in the product's order, and its actual.

    `large_residual` is the limit of the model's residuals, in units of the target; None where it is not known.
    """

    row: LoggedPrediction
    entity: str
    values: list[FeatureValue]
    actual: LoggedActual | None
    large_residual: float | None

    @property
    def residual(self) -> float | None:
        """Actual minus prediction."""
        return None if self.actual is None else float(self.actual.value - self.row.prediction)

    @property
    def is_large(self) -> bool:
        """Whether the residual is a large one, as far as that is known."""
        return (
            self.residual is not None and self.large_residual is not None and abs(self.residual) > self.large_residual
        )

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the actual."""
        return None if self.actual is None else bool(self.row.low <= self.actual.value <= self.row.high)


def find_prediction(connection: Connection, product: Product, prediction_id: str) -> FoundPrediction | None:
    """Find a prediction; None when no prediction in the log has this id."""
    rows = prediction_log.find(connection, [prediction_id])
    if not rows:
        return None
    (row,) = rows
    in_request = request_features(row.features, row.from_store)
    in_store = store_features(row.features, row.from_store)
    known = {feature.name: feature for feature in product.features}
    logged = {*row.features, *row.imputed}
    distributions = drift_results.distributions_in(connection, main_window(product))
    # A feature that is new in product.yaml is not in older rows; one that is gone is.
    names = [name for name in known if name in logged] + sorted(logged - set(known))
    values = [
        FeatureValue(
            name,
            known[name].title if name in known else "",
            known[name].unit if name in known else "",
            in_request.get(name),
            in_store.get(name),
            name in row.imputed,
            name in row.out_of_range,
            _bins(distributions.get(name), row.features.get(name)),
        )
        for name in names
    ]
    actual = which_actual.find(connection, row.id, row.entity, row.time)
    limit = product.policy.quality.large_residual
    if limit is None and actual is not None:
        limit = drift_results.large_residual_of(connection, row.model_version)
    return FoundPrediction(row, entity_text(product.entity, row.entity), values, actual, limit)


def missing_sentence(connection: Connection, prediction_id: str) -> str:
    """Why no prediction has this id, as far as the id tells: one of Beacon's own holds its time."""
    sentence = f"No prediction in the log has the id {prediction_id[:64]}."
    made, oldest = time_of(prediction_id), log_pages.oldest_time(connection)
    if made is None or oldest is None or made >= oldest:
        return f"{sentence} A new one comes into the log within seconds."
    return (
        f"{sentence} It was made on {made:%Y-%m-%d}, and the log begins on {oldest:%Y-%m-%d}: it is not kept any more."
    )


def _bins(distribution: ColumnDistribution | None, value: Value | None) -> list[ShownBin]:
    if distribution is None or value is None:
        return []
    return bins_of(distribution, value)


def entity_text(entity: Entity | None, key: str | None) -> str:
    """The entity of a row for people: the columns of its key with their values; empty without one."""
    if key is None:
        return ""
    try:
        values = None if entity is None else parse_key(entity, key)
    except EntityKeyError:  # a key of an earlier product.yaml
        values = None
    if entity is None or values is None:
        return key
    if len(values) == 1:
        return f"{entity.name} {values[0]}"
    return f"{entity.name} " + ", ".join(f"{name} {value}" for name, value in zip(entity.keys, values, strict=True))
