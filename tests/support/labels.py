"""The prediction log as inference leaves it, for tests that need predictions and their true values."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Engine, insert

from beacon_core.data.tables import actuals, predictions


class Log:
    """Writes predictions and actuals into the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def predict(
        self,
        name: str,
        time: datetime,
        entity: int | None = None,
        stored: Mapping[str, float | None] | None = None,
        **features: float,
    ) -> None:
        """A prediction at `time`, of what the request gave and of what else came from the store."""
        found = {name: value for name, value in (stored or {}).items() if value is not None}
        row = {
            "id": name,
            "time": time,
            "entity": None if entity is None else str(entity),
            "features": {**found, **features},
            "from_store": None if stored is None else [name for name in found if name not in features],
            "imputed": [],
            "out_of_range": [],
            "prediction": 20.0,
            "low": 15.0,
            "high": 25.0,
            "model_version": "1",
            "model_sha256": "0" * 64,
            "latency_seconds": 0.001,
            "request_id": name,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(predictions).values(row))

    def tell(self, name: str, value: float, observed_at: datetime | None = None) -> None:
        """The true value of a prediction."""
        now = datetime.now(UTC)
        row = {"prediction_id": name, "entity": None, "value": value, "source": "test"}
        with self._engine.begin() as connection:
            connection.execute(insert(actuals).values(row | {"observed_at": observed_at or now, "received_at": now}))
