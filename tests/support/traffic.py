"""A home with a prediction log: rows of a known population, written as inference's shipper writes them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from drift.streams import Population
from sqlalchemy import insert, inspect, select, update
from support import settings as own
from support.packages import build_package

from beacon_core.data.database import open_store
from beacon_core.data.tables import actuals, drift_results, metadata, predictions, profiles
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import MANIFEST_FILE, PROFILE_FILE, Manifest, digest, write_manifest
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.settings import Settings
from beacon_drift_profiling.profiling.profile import profile_rows
from beacon_drift_profiling.run import Outcome, run_drift

EPOCH = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""The hour that traffic begins in."""
HOUR = timedelta(hours=1)


def release_profiled(
    settings: Settings,
    product: Product,
    population: Population,
    random: np.random.Generator,
    version: str = "1",
    rows: int = 500,
) -> Pin:
    """Put a version into service whose reference is drawn from the population; with no rows it has none."""
    pin = build_package(settings.models_dir, product, version)
    folder = settings.models_dir / pin.name / version
    if rows:
        seen = population.draw(random, rows)
        columns = {name: population.column(seen, name) for name in population.columns} | {"prediction": seen[:, -1]}
        content = profile_rows(columns, EPOCH, {}).serialize()
        (folder / PROFILE_FILE).write_bytes(content)
        manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
        files = manifest.files | {PROFILE_FILE: digest(content)}
        pin = Pin(pin.name, version, write_manifest(folder, msgspec.structs.replace(manifest, files=files)))
    write_release(settings.release_file, Release(pin))
    return pin


class World:
    """One home: `log_rows` writes predictions, `report_actuals` actuals, `run` runs the job as at an hour's end."""

    def __init__(self, home: Path, product: Product, seed: int = 7, database_url: str = "") -> None:
        self.product = product
        self.settings: Settings = own.Settings(home=home, database_url=database_url)
        self.engine = open_store(self.settings.database)
        if not inspect(self.engine).has_table(predictions.name):
            metadata.create_all(self.engine)  # much faster than the migrations
        self.population = Population(product)
        self.random = np.random.default_rng(seed)
        self.sha256: dict[str, str] = {}
        self.logged = 0

    def release(self, version: str = "1", *, profile: bool = True, rows: int = 500) -> None:
        """Put a version into service whose reference is drawn from the population, small enough for an exact sketch."""
        pin = release_profiled(self.settings, self.product, self.population, self.random, version, rows * profile)
        self.sha256[version] = pin.sha256

    def draw(self, count: int) -> np.ndarray:
        """Rows of the population, the target last."""
        return self.population.draw(self.random, count)

    def log_rows(
        self,
        rows: np.ndarray,
        hour: int = 0,
        *,
        version: str = "1",
        minutes: float = 1.0,
        entity: str | None = None,
        logged_at: datetime | None = None,
        **changes: Any,
    ) -> list[str]:
        """Log rows from `minutes` past the hour on, a millisecond apart; the prediction is the target, 1 off."""
        begin = EPOCH + hour * HOUR + timedelta(minutes=minutes)
        records = []
        for row in rows:
            self.logged += 1
            moment = begin + timedelta(milliseconds=self.logged % 1000)
            value = float(np.nan_to_num(row[-1], nan=20.0)) + (1 if self.logged % 2 else -1)
            features = {
                name: self.population.value(name, float(item))
                for name, item in zip(self.product.feature_names, row, strict=False)
            }
            record = {
                "id": f"p{self.logged:08d}",
                "time": moment,
                "entity": entity,
                "features": features,
                "from_store": None,
                "imputed": [],
                "out_of_range": [],
                "prediction": value,
                "low": value - 3,
                "high": value + 3,
                "model_version": version,
                "model_sha256": self.sha256.get(version, "0" * 64),
                "latency_seconds": 0.004,
                "request_id": "r",
                "logged_at": logged_at or moment,
            }
            records.append(record | changes)
        with self.engine.begin() as connection:
            connection.execute(insert(predictions), records)
        return [str(record["id"]) for record in records]

    def change_features(self, ids: list[str], changes: Mapping[str, Any]) -> None:
        """Put other values into logged rows."""
        with self.engine.begin() as connection:
            chosen = predictions.c.id.in_(ids)
            for name, features in connection.execute(
                select(predictions.c.id, predictions.c.features).where(chosen)
            ).all():
                changed = {**features, **changes}
                connection.execute(update(predictions).where(predictions.c.id == name).values(features=changed))

    def report_actuals(self, ids: list[str], values: np.ndarray, hour: float) -> None:
        """Send actuals that come `hour` hours after the epoch."""
        moment = EPOCH + hour * HOUR
        rows = [
            {"prediction_id": name, "value": float(value), "observed_at": moment, "received_at": moment, "source": "t"}
            for name, value in zip(ids, values, strict=True)
        ]
        with self.engine.begin() as connection:
            connection.execute(insert(actuals), rows)

    def run(self, hour: int = 0, **options: Any) -> Outcome:
        """Run the job at the last minute of an hour."""
        now = EPOCH + hour * HOUR + timedelta(minutes=59)
        return run_drift(self.settings, self.product, self.engine, now, **options)

    def profiles(self) -> dict[tuple[Any, ...], Any]:
        """Every profile but for when it was made and its randomized sketches: rows and aggregates."""
        query = select(profiles.c.model_version, profiles.c.hour, profiles.c.segment, profiles.c.rows, profiles.c.sums)
        with self.engine.connect() as connection:
            return {tuple(row[:3]): (row[3], row[4]) for row in connection.execute(query)}

    def results(self) -> list[tuple[Any, ...]]:
        """Every drift result, but for its number and when it was written."""
        keep = [column for column in drift_results.c if column.name not in {"id", "created_at"}]
        query = select(*keep).order_by(*keep[:6])
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]
