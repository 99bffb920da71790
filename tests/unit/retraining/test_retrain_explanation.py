"""explanation.npz: exact Shapley values, held to the definition, to XGBoost's own, and to the model's sums."""

import itertools
import math
from typing import Any

import numpy as np
import onnx
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beacon_core.domain.derived import Formula
from beacon_core.domain.feature import Derived, FeatureEntry, make_feature
from beacon_core.domain.product_entry import Target
from beacon_core.domain.schema import Schema
from beacon_core.model_package.explanation.file import (
    ExplanationFile,
    Kernel,
    Leaves,
    Slopes,
    Terms,
    decode_explanation,
    encode_explanation,
)
from beacon_core.model_package.explanation.players import players_of
from beacon_core.model_package.explanation.product_games import product_game_values
from beacon_core.model_package.explanation.samples import SampledExplainer
from beacon_core.model_package.explanation.terms import TermExplainer
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.session import open_session
from beacon_retraining.packaging import explanation, export, tree_paths
from beacon_retraining.packaging.explanation import make_explanation
from beacon_retraining.packaging.tree_node import Trees, UnknownTreesError, read_trees
from beacon_retraining.packaging.tree_paths import PathTable, count_rows
from beacon_retraining.training.encoder import Column, ColumnEncoder, ColumnLayout
from beacon_retraining.training.estimators import Asinh, Blend, MedianKernelRidge, TableModel

COLUMNS = 5
KERNEL = make_pipeline(Asinh(), StandardScaler(), MedianKernelRidge())
BOOSTING = GradientBoostingRegressor(n_estimators=12, max_depth=4, random_state=0)
LAYOUT = ColumnLayout((0, 3, 4), (Column(1, (0.0, 1.0, 2.0, 3.0)),), (Column(2, (0.0, 1.0, 2.0)),))
REGRESSORS: dict[str, Any] = {
    "boosting": BOOSTING,
    "forest": ExtraTreesRegressor(n_estimators=5, max_leaf_nodes=40, random_state=0),
    "kernel": KERNEL,
    "linear": make_pipeline(StandardScaler(), RidgeCV()),
    "blend": Blend([(BOOSTING, 0.5), (KERNEL, 0.3), (make_pipeline(StandardScaler(), RidgeCV()), 0.2)]),
}


def schema(columns: int = COLUMNS) -> Schema:
    """Features a, b, c, ..."""
    features = tuple(make_feature(chr(97 + at), FeatureEntry()) for at in range(columns))
    return Schema(version=1, target=Target(name="y"), entity=None, features=features)


def data(seed: int = 0, rows: int = 150) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, COLUMNS)).astype(np.float32).astype(np.float64)
    features[:, 1] = random.integers(0, 4, rows)
    features[:, 2] = random.choice([0.0, 1.0], rows)
    target = np.exp(features[:, 0] * 0.4 + 0.2 * features[:, 1] * (features[:, 2] > 0) + random.normal(0, 0.1, rows))
    return features, target


def exported(kind: str, *, log: bool = False, layout: ColumnLayout | None = None) -> bytes:
    encoder = None if layout is None else ColumnEncoder(layout, 0)
    return export.to_onnx(TableModel(REGRESSORS[kind], encoder, "log" if log else "none").fit(*data()), COLUMNS)


def explained(model: bytes) -> ExplanationFile:
    features, _ = data()
    predictions = export.run(open_session(model), features)
    return decode_explanation(make_explanation(model, schema(), features, predictions))


def subsets(players: list[int]) -> list[frozenset[int]]:
    return [frozenset(some) for size in range(len(players) + 1) for some in itertools.combinations(players, size)]


def by_definition(players: int, value: Any) -> np.ndarray:
    """Shapley values as Shapley defined them: the mean gain over all orders, by all coalitions."""
    values = np.zeros(players)
    for each in range(players):
        for some in subsets([other for other in range(players) if other != each]):
            share = math.factorial(len(some)) * math.factorial(players - len(some) - 1) / math.factorial(players)
            values[each] += share * (value(some | {each}) - value(some))
    return values


def expected(trees: Trees, counts: np.ndarray, row: np.ndarray, known: frozenset[int], player: list[int]) -> float:
    """A tree's answer where some players are known: at the others' branches, the mean by the rows that go each way."""

    def below(node: int) -> float:
        if trees.is_leaf[node]:
            return float(trees.value[node])
        left, right = int(trees.left[node]), int(trees.right[node])
        if player[trees.column[node]] in known:
            return below(right if row[trees.column[node]] > trees.threshold[node] else left)
        share = counts[left] / counts[node] if counts[node] else 0.5
        return share * below(left) + (1 - share) * below(right)

    return sum(below(int(root)) for root in trees.roots)


