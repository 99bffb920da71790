"""The form for batches answers as ONNX Runtime does, on random ensembles, and exists only where it can."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.kernels import built_kernels

from beacon_core.model_package import batch_model
from beacon_core.model_package.session import open_batch_model, open_session
from beacon_core.model_package.tree_masks import MOST_BLOCK_ROWS, TREES_PER_TABLE
from beacon_retraining.packaging import batch_form, export
from beacon_retraining.packaging.batch_form import make_batch_form, to_batch_form
from beacon_retraining.training.encoder import Column, ColumnEncoder, ColumnLayout
from beacon_retraining.training.estimators import Blend, TableModel

COLUMNS = 6
REGRESSORS: dict[str, Any] = {
    "stumps": GradientBoostingRegressor(n_estimators=7, max_depth=1, random_state=0),
    "one tree": GradientBoostingRegressor(n_estimators=1, max_depth=4, random_state=0),
    "depth 5, all 32 leaves": GradientBoostingRegressor(n_estimators=40, max_depth=5, random_state=0),
    "trees of two tables": GradientBoostingRegressor(n_estimators=TREES_PER_TABLE + 5, random_state=0),
    "by leaves": HistGradientBoostingRegressor(max_iter=15, max_leaf_nodes=31, random_state=0),
    "forest": ExtraTreesRegressor(n_estimators=20, max_leaf_nodes=20, random_state=0),
    "blend": Blend(
        [
            (GradientBoostingRegressor(n_estimators=30, random_state=0), 0.6),
            (make_pipeline(StandardScaler(), RidgeCV()), 0.4),
        ]
    ),
}


def data(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose second column is whole numbers, and whose third has few values; and a target above 0."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, COLUMNS)).astype(np.float32).astype(np.float64)
    features[:, 1] = random.integers(0, 9, rows)
    features[:, 2] = random.choice([0.0, 1.0, 2.5], rows)
    target = np.exp(features[:, 0] + 0.2 * features[:, 1] * (features[:, 2] > 1) + random.normal(0, 0.1, rows))
    return features, target


def exported(regressor: Any, *, seed: int = 0, log: bool = False, layout: ColumnLayout | None = None) -> bytes:
    features, target = data(seed)
    encoder = None if layout is None else ColumnEncoder(layout, 0)
    return export.to_onnx(TableModel(regressor, encoder, "log" if log else "none").fit(features, target), COLUMNS)


def answers(model: bytes, rows: np.ndarray) -> np.ndarray:
    return export.run(open_session(model), rows)


def in_batch(batch: bytes, rows: np.ndarray) -> np.ndarray:
    """By numpy, which the compiled code must equal where there is a compiler."""
    by_numpy, *others = [_in_batch(batch, rows, compiled) for compiled in (None, *built_kernels())]
    for by_kernel in others:
        np.testing.assert_allclose(by_kernel, by_numpy, rtol=1e-14)
    return by_numpy


def _in_batch(batch: bytes, rows: np.ndarray, compiled: Any) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_model, "compiled", lambda: compiled)
        return open_batch_model(batch).predict(rows.astype(np.float32))


@pytest.mark.parametrize(("seed", "log"), [(0, False), (1, True)])
@pytest.mark.parametrize("kind", REGRESSORS)
def test_the_form_for_batches_gives_the_models_own_answers(kind: str, seed: int, log: bool) -> None:
    model = exported(REGRESSORS[kind], seed=seed, log=log)
    batch = to_batch_form(model)
    assert batch is not None
    rows, _ = data(seed + 100, 300)
    # As they are, each value on a threshold or beside one, and beyond all of them.
    rows = np.concatenate([rows, thresholds(model), np.nextafter(thresholds(model).astype(np.float32), np.float32(9))])
    rows = np.concatenate([rows, np.full((1, COLUMNS), 3e38), np.full((1, COLUMNS), -3e38)])
    given = in_batch(batch, rows)
    np.testing.assert_allclose(given, answers(model, rows), rtol=1e-14)


def thresholds(model: bytes) -> np.ndarray:
    """Rows whose values are the model's thresholds."""
    (node,) = [node for node in onnx.load_from_string(model).graph.node if node.op_type == export.TREE_OPERATOR]
    found = {attribute.name: attribute for attribute in node.attribute}
    values = numpy_helper.to_array(found["nodes_values_as_tensor"].t)
    columns = np.array(found["nodes_featureids"].ints)
    rows, _ = data(7, len(values))
    rows[np.arange(len(values)), columns] = values
    return rows


