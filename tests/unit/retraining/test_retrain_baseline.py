"""CatBoost's figures are of the sample and its folds, and of nothing else; our promise beside them holds."""

from pathlib import Path

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.packaging.baseline import FILE, find_baseline
from beacon_retraining.training.settings import TrainSettings

PROMISED_RMSE = 2.85


def test_the_peer_was_measured_on_the_sample_and_is_worse_than_what_we_promise(product: Product) -> None:
    rows = validate(product.sample_path, product)
    features = rows[list(product.feature_names)].to_numpy(np.float64)
    dataset = make_dataset(product, features, rows[product.target.name].to_numpy(np.float64))
    baseline = find_baseline(dataset.fingerprint, TrainSettings())
    assert baseline is not None, "run `make compare-catboost`"
    assert baseline.rmse > PROMISED_RMSE


def test_other_data_or_folds_have_no_peer(tmp_path: Path) -> None:
    known = msgspec.json.decode(FILE.read_bytes())["data_fingerprint"]
    assert find_baseline(known, TrainSettings()) is not None
    assert find_baseline("0" * 64, TrainSettings()) is None
    assert find_baseline(known, TrainSettings(folds=5)) is None
    assert find_baseline(known, TrainSettings(seed=1)) is None