def tree_node(model: bytes) -> onnx.NodeProto:
    (node,) = [node for node in onnx.load_from_string(model).graph.node if node.op_type == export.TREE_OPERATOR]
    return node


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_product_game_has_the_values_of_the_definition(players: int, games: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    present, absent = random.random((2, players, games)) * random.choice([0, 1], (2, players, games), p=[0.3, 0.7])
    weight = random.normal(size=games)

    def value(some: frozenset[int]) -> float:
        inside = np.isin(np.arange(players), list(some))[:, None]
        return float((weight * np.where(inside, present, absent).prod(axis=0)).sum())

    found = product_game_values(present, absent, weight).sum(axis=1)
    np.testing.assert_allclose(found, by_definition(players, value), atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans(), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_trees_have_the_values_of_the_definition(seed: int, depth: int, forest: bool, player: list[int]) -> None:
    """Of random ensembles, whose columns belong to features by chance."""
    features, target = data(seed, 60)
    kind = ExtraTreesRegressor if forest else GradientBoostingRegressor
    model = export.to_onnx(
        TableModel(kind(n_estimators=3, max_depth=depth, random_state=seed)).fit(features, target), 5
    )
    trees = read_trees(tree_node(model))
    counts = count_rows(trees, features)
    paths = PathTable(np.array(player))
    paths.add(trees, counts, 1.0, 0)
    leaves, base = paths.leaves()
    none = explained_terms(leaves, base)
    rows = np.concatenate([features[:2], np.random.default_rng(seed).normal(size=(2, 5))]).astype(np.float32)
    for row in rows:
        wanted = by_definition(3, lambda known, row=row: expected(trees, counts, row, known, player))
        np.testing.assert_allclose(none.contributions(row[None]), wanted, atol=1e-9)
    assert base == pytest.approx(expected(trees, counts, rows[0], frozenset(), player))


def explained_terms(leaves: Leaves, base: float) -> TermExplainer:
    """Trees alone."""
    empty, nothing, table = np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 0))
    kernel, slopes = Kernel(empty, table, nothing, nothing, table), Slopes(empty, nothing, nothing, empty)
    return TermExplainer(Terms(base, 0.0, b"", (), leaves, kernel, slopes), 3)


def onnx_of(booster: xgboost.Booster, columns: int) -> bytes:
    """XGBoost's trees as the node that converters write: float32 lists, and branches below a threshold."""
    frame = booster.trees_to_dataframe()
    number = dict(zip(frame["ID"], frame["Node"], strict=True))
    leaf = (frame["Feature"] == "Leaf").to_numpy()
    side = {key: [0 if pd_null(name) else number[name] for name in frame[key]] for key in ("Yes", "No")}
    node = helper.make_node(
        export.TREE_OPERATOR,
        ["features"],
        ["prediction"],
        domain=export.TREES,
        n_targets=1,
        base_values=[0.5],
        nodes_treeids=frame["Tree"].tolist(),
        nodes_nodeids=frame["Node"].tolist(),
        nodes_featureids=[0 if name == "Leaf" else int(name[1:]) for name in frame["Feature"]],
        nodes_modes=["LEAF" if each else "BRANCH_LT" for each in leaf],
        nodes_values=[0.0 if each else float(split) for each, split in zip(leaf, frame["Split"], strict=True)],
        nodes_truenodeids=side["Yes"],
        nodes_falsenodeids=side["No"],
        target_treeids=frame["Tree"][leaf].tolist(),
        target_nodeids=frame["Node"][leaf].tolist(),
        target_ids=[0] * int(leaf.sum()),
        target_weights=[float(gain) for gain in frame["Gain"][leaf]],
    )
    graph = helper.make_graph(
        [node],
        "xgboost",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in export.OPSETS.items()]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def pd_null(name: Any) -> bool:
    return name != name or name is None


@pytest.mark.parametrize("depth", [2, 6])
def test_trees_have_the_values_of_xgboost(depth: int) -> None:
    features, target = data(3, 300)
    rows = xgboost.DMatrix(features, target)
    booster = xgboost.train({"max_depth": depth, "base_score": 0.5, "seed": 1}, rows, 20)
    model = onnx_of(booster, COLUMNS)
    predictions = open_session(model).run(None, {"features": features.astype(np.float32)})[0][:, 0].astype(float)
    found = decode_explanation(make_explanation(model, schema(), features, predictions))
    assert found.terms is not None
    explainer = TermExplainer(found.terms, COLUMNS)
    others, _ = data(4, 20)
    wanted = booster.predict(xgboost.DMatrix(others), pred_contribs=True)
    for row, own in zip(others.astype(np.float32), wanted, strict=True):
        np.testing.assert_allclose(explainer.contributions(row[None]), own[:-1], atol=2e-5)
        assert found.terms.base == pytest.approx(own[-1], abs=2e-5)


