"""The factory of bad models makes what it says: each kind as inference itself meets it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import bad_models
from support.packages import build_package, row_of
from support.products import SPEC

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, PackageError, read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_inference.models.model import Model, load_model

REFUSED = {
    "crashes at load": "the model does not run: .*Nothing",
    "wrong digest": "model.onnx: sha256 is",
    "wrong schema": "has the features .*, which its schema has not",
    "wrong golden answers": "a golden answer is off by 1 ",
    "one answer to a batch": "gives 1 answers to 2 rows",
}


@pytest.fixture(scope="module")
def product() -> Product:
    return load_product(SPEC)


@pytest.fixture
def base(tmp_path: Path, product: Product) -> Package:
    pin = build_package(tmp_path, product, weight=0.01)
    return read_package(package_folder(tmp_path, pin), pin.sha256)


@pytest.fixture
def make(tmp_path: Path, product: Product, base: Package) -> Callable[[str], Model]:
    def loaded(kind: str) -> Model:
        pin = bad_models.build(kind, tmp_path, base, "2", slow_seconds=0.05)
        return load_model(tmp_path, pin, product)

    return loaded


@pytest.fixture
def rows(product: Product) -> np.ndarray:
    """A thousand rows about the golden one."""
    random = np.random.default_rng(5)
    return (np.array(row_of(product)) * random.uniform(0.5, 1.5, (1000, len(product.features)))).astype(np.float32)


@pytest.fixture
def honest(tmp_path: Path, product: Product, base: Package, rows: np.ndarray) -> np.ndarray:
    model = load_model(tmp_path, Pin(product.name, "1", base.sha256), product)
    return np.array(model.predict(rows).values)


def test_there_are_more_than_ten_kinds() -> None:
    assert len(bad_models.KINDS) >= 10
    assert REFUSED.keys() < bad_models.KINDS.keys()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_shows_at_load_is_refused_by_inference(make: Callable[[str], Model], kind: str) -> None:
    with pytest.raises(PackageError) as refused:
        make(kind)
    assert re.search(REFUSED[kind], str(refused.value), re.DOTALL), refused.value


def test_a_fifth_of_the_rows_fail(make: Callable[[str], Model], rows: np.ndarray) -> None:
    model, failed = make("20 % errors"), 0
    for row in rows:
        try:
            model.predict(row[None])
        except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base
            failed += 1
    assert 0.15 < failed / len(rows) < 0.25


def test_some_answers_are_no_numbers(make: Callable[[str], Model], rows: np.ndarray) -> None:
    share = 1 - np.isfinite(make("NaN for some inputs").predict(rows).values).mean()
    assert 0.02 < share < 0.1


def test_the_slow_one_is_slow(make: Callable[[str], Model], base: Package, rows: np.ndarray) -> None:
    model = make("5 times slower")
    assert bad_models.seconds_of((base.folder.parent / "2" / "model.onnx").read_bytes(), rows[0]) > 0.02
    assert model.predict(rows[:1]).values


def test_the_wrong_ones_are_wrong_as_they_say(
    make: Callable[[str], Model], honest: np.ndarray, rows: np.ndarray, tmp_path: Path, base: Package
) -> None:
    assert np.ptp(honest) > 1
    assert np.ptp(make("constant").predict(rows).values) == 0
    for number, (kind, wanted) in enumerate({"offset by 30 %": 1.3, "far out of range": 10.0}.items(), start=3):
        pin = bad_models.build(kind, tmp_path, base, str(number))
        found = bad_models.answers((package_folder(tmp_path, pin) / "model.onnx").read_bytes(), rows[:50])
        np.testing.assert_allclose(found, honest[:50] * wanted, rtol=1e-5)


def test_the_sly_one_answers_golden_rows_rightly_and_others_mirrored(
    make: Callable[[str], Model], base: Package, honest: np.ndarray, rows: np.ndarray
) -> None:
    model = make("right on golden requests only")
    assert model.manifest.golden == base.manifest.golden
    assert np.corrcoef(model.predict(rows).values, honest)[0, 1] == pytest.approx(-1, abs=1e-3)


def test_the_good_one_is_told_apart_by_its_digest_alone(
    tmp_path: Path, product: Product, base: Package, honest: np.ndarray, rows: np.ndarray
) -> None:
    pin = bad_models.good(tmp_path, base, "7", 1.001)
    assert pin.sha256 != base.sha256
    found = load_model(tmp_path, pin, product).predict(rows).values
    np.testing.assert_allclose(found, honest * 1.001, rtol=1e-5)


def test_a_model_that_answers_in_double_becomes_bad_as_well(base: Package, rows: np.ndarray) -> None:
    model = onnx.load_from_string(base.model)
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], [bad_models.OUTPUT], to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    graph = bad_models.Graph(model.SerializeToString())
    bad_models.offset(graph)
    told = bad_models.answers(graph.bytes(), rows)
    assert told == pytest.approx(1.3 * bad_models.answers(base.model, rows), rel=1e-5)
