"""Intervals that follow the row: which spread is taken, what it covers, and the same figures in ONNX."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beacon_core.domain.product import Product
from beacon_core.model_package.batch_model import FEATURES, PREDICTION, SPREAD
from beacon_core.model_package.session import open_batch_model, open_session
from beacon_retraining.data.dataset import Dataset, Matrix, make_dataset
from beacon_retraining.packaging import export
from beacon_retraining.packaging.batch_form import make_batch_form, to_batch_form
from beacon_retraining.packaging.export import TREES, ParityError
from beacon_retraining.packaging.spread_output import add_spread, check_spread, run_with_spread
from beacon_retraining.training.estimators import TableModel
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.interval import covered, interval_scores, widths
from beacon_retraining.training.spread import MIN_ROWS, OLDEST, Calibration, Spread, calibrate

ROWS = 1500


def made(product: Product, rows: int = ROWS, *, kind: str = "uneven", seed: int = 0) -> tuple[Dataset, Matrix]:
    """Rows and the predictions of a perfect model; the noise is even, follows a feature, or follows the prediction."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, len(product.features))).astype(np.float32).astype(np.float64)
    predictions = np.exp(3 + 0.6 * features[:, 0])
    ones = np.ones(rows)
    scales = {"even": 4 * ones, "uneven": 4 * np.exp(0.8 * features[:, 1]), "relative": 0.2 * predictions}
    scale = scales.get(kind, 0 * ones)
    target = np.maximum(predictions + scale * random.normal(size=rows), 0.01)
    return make_dataset(product, features, target), predictions


def calibrated(product: Product, dataset: Dataset, predictions: Matrix) -> Calibration:
    rows = np.arange(len(dataset.target))
    return calibrate(dataset, product, rows, predictions[None], np.zeros(len(product.features)), 0)


OfKind = Callable[[str], tuple[Dataset, Matrix, Calibration]]


@pytest.fixture(scope="module")
def of_kind(product: Product) -> OfKind:
    """The rows of a kind, with their calibration, which takes a second."""

    @functools.cache
    def made_once(kind: str) -> tuple[Dataset, Matrix, Calibration]:
        dataset, predictions = made(product, kind=kind)
        return dataset, predictions, calibrated(product, dataset, predictions)

    return made_once


def spreads_of(found: Calibration, dataset: Dataset, predictions: Matrix) -> Matrix:
    fill = np.zeros(dataset.features.shape[1])
    return found.spread.of(model_columns(dataset.features, fill, dataset.schema, dataset.seconds), predictions)


@pytest.mark.parametrize(
    ("kind", "taken"), [("even", "constant"), ("uneven", "trees"), ("relative", "prediction"), ("none", "constant")]
)
def test_the_simplest_spread_that_is_clearly_best_is_taken_and_covers_fresh_rows(
    product: Product, of_kind: OfKind, kind: str, taken: str
) -> None:
    dataset, predictions, found = of_kind(kind)
    assert found.spread.kind == taken
    fresh, answers = made(product, 6000, kind=kind, seed=9)
    spread = spreads_of(found, fresh, answers)
    scores = (fresh.target - answers) / spread
    coverage = product.training.interval_coverage
    if kind == "none":
        assert found.widths.high < 1e-9
        return
    assert covered(scores, found.widths).mean() == pytest.approx(coverage, abs=0.02)
    assert spread.mean() == pytest.approx(1, abs=0.1)
    high = fresh.features[:, 1] > 1
    if kind == "uneven":
        even = widths(dataset.target - predictions, coverage)
        assert covered(scores[high], found.widths).mean() == pytest.approx(coverage, abs=0.05)
        assert covered((fresh.target - answers)[high], even).mean() < coverage - 0.1
        assert spread.mean() * (found.widths.low + found.widths.high) < 0.95 * (even.low + even.high)


