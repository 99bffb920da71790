"""Batches go through the package's form for batches, which must be the same model."""

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from support.kernels import built_kernels
from support.packages import build_package

from beacon_core.domain.pins import Pin
from beacon_core.model_package import batch_model
from beacon_core.model_package.batch_model import BATCH_FROM, ROWS_PER_RUN
from beacon_core.model_package.manifest import (
    BATCH_FILE,
    MODEL_FILE,
    GoldenRequest,
    PackageError,
    digest,
    read_package,
    write_manifest,
)
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.session import open_session
from beacon_inference.models.model import load_model
from beacon_retraining.packaging import export
from beacon_retraining.packaging.batch_form import to_batch_form
from beacon_retraining.training.estimators import TableModel


@pytest.fixture(scope="module")
def rows(product):
    return np.random.default_rng(0).normal(size=(ROWS_PER_RUN + 50, len(product.feature_names)))


def exported(rows, target):
    return export.to_onnx(TableModel(GradientBoostingRegressor(random_state=0)).fit(rows, target), rows.shape[1])


@pytest.fixture(scope="module")
def model(rows):
    return exported(rows, rows[:, 0] + rows[:, 1] ** 2)


@pytest.fixture
def package(tmp_path, product, rows, model):
    """Writes a package of the model with this form for batches; its pin."""

    def write(batch, graph=model):
        pin = build_package(tmp_path, product)
        folder = package_folder(tmp_path, pin)
        manifest = read_package(folder, pin.sha256).manifest
        contents = {MODEL_FILE: graph, BATCH_FILE: batch}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        told = export.run(open_session(model), rows[:8])
        golden = tuple(
            GoldenRequest(tuple(row), float(answer)) for row, answer in zip(rows.tolist(), told, strict=False)
        )
        files = {name: digest(content) for name, content in contents.items()}
        return Pin(
            pin.name, pin.version, write_manifest(folder, msgspec.structs.replace(manifest, golden=golden, files=files))
        )

    return write


@pytest.fixture(params=[None, *built_kernels()], ids=lambda function: "numpy" if function is None else "compiled")
def kernel(request, monkeypatch):
    """How the trees of the form are answered; with the compiled function it takes single rows, too."""
    monkeypatch.setattr(batch_model, "compiled", lambda: request.param)
    return request.param


@pytest.mark.parametrize("count", [1, BATCH_FROM - 1, BATCH_FROM, ROWS_PER_RUN, ROWS_PER_RUN + 50])
@pytest.mark.usefixtures("kernel")
def test_a_row_has_the_same_answer_alone_and_in_a_batch(tmp_path, product, package, model, rows, count):
    loaded = load_model(tmp_path, package(to_batch_form(model)), product)
    alone = [loaded.predict(row[None]).values[0] for row in rows[:count]]
    assert loaded.predict(rows[:count]).values == alone
    assert alone == export.run(open_session(model), rows[:count]).tolist()


def test_batches_go_through_their_form(tmp_path, product, package, model, rows, monkeypatch, kernel):
    loaded = load_model(tmp_path, package(to_batch_form(model)), product)
    monkeypatch.setattr(loaded, "_session", None)
    count = BATCH_FROM if kernel is None else 1
    assert len(loaded.predict(rows[:count]).values) == count


@pytest.mark.usefixtures("kernel")
def test_a_graph_that_is_another_model_than_its_form_is_refused(tmp_path, product, package, model, rows):
    other = exported(rows, rows[:, 2])
    pin = package(to_batch_form(model), graph=other)
    with pytest.raises(PackageError, match="a golden answer is off by"):
        load_model(tmp_path, pin, product)


def test_a_form_of_another_model_is_refused(tmp_path, product, package, rows):
    other = to_batch_form(exported(rows, rows[:, 2]))
    with pytest.raises(PackageError, match="a golden answer is off by"):
        load_model(tmp_path, package(other), product)


def test_a_form_that_is_no_onnx_is_refused(tmp_path, product, package):
    with pytest.raises(PackageError, match="does not run"):
        load_model(tmp_path, package(b"no onnx"), product)


def test_a_form_that_is_another_graph_is_refused(tmp_path, product, package, model):
    with pytest.raises(PackageError, match="does not run"):
        load_model(tmp_path, package(model), product)


def test_a_damaged_form_is_refused(tmp_path, product, package, model):
    pin = package(to_batch_form(model))
    (package_folder(tmp_path, pin) / BATCH_FILE).write_bytes(b"damaged")
    with pytest.raises(PackageError, match=r"batch\.onnx: sha256 is"):
        load_model(tmp_path, pin, product)
