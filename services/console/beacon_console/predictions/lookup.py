"""One prediction by its id: everything the log holds of it, and its actual."""

from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, select

from beacon_core.data.actuals import actual_of
from beacon_core.data.tables import predictions
from beacon_core.domain.features import request_features, store_features
from beacon_core.domain.product import Feature, Product


class FeatureValue(NamedTuple):
    """One feature of a prediction: as the request gave it, and as the feature store served it."""

    feature: Feature
    given: float | None
    served: float | None
    imputed: bool
    outside: bool


class FoundPrediction(NamedTuple):
    """A prediction's row, its features in the product's order, and its actual."""

    row: RowMapping
    values: list[FeatureValue]
    actual: RowMapping | None

    @property
    def residual(self) -> float | None:
        """Actual minus prediction."""
        return None if self.actual is None else float(self.actual["value"] - self.row["prediction"])

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the actual."""
        return None if self.actual is None else bool(self.row["low"] <= self.actual["value"] <= self.row["high"])


def find_prediction(connection: Connection, product: Product, prediction_id: str) -> FoundPrediction | None:
    """Find a prediction; None when no prediction in the log has this id."""
    row = connection.execute(select(predictions).where(predictions.c.id == prediction_id)).mappings().first()
    if row is None:
        return None
    given = request_features(row["features"], row["from_store"])
    served = store_features(row["features"], row["from_store"])
    values = [
        FeatureValue(
            feature,
            given.get(feature.name),
            served.get(feature.name),
            feature.name in row["imputed"],
            feature.name in row["out_of_range"],
        )
        for feature in product.features
    ]
    return FoundPrediction(row, values, actual_of(connection, row["id"], row["entity"], row["time"]))