def test_by_time_the_oldest_rows_whose_model_knew_least_set_no_width(product: Product) -> None:
    """In an order of their own, as held-out rows come by blocks."""
    dataset, predictions = made(product, kind="even")
    order = np.random.default_rng(1).permutation(ROWS)
    age = np.empty(ROWS, int)
    age[order] = np.arange(ROWS)
    old = age < ROWS // OLDEST
    dataset = msgspec.structs.replace(
        dataset,
        target=np.where(old, predictions + 9 * (dataset.target - predictions), dataset.target),
        times=np.datetime64("2024-01-01", "us") + age * np.timedelta64(1, "h"),
    )
    coverage = product.training.interval_coverage
    by_time = msgspec.structs.replace(product, time=msgspec.structs.replace(product.time, split="time"))
    found = calibrated(by_time, dataset, predictions)
    newer = widths((dataset.target - predictions)[~old], coverage)
    assert (found.even.low, found.even.high) == pytest.approx((newer.low, newer.high))
    assert calibrated(product, dataset, predictions).even.high > 1.5 * newer.high
    few = order[: MIN_ROWS + 10]
    left = calibrate(dataset, by_time, few, predictions[None, few], np.zeros(len(product.features)), 0)
    assert left.even == widths((dataset.target - predictions)[few], coverage), "all, where they are few"


def test_the_score_of_an_interval_is_least_for_the_true_quantiles() -> None:
    target = np.random.default_rng(0).normal(size=20_000)
    ends = {width: np.full(len(target), width) for width in (1.2, 1.645, 2.2)}
    scores = {width: interval_scores(target, -end, end, 0.9).mean() for width, end in ends.items()}
    assert min(scores, key=lambda width: scores[width]) == 1.645
    assert interval_scores(np.array([3.0]), np.array([-1.0]), np.array([1.0]), 0.9) == pytest.approx(2 + 20 * 2)


def test_rows_count_by_their_weight(product: Product, of_kind: OfKind) -> None:
    even, predictions, known = of_kind("even")
    noise = even.target - predictions
    # Half of the rows err ten times as much, and hardly count.
    loud = np.arange(ROWS) % 2 == 0
    target = predictions + np.where(loud, 10 * noise, noise)
    dataset = msgspec.structs.replace(even, target=target, weights=np.where(loud, 1e-6, 2.0))
    found = calibrated(product, dataset, predictions)
    assert found.widths.high == pytest.approx(known.widths.high, rel=0.2)


def test_few_rows_and_few_groups_have_one_width(product: Product) -> None:
    dataset, predictions = made(product, 30)
    found = calibrated(product, dataset, predictions)
    assert (found.spread, list(found.scores)) == (Spread(), ["constant"])
    assert found.widths == widths(dataset.target - predictions, product.training.interval_coverage)
    by_group = msgspec.structs.replace(product, time=msgspec.structs.replace(product.time, split="group", group="g"))
    dataset, predictions = made(product)
    one_group = msgspec.structs.replace(dataset, groups=np.zeros(ROWS, np.intp))
    assert calibrated(by_group, one_group, predictions).spread.is_constant


def test_a_segment_without_any_error_has_a_positive_spread(product: Product) -> None:
    dataset, predictions = made(product)
    exact = dataset.features[:, 2] > 0
    dataset = msgspec.structs.replace(dataset, target=np.where(exact, predictions, dataset.target))
    found = calibrated(product, dataset, predictions)
    spread = spreads_of(found, dataset, predictions)
    assert not found.spread.is_constant
    assert np.isfinite(spread).all()
    assert spread.min() > 0
    assert spread[exact].mean() < 0.5 * spread[~exact].mean()


KINDS = ("prediction", "trees", "prediction and trees")
REGRESSORS: dict[str, Any] = {
    "trees": GradientBoostingRegressor(n_estimators=30, random_state=0),
    "no trees": make_pipeline(StandardScaler(), RidgeCV()),
}


@pytest.fixture(scope="module")
def fitted(of_kind: OfKind) -> dict[str, Spread]:
    """A spread of each kind."""
    found: dict[str, Spread] = {}
    for kind, noise in (("prediction", "relative"), ("trees", "uneven")):
        found[kind] = of_kind(noise)[2].spread
        assert found[kind].kind == kind
    found["prediction and trees"] = msgspec.structs.replace(
        found["trees"], kind="prediction and trees", floor=found["prediction"].floor
    )
    return found


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_gives_the_same_spread_alone_and_in_a_batch(
    product: Product, fitted: dict[str, Spread], kind: str, regressor: str
) -> None:
    dataset, _ = made(product, 300)
    columns = model_columns(dataset.features, np.zeros(len(product.features)), dataset.schema, dataset.seconds)
    plain = export.to_onnx(TableModel(REGRESSORS[regressor]).fit(columns, dataset.target), columns.shape[1])
    model = add_spread(plain, fitted[kind])
    check_spread(model, fitted[kind], columns)
    predictions, spreads = run_with_spread(open_session(model), columns)
    np.testing.assert_array_equal(predictions, export.run_all(open_session(plain), columns))
    np.testing.assert_allclose(spreads, fitted[kind].of(columns, predictions), rtol=1e-6)
    far = np.concatenate([np.full((1, columns.shape[1]), 3e38), np.full((1, columns.shape[1]), -3e38), 1e6 * columns])
    assert (fitted[kind].of(far, -np.ones(len(far))) > 0).all()
    answers, wide = run_with_spread(open_session(model), far)
    assert (wide[np.isfinite(answers)] > 0).all()
    batch = make_batch_form(model, columns, predictions, spreads)
    if regressor == "no trees":
        assert batch is None
        return
    assert batch is not None
    session = open_batch_model(batch)
    found = dict(zip(session.outputs, session.answers(columns.astype(np.float32)), strict=True))
    np.testing.assert_allclose(found[SPREAD][:, 0], spreads, rtol=1e-12)
    assert make_batch_form(model, columns, predictions, 1.001 * spreads) is None


