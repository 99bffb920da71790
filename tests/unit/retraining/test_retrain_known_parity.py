"""The verdict's parity of many rows is what the export of this very model measured; of few, a fit made anew."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from support.products import write_spec

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, digest
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.evaluation import measurements
from beacon_retraining.evaluation.measurements import measure_package
from beacon_retraining.packaging.graph import export_compared
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training import effort
from beacon_retraining.training.fitting import FittedModel, fit
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import ModelExport, TrainedModel, train
from beacon_retraining.training.trained_file import decode, encode

ROWS = 400
SETTINGS = TrainSettings(folds=3, repeats=1, coverage_folds=2, candidates=("ridge",), jobs=1)
MEASURED = 0.125
"""A parity that no fit of these rows has."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return write_spec(
        tmp_path_factory.mktemp("product"),
        {name: {"type": "float"} for name in ("one", "two")},
        target={"name": "price"},
    )


@pytest.fixture(scope="module")
def dataset(product: Product) -> Dataset:
    features = np.random.default_rng(0).normal(size=(ROWS, 2))
    return make_dataset(product, features, features @ [2.0, -1.0] + 10)


@pytest.fixture(scope="module")
def trained(product: Product, dataset: Dataset) -> TrainedModel:
    return train(dataset, product, SETTINGS)


@pytest.fixture(scope="module")
def package(
    tmp_path_factory: pytest.TempPathFactory, product: Product, dataset: Dataset, trained: TrainedModel
) -> Package:
    origin = PackageOrigin("1", "a test", "", datetime(2026, 1, 1, tzinfo=UTC))
    return write_package(tmp_path_factory.mktemp("models"), product, dataset, trained, SETTINGS, origin)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []

    def counted(*given: object) -> FittedModel:
        made.append(1)
        return fit(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(measurements, "fit", counted)
    return made


def as_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "MANY_ROWS", 100)
    monkeypatch.setattr(effort, "SEARCH_ROWS", ROWS - 1)


def parity_of(product: Product, dataset: Dataset, package: Package, exported: ModelExport | None) -> float:
    recipe = package.manifest.recipe
    assert recipe is not None
    return measure_package(product, dataset, package, recipe, SETTINGS, exported).parity


def test_of_many_rows_nothing_is_fitted_anew(
    product: Product, dataset: Dataset, package: Package, fits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = ModelExport(digest(package.model), MEASURED)
    assert parity_of(product, dataset, package, exported) < MEASURED / 100
    assert len(fits) == 1
    as_many_rows(monkeypatch)
    assert parity_of(product, dataset, package, exported) == MEASURED
    assert len(fits) == 1


@pytest.mark.parametrize("exported", [None, ModelExport(digest(b"another model"), MEASURED)])
def test_another_model_is_compared_with_its_recipe(
    exported: ModelExport | None,
    product: Product,
    dataset: Dataset,
    package: Package,
    fits: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_many_rows(monkeypatch)
    assert parity_of(product, dataset, package, exported) < MEASURED / 100
    assert len(fits) == 1


def test_what_the_export_measured_is_in_the_training_s_file(dataset: Dataset, trained: TrainedModel) -> None:
    assert trained.model is not None
    content, parity = export_compared(dataset, FittedModel(trained.model, trained.fill, dataset.schema))
    assert 0 <= parity < 1e-5 * dataset.spread
    exported = ModelExport(digest(content), parity)
    assert decode(encode(msgspec.structs.replace(trained, export=exported))).export == exported
    assert decode(encode(trained)).export is None
