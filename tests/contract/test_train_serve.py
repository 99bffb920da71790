"""Training and serving agree: by features, by entity and by scikit-learn itself, for every row of the sample."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.features import free_port, serve_features
from support.inference import Inference

from beacon_core.product import Product
from beacon_core.release import Pin, Release, write_release
from beacon_core.settings import Settings
from beacon_retrain.history import load_dataset
from beacon_retrain.imputation import impute
from beacon_retrain.offline import write_offline
from beacon_retrain.package import Origin, write_package
from beacon_retrain.train import TrainSettings, train
from beacon_retrain.validate import validate
from feature_repo import repo

TOLERANCE = 1e-4
# The search is short, the model whole: the blend that the product ships with.
SEARCH = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("kernel-ridge", "boosting", "blend"))
pytestmark = pytest.mark.xdist_group("train-serve")


class Road:
    """What one run of retraining left, and the services that serve it."""

    def __init__(self, folder: Path, product: Product) -> None:
        self.settings = Settings(
            home=folder, features_port=free_port(), features_metrics_port=free_port(), feature_token="unused"
        )
        write_offline(self.settings, product, validate(product.sample_path, product), datetime.now(UTC))
        repo.apply(self.settings, product)
        repo.materialize(self.settings, product)
        dataset = load_dataset(self.settings, product)
        trained = train(dataset, product, SEARCH)
        origin = Origin("1", "sample", "test", datetime.now(UTC))
        package = write_package(self.settings.models_dir, product, dataset, trained, SEARCH, origin)
        write_release(self.settings.release_file, Release(Pin(product.name, "1", package.sha256)))
        self.raw = dataset.features
        self.by_scikit_learn = trained.model.predict(impute(dataset.features, trained.fill))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Road:
    return Road(tmp_path_factory.mktemp("road"), product)


@pytest.fixture(scope="module")
def inference(road: Road, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    folder = tmp_path_factory.mktemp("logs")
    (folder / "features").mkdir()
    address = f"http://127.0.0.1:{road.settings.features_port}"
    with serve_features(road.settings, folder / "features"):
        # A loaded machine may take long for one look-up; how fast it is belongs to the benchmark.
        slow = {"BEACON_FEATURES_URL": address, "BEACON_FEATURES_TIMEOUT_SECONDS": "5"}
        with Inference(road.settings.home, folder, **slow) as running:
            yield running


def predictions(inference: Inference, rows: list[Any]) -> np.ndarray:
    reply = inference.post("/v1/predict/batch", {"rows": rows})
    assert reply.status == 200, reply.body
    return np.array([answer["prediction"] for answer in reply.json()["predictions"]])


def test_every_row_by_features_by_entity_and_by_scikit_learn(
    road: Road, inference: Inference, product: Product
) -> None:
    given = [
        {name: None if np.isnan(value) else value for name, value in zip(product.feature_names, row, strict=True)}
        for row in road.raw.tolist()
    ]
    by_features = predictions(inference, [{"features": features} for features in given])
    by_entity = predictions(inference, [{"entity": {product.entity.key: n + 1}} for n in range(len(given))])
    assert len(by_features) == 506
    assert np.isnan(road.raw).any(), "the sample has missing values"
    assert np.abs(by_features - road.by_scikit_learn).max() <= TOLERANCE
    assert np.abs(by_entity - road.by_scikit_learn).max() <= TOLERANCE


def test_one_at_a_time_is_the_same(road: Road, inference: Inference, product: Product) -> None:
    for number in (0, 4, 250, 505):
        reply = inference.post("/v1/predict", {"entity": {product.entity.key: number + 1}})
        assert reply.status == 200, reply.body
        assert abs(reply.json()["prediction"] - road.by_scikit_learn[number]) <= TOLERANCE
        missing = [name for name, value in zip(product.feature_names, road.raw[number], strict=True) if np.isnan(value)]
        assert reply.json()["imputed"] == missing


def test_the_requests_values_win_over_the_stores(road: Road, inference: Inference, product: Product) -> None:
    body = {"entity": {product.entity.key: 1}, "features": {"RM": 8.0, "LSTAT": None}}
    answer = inference.post("/v1/predict", body).json()
    changed = road.raw[0].copy()
    changed[product.feature_names.index("RM")] = 8.0
    alone = dict(zip(product.feature_names, changed.tolist(), strict=True))
    assert answer["prediction"] == inference.post("/v1/predict", {"features": alone}).json()["prediction"]
    assert answer["sources"]["RM"] == "request"
    assert answer["sources"]["LSTAT"] == "store", "null is no value"