def test_another_spread_than_scikit_learns_is_refused(product: Product, fitted: dict[str, Spread]) -> None:
    dataset, _ = made(product, 50)
    plain = export.to_onnx(
        TableModel(REGRESSORS["no trees"]).fit(dataset.features, dataset.target), dataset.features.shape[1]
    )
    model = add_spread(plain, fitted["trees"])
    other = msgspec.structs.replace(fitted["trees"], scale=1.001 * fitted["trees"].scale)
    with pytest.raises(ParityError, match=r"row \d+: the spread of ONNX differs from scikit-learn's by 0.001"):
        check_spread(model, other, dataset.features)
    assert add_spread(plain, Spread()) == plain


def test_a_converters_old_operator_set_is_raised_to_that_of_the_spreads_trees(
    product: Product, fitted: dict[str, Spread]
) -> None:
    dataset, _ = made(product, 50)
    width = dataset.features.shape[1]
    plain = onnx.load_from_string(
        export.to_onnx(TableModel(REGRESSORS["no trees"]).fit(dataset.features, dataset.target), width)
    )
    for version, wanted in ((1, 3), (4, 4), (None, 3)):
        others = [entry for entry in plain.opset_import if entry.domain != TREES]
        old = [] if version is None else [onnx.helper.make_opsetid(TREES, version)]
        del plain.opset_import[:]
        plain.opset_import.extend([*others, *old])
        model = add_spread(plain.SerializeToString(), fitted["trees"])
        found = {entry.domain: entry.version for entry in onnx.load_from_string(model).opset_import}
        assert found[TREES] == wanted
        check_spread(model, fitted["trees"], dataset.features)


def test_numbers_of_levels_stay_in_range_where_a_spread_is_tried_far_out(
    product: Product, fitted: dict[str, Spread]
) -> None:
    """A package's graph looks the text of a level up by its number: there is none far out."""
    columns = made(product, 50)[0].features.copy()
    columns[:, 0] = np.arange(50) % 3
    nodes = [
        onnx.helper.make_node("Gather", [FEATURES, "first"], ["column"], axis=1),
        onnx.helper.make_node("Cast", ["column"], ["level"], to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Gather", ["table", "level"], [PREDICTION]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([0]), "first"),
        onnx.numpy_helper.from_array(np.array([1.0, 5, 9]), "table"),
    ]
    features, prediction = (
        onnx.helper.make_tensor_value_info(name, kind, [None, width])
        for name, kind, width in (
            (FEATURES, onnx.TensorProto.FLOAT, columns.shape[1]),
            (PREDICTION, onnx.TensorProto.DOUBLE, 1),
        )
    )
    graph = onnx.helper.make_graph(nodes, "levels", [features], [prediction], constants)
    plain = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    model = add_spread(plain.SerializeToString(), fitted["trees"])
    check_spread(model, fitted["trees"], columns, levels=[0])
    with pytest.raises(InvalidArgument, match="indices element out of data bounds"):
        check_spread(model, fitted["trees"], columns)


def test_a_form_of_trees_needs_tables_of_both_ensembles(product: Product, fitted: dict[str, Spread]) -> None:
    dataset, _ = made(product, 200)
    forest = GradientBoostingRegressor(n_estimators=3, max_depth=7, min_samples_leaf=1, random_state=0)
    plain = export.to_onnx(TableModel(forest).fit(dataset.features, dataset.target), dataset.features.shape[1])
    assert to_batch_form(add_spread(plain, fitted["trees"])) is None
