"""Homes with a feature store of each kind, for products of any kind; and feature serving on them, in process."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.data_files import data_path
from support.features import PATIENT_SECONDS, TOKEN, Redis, by_name
from support.ports import free_port
from support.products import write_product
from support.service import METRICS_PORT, Answer, Service
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.settings import ROOT
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.row_counts import FileChanges
from beacon_retraining.data.validate import validate

BEARER = [("authorization", f"Bearer {TOKEN}")]
ROWS = 40


@contextlib.contextmanager
def feature_home(home: Path, store: str) -> Iterator[Settings]:
    """Settings of an empty home whose online store is `sqlite` or `redis`."""
    with contextlib.ExitStack() as stack:
        folder = ROOT / "feature_repo"
        if store == "redis":
            port = free_port()
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            stack.enter_context(Redis(home, port))
            patch.setenv("REDIS_CONNECTION", f"127.0.0.1:{port}")
            folder /= "redis"
        yield Settings(
            home=home,
            feature_repo=folder,
            features_metrics_port=METRICS_PORT,
            feature_token=TOKEN,
            online_store_timeout_seconds=PATIENT_SECONDS,
        )


def items(folder: Path) -> Product:
    """A product with a feature of each kind: a range, whole numbers, categories, one that is never null."""
    table: dict[str, list[Any]] = {
        "size": [round(10 + row * 0.37, 2) for row in range(ROWS)],
        "rooms": [row * 7 % 5 for row in range(ROWS)],
        "kind": [(1, 2, 5)[row % 3] for row in range(ROWS)],
        "must": [row * 11 % 17 for row in range(ROWS)],
        "price": [100 + row * 13 % 29 for row in range(ROWS)],
    }
    features: dict[str, dict[str, Any]] = {
        "size": {"valid": [0, 100]},
        "rooms": {"type": "int", "valid": [0, 9]},
        "kind": {"type": "category", "valid": None, "levels": [1, 2, 5], "impute": "most_frequent"},
        "must": {"nullable": False},
    }
    return write_product(folder, table, "price", columns=features)


def fill_from_file(settings: Settings, product: Product) -> FileChanges:
    """What retraining does with the data file, also where its rows moved: offline, the definitions, online."""
    rows = validate(product.sample_path, product)
    changes = write_offline(settings, product, rows, datetime.now(UTC), accept_moved=True)
    repo.apply(settings, product)
    repo.materialize(settings, product)
    return changes


def offline(settings: Settings) -> pd.DataFrame:
    """All offline rows."""
    return pd.read_parquet(data_path(settings))


class Features:
    """Feature serving, as a client with the write token sees it."""

    def __init__(self, service: Service, product: Product) -> None:
        self.service = service
        self.product = product

    def row(self, entity: int, time: datetime, **values: Any) -> dict[str, list[Any]]:
        """The columns of a write of one row: each feature's example, but for `values`."""
        row = {feature.name: [feature.example] for feature in self.product.features}
        times = {EVENT_TIME: [time.isoformat()]}
        return row | {self.product.keys[0]: [entity]} | times | {name: [value] for name, value in values.items()}

    def push(self, df: dict[str, list[Any]], to: str = "online_and_offline") -> Answer:
        """POST /push."""
        body = {"push_source_name": definitions.push_source_name(self.product), "df": df, "to": to}
        return self.service.post("/push", body, BEARER)

    def write(self, df: dict[str, list[Any]]) -> Answer:
        """POST /write-to-online-store."""
        body = {"feature_view_name": definitions.view_name(self.product), "df": df}
        return self.service.post("/write-to-online-store", body, BEARER)

    def post(self, path: str, body: Any) -> Answer:
        """POST anything else, with the token."""
        return self.service.post(path, body, BEARER)

    def read(self, *entities: int) -> list[dict[str, Any]]:
        """What is served of each entity; None for what is not."""
        body = {"feature_service": self.product.feature_service, "entities": {self.product.keys[0]: list(entities)}}
        columns = by_name(self.service.post("/get-online-features", body).json())
        return [{name: columns[name][0][at] for name in self.product.feature_names} for at in range(len(entities))]


@contextlib.contextmanager
def features_of(settings: Settings, product: Product) -> Iterator[Features]:
    """Feature serving on a filled home."""
    from beacon_feature_serving.app import create

    with Service(create(settings)) as service:
        yield Features(service, product)