@pytest.mark.parametrize("layout", [None, LAYOUT], ids=["as it is", "encoded"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("kind", REGRESSORS)
def test_the_terms_add_up_to_the_model(kind: str, log: bool, layout: ColumnLayout | None) -> None:
    """Also for rows that no training row is like: unseen levels, and values beyond all thresholds."""
    model = exported(kind, log=log, layout=layout)
    found = explained(model)
    assert found.terms is not None
    assert found.is_log == log
    explainer = TermExplainer(found.terms, COLUMNS)
    rows, _ = data(9, 30)
    rows[:4, 1] = 77
    rows[4:8, 2] = 5
    rows[8, 0], rows[9, 3] = 1e2, -1e2
    answers = export.run(open_session(model), rows)
    answers = np.log(answers) if log else answers
    sums = [found.terms.base + explainer.contributions(row[None]).sum() for row in rows.astype(np.float32)]
    np.testing.assert_allclose(sums, answers, atol=found.terms.tolerance)


def test_a_kernel_has_the_values_of_the_definition() -> None:
    """Where a feature is unknown, its share in the kernel of each point is the mean over the training rows."""
    model, (features, target) = exported("kernel"), data()
    found = explained(model)
    fitted = TableModel(KERNEL).fit(features, target)
    asinh, scaler, median = (step for _, step in fitted.regressor_.steps)
    scaled, points = scaler.transform(asinh.transform(features)), median.ridge_.X_fit_
    row = scaled[7]
    share = np.exp(-median.ridge_.gamma * (row - points) ** 2)
    mean = np.exp(-median.ridge_.gamma * (scaled[:, None, :] - points[None]) ** 2).mean(axis=0)

    def value(some: frozenset[int]) -> float:
        inside = np.isin(np.arange(COLUMNS), list(some))
        return float(fitted.scale_ * np.where(inside, share, mean).prod(axis=1) @ median.ridge_.dual_coef_)

    assert found.terms is not None
    values = TermExplainer(found.terms, COLUMNS).contributions(features[7:8].astype(np.float32))
    np.testing.assert_allclose(values, by_definition(COLUMNS, value), atol=1e-6)


def test_an_encoded_category_is_one_feature() -> None:
    """A feature that the target does not depend on at all has no part, however its columns are encoded."""
    features, _ = data()
    target = 3.0 * features[:, 1] + (features[:, 2] > 0)
    model = export.to_onnx(TableModel(BOOSTING, ColumnEncoder(LAYOUT, 0)).fit(features, target), COLUMNS)
    predictions = export.run(open_session(model), features)
    found = decode_explanation(make_explanation(model, schema(), features, predictions))
    assert found.terms is not None
    explainer = TermExplainer(found.terms, COLUMNS)
    values = np.array([explainer.contributions(row[None]) for row in features[:40].astype(np.float32)])
    sizes = np.abs(values).mean(axis=0)
    assert sizes[1] > 10 * sizes[0]
    high, low = values[features[:40, 1] == 3, 1], values[features[:40, 1] == 0, 1]
    assert high.min() > 0 > low.max()


def test_a_model_of_another_kind_is_sampled() -> None:
    model = onnx.load_from_string(exported("boosting"))
    for node in model.graph.node:
        if "prediction" in node.output:
            node.output[0] = "sum"
    model.graph.node.append(helper.make_node("Abs", ["sum"], ["prediction"]))
    found = explained(model.SerializeToString())
    assert found.terms is None
    assert len(found.background) == 64


def test_a_second_output_is_no_part_of_the_prediction() -> None:
    """Nor are its trees, although they take the same columns."""
    model = onnx.load_from_string(exported("blend", layout=LAYOUT))
    other = tree_node(exported("forest", layout=LAYOUT))
    (trees,) = [node for node in model.graph.node if node.op_type == export.TREE_OPERATOR]
    other.input[0], other.output[0], other.name = trees.input[0], "spread", "spread"
    model.graph.node.append(other)
    model.graph.output.insert(0, helper.make_tensor_value_info("spread", TensorProto.FLOAT, [None, 1]))
    with_spread, without = explained(model.SerializeToString()), explained(exported("blend", layout=LAYOUT))
    assert encode_explanation(with_spread) == encode_explanation(without)


def test_terms_that_are_not_the_model_are_refused() -> None:
    """What does not add up to the model's own answers is sampled."""
    model = exported("boosting")
    features, _ = data()
    predictions = export.run(open_session(model), features)
    right = decode_explanation(make_explanation(model, schema(), features, predictions))
    wrong = decode_explanation(make_explanation(model, schema(), features, predictions * 1.01))
    assert right.terms is not None
    assert wrong.terms is None


@pytest.mark.parametrize(
    ("module", "limit", "kind"),
    [(explanation, "MOST_KERNEL_STEPS", "kernel"), (tree_paths, "MOST_PLAYERS_ON_PATHS", "forest")],
)
def test_what_would_take_too_long_is_sampled(
    module: Any, limit: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explained(exported(kind)).terms is not None
    monkeypatch.setattr(module, limit, 10)
    assert explained(exported(kind)).terms is None


def test_trees_with_other_branches_are_refused() -> None:
    node = tree_node(exported("boosting"))
    for attribute in node.attribute:
        if attribute.name == "nodes_modes":
            attribute.strings[0] = b"BRANCH_EQ"
    with pytest.raises(UnknownTreesError, match="BRANCH_EQ"):
        read_trees(node)


@pytest.mark.parametrize("kind", ["BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])
def test_each_comparison_is_read_as_onnx_runtime_has_it(kind: str) -> None:
    """Values on a threshold and beside it."""
    model = onnx.load_from_string(exported("boosting"))
    (node,) = [node for node in model.graph.node if node.op_type == export.TREE_OPERATOR]
    for attribute in node.attribute:
        if attribute.name == "nodes_modes":
            attribute.strings[:] = [kind.encode() if mode == b"BRANCH_LEQ" else mode for mode in attribute.strings]
        if attribute.name == "nodes_values_as_tensor":
            rounded = numpy_helper.to_array(attribute.t).astype(np.float32).astype(np.float64)
            attribute.t.CopyFrom(numpy_helper.from_array(rounded))
            thresholds = rounded
    content = model.SerializeToString()
    rows = np.resize(thresholds, (40, COLUMNS)).astype(np.float32)
    found = explained(content)
    assert found.terms is not None
    explainer = TermExplainer(found.terms, COLUMNS)
    answers = export.run(open_session(content), rows.astype(float))
    sums = [found.terms.base + explainer.contributions(row[None]).sum() for row in rows]
    np.testing.assert_allclose(sums, answers, atol=found.terms.tolerance)


def test_sampling_comes_near_the_exact_values() -> None:
    """Of a function whose Shapley values are known: x0 x1 + 3 x2, against a background of its own."""
    background = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)

    def answers(rows: np.ndarray) -> np.ndarray:
        return (rows[:, 0] * rows[:, 1] + 3 * rows[:, 2]).astype(float)

    explainer = SampledExplainer(answers, np.array([0, 1, 2, 3]), 4, background)
    row = np.array([[1.5, -2.0, 0.7, 9.0]], np.float32)
    answer = answers(row).item()
    values, errors = explainer.contributions(row, answer)
    again, _ = explainer.contributions(row, answer)
    mean = background.astype(float).mean(axis=0)
    both = float((background[:, 0].astype(float) * background[:, 1]).mean())
    first = (1.5 * -2.0 - mean[0] * -2.0 + 1.5 * mean[1] - both) / 2
    np.testing.assert_allclose(values.sum() + explainer.base, answer)
    np.testing.assert_array_equal(values, again)
    assert values[3] == 0
    assert values[2] == pytest.approx(3 * (0.7 - mean[2]), rel=1e-5)
    assert abs(values[0] - first) <= 5 * errors[0] + 1e-9


def test_columns_belong_to_their_feature_or_to_themselves() -> None:
    when = make_feature("when", FeatureEntry(type="date", parts=("year", "month_cycle")))
    features = (make_feature("a", FeatureEntry()), when, make_feature("b", FeatureEntry()))
    formulas = {"root": Formula(square="b"), "share": Formula(ratio=("a", "b"))}
    derived = tuple(Derived(name, name, "", formula) for name, formula in formulas.items())
    names, player = players_of(
        Schema(version=1, target=Target(name="y"), entity=None, features=features, derived=derived)
    )
    assert names == ("a", "when", "b", "share")
    assert player.tolist() == [0, 1, 1, 1, 2, 2, 3]


def test_the_file_is_read_without_unpickling_and_refused_when_damaged() -> None:
    found = explained(exported("blend", layout=LAYOUT))
    content = encode_explanation(found)
    assert encode_explanation(decode_explanation(content)) == content
    for damaged in (b"", b"PK\x03\x04", content[:-200], content[:50]):
        with pytest.raises(PackageError, match=r"explanation\.npz"):
            decode_explanation(damaged)