@pytest.mark.parametrize("kind", ["BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])
def test_every_comparison_is_read_as_onnx_runtime_has_it(kind: str) -> None:
    """Values on a threshold and beside it."""
    model = onnx.load_from_string(exported(REGRESSORS["by leaves"]))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_modes":
                attribute.strings[:] = [kind.encode() if mode == b"BRANCH_LEQ" else mode for mode in attribute.strings]
    content = model.SerializeToString()
    batch = to_batch_form(content)
    assert batch is not None
    rows = thresholds(content)
    rows = np.concatenate([rows, np.nextafter(rows.astype(np.float32), np.float32(9))])
    np.testing.assert_allclose(in_batch(batch, rows), answers(content, rows), rtol=1e-14)


def test_trees_that_add_up_in_float32_have_no_form_for_batches() -> None:
    model = onnx.load_from_string(exported(REGRESSORS["stumps"]))
    (node,) = [node for node in model.graph.node if node.op_type == export.TREE_OPERATOR]
    for name in ("nodes_values", "target_weights", "base_values"):
        (tensor,) = [attribute for attribute in node.attribute if attribute.name == f"{name}_as_tensor"]
        values = numpy_helper.to_array(tensor.t).astype(np.float32).tolist()
        node.attribute.remove(tensor)
        node.attribute.append(onnx.helper.make_attribute(name, values))
    assert to_batch_form(model.SerializeToString()) is None


def test_encoded_categories_go_through_the_graph() -> None:
    levels = tuple(map(float, range(9)))
    layout = ColumnLayout(as_is=(0, 3, 4, 5), onehot=(Column(2, (0.0, 1.0, 2.5)),), target=(Column(1, levels),))
    for regressor in REGRESSORS.values():
        model = exported(regressor, layout=layout)
        batch = to_batch_form(model)
        assert batch is not None
        rows, _ = data(5, 200)
        np.testing.assert_allclose(in_batch(batch, rows), answers(model, rows), rtol=1e-14)


@pytest.mark.parametrize("count", [1, 2, MOST_BLOCK_ROWS - 1, MOST_BLOCK_ROWS, MOST_BLOCK_ROWS + 1, 300])
def test_any_number_of_rows_is_answered(count: int) -> None:
    model = exported(REGRESSORS["by leaves"])
    batch = to_batch_form(model)
    assert batch is not None
    rows, _ = data(1, count)
    np.testing.assert_array_equal(in_batch(batch, rows), answers(model, rows))


@pytest.mark.parametrize(
    "regressor",
    [
        make_pipeline(StandardScaler(), RidgeCV()),
        ExtraTreesRegressor(n_estimators=3, random_state=0),
        GradientBoostingRegressor(n_estimators=3, max_depth=6, min_samples_leaf=1, random_state=0),
    ],
    ids=["no trees", "trees of hundreds of leaves", "33 leaves and more"],
)
def test_other_models_have_no_form_for_batches(regressor: Any) -> None:
    assert to_batch_form(exported(regressor)) is None


def test_tables_that_need_too_much_memory_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported(REGRESSORS["by leaves"])
    monkeypatch.setattr(batch_form, "MOST_TABLE_BYTES", 1000)
    assert to_batch_form(model) is None


def test_a_form_that_differs_from_the_model_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = exported(REGRESSORS["stumps"])
    rows, _ = data(0)
    predictions, ones = answers(model, rows), np.ones(len(rows))
    assert make_batch_form(model, rows, predictions, ones) is not None
    predictions[3] += 1e-3
    assert make_batch_form(model, rows, predictions, ones) is None
    assert "differs from the model by 0.001" in caplog.text


def test_equal_models_give_equal_bytes() -> None:
    assert to_batch_form(exported(REGRESSORS["blend"])) == to_batch_form(exported(REGRESSORS["blend"]))
