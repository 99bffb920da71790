"""Whose predictions count: what others send is as if it had not been sent, for everyone who judges by the log."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, insert
from support.packages import build_package, row_of
from support.stores import new_store

from beacon_core.data.prediction_log import promotion_evidence as promotion
from beacon_core.data.prediction_log.partitions import Partition, changed_partitions
from beacon_core.data.tables import actuals, predictions
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import Evidence
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest, read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.profiling.log import read_partition
from beacon_promotion.analysis.sampled_requests import sample_requests
from beacon_retraining.data.labels import PREDICTION, read_labels

HOUR = datetime(2026, 3, 1, 9, tzinfo=UTC)
CLIENTS = {"s": "shop", "d": "depot", "x": None, "u": None, "v": None, "w": None}
"""Who sent which prediction."""
MINUTES = {"s": 0, "d": 1, "x": 0, "u": 2, "v": 3, "w": 4}
"""When. All but two are of the shop's entity, and two of them of one moment."""
ENTITIES = dict.fromkeys(CLIENTS, "shop") | {"d": "depot", "w": None}
AREAS = {name: float(place + 1) for place, name in enumerate(CLIENTS)}
RULES: dict[str, tuple[Any, set[str]]] = {
    "all": ("all", set(CLIENTS)),
    "keyed": ("keyed", {"s", "d"}),
    "one name": (("shop",), {"s"}),
    "a name without rows": (("gate",), set()),
}
OBSERVED = 5
"""When the actual of each entity is observed: after all predictions, so that it belongs to the last of its entity."""


@pytest.fixture(scope="module")
def mixed() -> Product:
    return load_product(ROOT / "tests" / "products" / "mixed" / "product.yaml")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, mixed: Product) -> Manifest:
    """Of a model that was made before all predictions."""
    models = tmp_path_factory.mktemp("models")
    pin = build_package(models, mixed)
    found = read_package(package_folder(models, pin), pin.sha256).manifest
    return msgspec.structs.replace(found, created_at=(HOUR - timedelta(days=1)).isoformat())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mixed: Product) -> Iterator[Engine]:
    """The log: `area` tells a prediction from the others; it is 0, and a shadow's is 1."""
    features = {
        name: value for name, value in zip(mixed.feature_names, row_of(mixed), strict=True) if value is not None
    }
    rows = [
        {
            "id": name,
            "time": HOUR + timedelta(minutes=MINUTES[name]),
            "entity": ENTITIES[name],
            "features": features | {"area": AREAS[name]},
            "imputed": [],
            "out_of_range": [],
            "prediction": 0.0,
            "low": -1.0,
            "high": 1.0,
            "model_version": "1",
            "model_sha256": "0" * 64,
            "shadow_version": "2",
            "shadow_prediction": 1.0,
            "latency_seconds": 0.001,
            "request_id": name,
            "client": client,
            "logged_at": HOUR,
        }
        for name, client in CLIENTS.items()
    ]
    when = {"observed_at": HOUR + timedelta(minutes=OBSERVED), "received_at": HOUR, "source": "test"}
    told = [
        {"entity": entity, "prediction_id": name, "value": value} | when
        for entity, name, value in (("shop", None, 20.0), ("depot", None, 40.0), (None, "w", 60.0))
    ]
    with new_store(request.param, tmp_path_factory.mktemp("store")) as engine:
        with engine.begin() as connection:
            connection.execute(insert(predictions), rows)
            connection.execute(insert(actuals), told)
        yield engine


Labels = dict[str, float]


def by_drift(log: Engine, product: Product, manifest: Manifest) -> tuple[set[str], Labels]:
    with log.connect() as connection:
        found = list(read_partition(connection, Partition(HOUR, "1"), product, product.features))
    pairs = [pair for batch in found for pair in zip(batch.ids, batch.rows.actual.tolist(), strict=True)]
    return {name for name, _ in pairs}, {name: value for name, value in pairs if value == value}


def by_retraining(log: Engine, product: Product, manifest: Manifest) -> tuple[set[str], Labels]:
    labels = read_labels(log, product)
    found = dict(zip(labels[PREDICTION], labels[product.target.name], strict=True))
    return set(found), found


def by_dark_phase(log: Engine, product: Product, manifest: Manifest) -> tuple[set[str], Labels]:
    evidence = product.policy.evidence
    names = {area: name for name, area in AREAS.items()}
    asked = promotion.newest_features(log, evidence, 100)
    known = promotion.newest_labelled(log, evidence, HOUR - timedelta(hours=1), 100)
    sampled = sample_requests(log, evidence, product.schema, manifest, 2 * len(CLIENTS))
    labels = {names[row.features["area"]]: row.actual for row in known}
    assert {row.actual for row in sampled if row.actual is not None} == set(labels.values())
    assert {names[row["area"]] for row in asked} <= {names.get(row.features["area"]) for row in sampled}
    return {names[row["area"]] for row in asked}, labels


READERS: tuple[Callable[[Engine, Product, Manifest], tuple[set[str], Labels]], ...] = (
    by_drift,
    by_retraining,
    by_dark_phase,
)


def under(product: Product, clients: Any) -> Product:
    return msgspec.structs.replace(
        product, policy=msgspec.structs.replace(product.policy, evidence=Evidence(clients=clients))
    )


def expected_labels(counting: set[str]) -> Labels:
    """The shop's actual belongs to the last prediction of its entity that counts."""
    of_shop = max((name for name in counting if ENTITIES[name] == "shop"), key=MINUTES.__getitem__, default=None)
    labels = {"d": 40.0, "w": 60.0} | ({} if of_shop is None else {of_shop: 20.0})
    return {name: value for name, value in labels.items() if name in counting}


@pytest.mark.parametrize("rule", RULES)
def test_only_rows_that_count_are_evidence(rule: str, log: Engine, mixed: Product, manifest: Manifest) -> None:
    clients, counting = RULES[rule]
    product, labels = under(mixed, clients), expected_labels(RULES[rule][1])
    for reader in READERS:
        seen, told = reader(log, product, manifest)
        assert told == labels, reader.__name__
        assert seen == (set(labels) if reader is by_retraining else counting), reader.__name__


@pytest.mark.parametrize("rule", RULES)
def test_a_promotion_is_judged_on_rows_that_count(rule: str, log: Engine) -> None:
    clients, counting = RULES[rule]
    evidence, labels = Evidence(clients=clients), expected_labels(RULES[rule][1])
    error = promotion.realised_error(log, evidence, "1", HOUR)
    assert error == (len(labels), sum(labels.values()) / len(labels) if labels else 0.0)
    answers = promotion.shadow_answers(log, evidence, "2", HOUR)
    assert (answers.rows if answers else 0) == len(counting)


@pytest.mark.parametrize("rule", RULES)
def test_a_partition_changes_when_rows_of_it_come_that_count(rule: str, log: Engine) -> None:
    clients, counting = RULES[rule]
    later = Watermark(HOUR, HOUR)
    with log.connect() as connection:
        found = changed_partitions(connection, later, Evidence(clients=clients)).partitions
    assert found == ({Partition(HOUR, "1")} if counting else set())
