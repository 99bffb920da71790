"""The gate's latency is what the model takes, whatever else the machine does."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import bad_models
from support.packages import build_package

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, read_package
from beacon_core.model_package.release import package_folder
from beacon_retraining.evaluation import measurements
from beacon_retraining.packaging import export


@pytest.fixture
def package(tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(measurements, "CALLS", 20)
    pin = build_package(tmp_path, product)
    return read_package(package_folder(tmp_path, pin), pin.sha256)


def test_time_that_others_have_the_core_for_does_not_count(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    run = export.run

    def suspended(*given: Any) -> Any:
        time.sleep(0.03)
        return run(*given)

    monkeypatch.setattr(export, "run", suspended)
    assert measurements.latency(package) < 0.02


def test_a_slow_model_is_slow(package: Package) -> None:
    graph = bad_models.Graph(package.model)
    bad_models.slow(graph, 100)
    slow = msgspec.structs.replace(package, model=graph.bytes())
    assert measurements.latency(slow) > 5 * measurements.latency(package)
