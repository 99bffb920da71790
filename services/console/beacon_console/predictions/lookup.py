"""One prediction by its id: everything the log holds of it, and its actual."""

from typing import NamedTuple

from beacon_core.data import actuals, predictions
from beacon_core.data.actuals import LoggedActual
from beacon_core.data.database import Connection
from beacon_core.data.predictions import LoggedPrediction
from beacon_core.domain.features import request_features, store_features
from beacon_core.domain.product import Feature, Product


class FeatureValue(NamedTuple):
    """One feature of a prediction: its value in the request, and its value in the feature store."""

    feature: Feature
    in_request: float | None
    in_store: float | None
    imputed: bool
    out_of_range: bool


class FoundPrediction(NamedTuple):
    """A prediction's row, its features in the product's order, and its actual."""

    row: LoggedPrediction
    values: list[FeatureValue]
    actual: LoggedActual | None

    @property
    def residual(self) -> float | None:
        """Actual minus prediction."""
        return None if self.actual is None else float(self.actual.value - self.row.prediction)

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the actual."""
        return None if self.actual is None else bool(self.row.low <= self.actual.value <= self.row.high)


def find_prediction(connection: Connection, product: Product, prediction_id: str) -> FoundPrediction | None:
    """Find a prediction; None when no prediction in the log has this id."""
    rows = predictions.find(connection, [prediction_id])
    if not rows:
        return None
    (row,) = rows
    in_request = request_features(row.features, row.from_store)
    in_store = store_features(row.features, row.from_store)
    values = [
        FeatureValue(
            feature,
            in_request.get(feature.name),
            in_store.get(feature.name),
            feature.name in row.imputed,
            feature.name in row.out_of_range,
        )
        for feature in product.features
    ]
    return FoundPrediction(row, values, actuals.find(connection, row.id, row.entity, row.time))
