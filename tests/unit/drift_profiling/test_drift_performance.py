"""The realised figures and their intervals, held to numpy and to chance; the estimate before the actuals come."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.packages import build_package

from beacon_core.data.drift_results import Figure
from beacon_core.data.profiles import Aggregates
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_drift_profiling.assessment import performance
from beacon_drift_profiling.profiling.aggregates import ALL, LoggedRows, add, aggregates_of

TRUE_MAE, WORLDS = 2.0, 400
LARGE = 5.0


@pytest.fixture
def manifest(tmp_path: Path, product: Product) -> Manifest:
    pin = build_package(tmp_path, product)
    content = (tmp_path / product.name / pin.version / "manifest.json").read_bytes()
    return msgspec.json.decode(content, type=Manifest)


def rows(
    product: Product, random: np.random.Generator, count: int, scale: float = 1.0, level: float = 20.0
) -> LoggedRows:
    """Predictions around a level; errors of Laplace's shape, whose mean absolute size is `TRUE_MAE` times `scale`."""
    prediction = level + random.normal(0, 1, count)
    actual = prediction + random.laplace(0, TRUE_MAE * scale, count)
    features = np.ones((count, len(product.feature_names)))
    seconds = np.full(count, 0.01)
    none = np.zeros(count, dtype=bool)
    return LoggedRows(features, features, prediction, prediction - 4, prediction + 4, seconds, none, actual, seconds)


def without_actuals(seen: LoggedRows) -> LoggedRows:
    return msgspec.structs.replace(seen, actual=np.full(len(seen.actual), np.nan))


def of(found: list[Figure], metric: str, segment: str = ALL) -> Figure:
    (one,) = [figure for figure in found if (figure.metric, figure.segment) == (metric, segment)]
    return one


def test_every_figure_is_numpys(product: Product) -> None:
    seen = rows(product, np.random.default_rng(1), 500)
    found = performance.figures(aggregates_of(seen, product, None, LARGE))
    error = seen.actual - seen.prediction
    wanted = {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "bias": error.mean(),
        "r2": 1 - (error**2).mean() / seen.actual.var(),
        "large_residual_share": (np.abs(error) > LARGE).mean(),
        "coverage": (np.abs(error) <= 4).mean(),
        "in_time_share": 1,
        "label_coverage": 1,
    }
    assert {metric: of(found, metric).value for metric in wanted} == pytest.approx(wanted)


@pytest.mark.parametrize(("metric", "truth"), [("mae", TRUE_MAE), ("rmse", TRUE_MAE * np.sqrt(2)), ("bias", 0.0)])
def test_an_interval_holds_the_truth_19_times_of_20(product: Product, metric: str, truth: float) -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(WORLDS):
        figure = of(performance.figures(aggregates_of(rows(product, random, 300), product, None, LARGE)), metric)
        assert figure.low is not None
        assert figure.high is not None
        held += figure.low <= truth <= figure.high
    assert held / WORLDS == pytest.approx(0.95, abs=0.035)


def test_sums_of_hours_are_those_of_all_their_rows(product: Product) -> None:
    random = np.random.default_rng(3)
    parts = [rows(product, random, 40), rows(product, random, 7, level=30.0)]
    both = LoggedRows(*(np.concatenate(columns) for columns in zip(*map(msgspec.structs.astuple, parts), strict=True)))
    total: dict[str, Aggregates] = {}
    for part in parts:
        add(total, aggregates_of(part, product, None, LARGE))
    whole = aggregates_of(both, product, None, LARGE)
    assert total.keys() == whole.keys()
    for segment, aggregates in whole.items():
        assert total[segment] == pytest.approx(aggregates), segment


def test_without_any_actual_the_estimate_is_what_the_model_expects_of_itself(
    product: Product, manifest: Manifest
) -> None:
    waiting = aggregates_of(without_actuals(rows(product, np.random.default_rng(4), 300)), product, None, LARGE)
    figure = performance.estimate(waiting, {}, manifest, product)
    assert figure.value == pytest.approx(manifest.expected_absolute_error)
    assert (figure.low or 0) < manifest.expected_absolute_error < (figure.high or 0)


def test_the_estimate_follows_the_errors_of_each_band_and_the_mix_of_bands(
    product: Product, manifest: Manifest
) -> None:
    random = np.random.default_rng(5)
    known: dict[str, Aggregates] = {}
    for level, scale in ((20.0, 0.5), (45.0, 3.0)):  # the dear ones are predicted far worse
        add(known, aggregates_of(rows(product, random, 5000, scale, level), product, None, LARGE))
    estimates = []
    for dear in (30, 270):
        waiting: dict[str, Aggregates] = {}
        for level, count in ((20.0, 300 - dear), (45.0, dear)):
            add(waiting, aggregates_of(without_actuals(rows(product, random, count, 1.0, level)), product, None, LARGE))
        estimates.append(performance.estimate(waiting, known, manifest, product))
    truths = [TRUE_MAE * (0.5 * (300 - dear) + 3.0 * dear) / 300 for dear in (30, 270)]
    assert [figure.value for figure in estimates] == pytest.approx(truths, rel=0.05)
    for figure, truth in zip(estimates, truths, strict=True):
        assert (figure.low or 0) < truth < (figure.high or 0)


def test_a_window_without_rows_has_no_estimate_and_few_rows_have_no_interval(
    product: Product, manifest: Manifest
) -> None:
    assert performance.estimate({}, {}, manifest, product).value is None
    one = performance.figures(aggregates_of(rows(product, np.random.default_rng(6), 1), product, None, LARGE))
    assert (of(one, "mae").low, of(one, "r2").value) == (None, None)
