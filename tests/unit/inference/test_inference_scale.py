"""Figures in the target's unit: buckets and limits follow its spread, whatever its size."""

import msgspec
import pytest
from support.packages import build_package
from support.products import write_spec

from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import package_folder
from beacon_inference.metrics import buckets, extremes

SHARES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)


@pytest.fixture
def manifest(tmp_path):
    product = write_spec(tmp_path, {"x": {"type": "float"}})
    pin = build_package(tmp_path / "models", product)
    return read_package(package_folder(tmp_path / "models", pin), pin.sha256).manifest


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e6, 1e9])
def test_buckets_tell_predictions_of_any_size_apart(manifest, size):
    quantiles = tuple(share * size / 100 for share in SHARES)
    ends = buckets(msgspec.structs.replace(manifest, prediction_quantiles=quantiles))
    assert ends == pytest.approx(quantiles, rel=1e-2)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e-6])
def test_a_constant_target_has_more_than_one_bucket(manifest, value):
    same = (value,) * 7
    low, high = buckets(msgspec.structs.replace(manifest, prediction_quantiles=same, target_quantiles=same))
    assert low < value < high


def test_extremes_are_the_products_or_those_of_training(tmp_path, manifest):
    assert extremes(write_spec(tmp_path, {"x": {}}), manifest) == (5.0, 50.0)
    assert extremes(write_spec(tmp_path, {"x": {}}, target={"name": "y", "low": 8}), manifest) == (8, 50.0)
