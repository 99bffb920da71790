"""The statistics of a comparison, held to scipy's own and to chance itself."""

import numpy as np
import pytest
from scipy import stats

from beacon_drift_profiling.assessment.assess import bin_labels, median
from beacon_drift_profiling.comparison import statistics
from beacon_drift_profiling.comparison.calibration import hellinger_quantile
from beacon_drift_profiling.comparison.compare import confirmed
from beacon_drift_profiling.comparison.reference import Bins, ReferenceColumn, numeric_edges, tally


def test_hellinger_is_0_for_equal_shares_and_1_for_disjoint_ones() -> None:
    counts = np.array([[10.0, 20, 0], [0, 0, 5], [0, 0, 0]])
    assert statistics.hellinger(counts, np.array([100.0, 200, 0])).tolist() == pytest.approx([0, 1, 0])


def test_hellinger_of_two_normals_is_the_formula() -> None:
    edges = np.linspace(-8, 8, 2001)
    first, second = (np.diff(stats.norm.cdf(edges, shift)) * 1e6 for shift in (0.0, 1.0))
    assert statistics.hellinger(first, second) == pytest.approx(np.sqrt(1 - np.exp(-1 / 8)), abs=1e-3)


def test_chi_square_is_scipys() -> None:
    table = np.array([[30.0, 14, 6, 50], [130, 84, 36, 150]])
    statistic, p_value = statistics.chi_square(table[0], table[1])
    known = stats.chi2_contingency(table)
    assert float(statistic) == pytest.approx(known.statistic)
    assert float(p_value) == pytest.approx(known.pvalue)


def test_kolmogorov_smirnov_is_near_scipys_and_never_smaller() -> None:
    random = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.3):
        seen, known = random.normal(shift, 1, 400), random.normal(0, 1, 3000)
        edges = tuple(np.quantile(known, np.linspace(0, 1, 200)))
        counts = [tally(values, edges, False).astype(float) for values in (seen, known)]
        distance, p_value = statistics.kolmogorov_smirnov(*counts)
        exact = stats.ks_2samp(seen, known, method="asymp")
        assert float(distance) <= exact.statistic + 1e-9
        assert float(distance) == pytest.approx(exact.statistic, abs=0.01)
        assert float(p_value) >= exact.pvalue * 0.8


def test_psi_knows_no_infinity() -> None:
    assert np.isfinite(statistics.psi(np.array([0.0, 10]), np.array([10.0, 0])))


def test_a_share_that_rose_is_found_and_one_that_fell_is_not() -> None:
    number = np.asarray
    rise, p_value = statistics.share_rise(number(60.0), number(200.0), number(20.0), number(400.0))
    assert float(rise) == pytest.approx(0.25, abs=0.01)
    assert float(p_value) < 1e-6
    rise, p_value = statistics.share_rise(number(0.0), number(200.0), number(200.0), number(400.0))
    assert float(rise) == 0
    assert float(p_value) > 0.99


def test_discoveries_hold_the_false_discovery_rate() -> None:
    p_values = np.array([0.001, 0.5, 0.02, 0.9, 0.012])
    assert statistics.discoveries(p_values, 0.05).tolist() == (stats.false_discovery_control(p_values) <= 0.05).tolist()
    assert not statistics.discoveries(np.full(5, 0.2), 0.05).any()


def test_the_threshold_is_what_chance_reaches_as_often_as_said() -> None:
    column = ReferenceColumn("x", "data", Bins(tuple(range(11))), (0, *[50.0] * 10, 0), 500, 0)
    limit = float(hellinger_quantile(column, np.asarray(300.0), 0.01))
    random = np.random.default_rng(11)
    shares = np.full(10, 0.1)
    seen, known = (random.multinomial(rows, shares, 20_000).astype(float) for rows in (300, 500))
    assert (statistics.hellinger(seen, known) > limit).mean() == pytest.approx(0.01, abs=0.004)


@pytest.mark.parametrize(
    ("history", "wanted"),
    [("1", "0"), ("11", "01"), ("101", "001"), ("1001", "0000"), ("0110", "0010"), ("10110", "00110")],
)
def test_two_alarms_of_three_runs_confirm(product, history: str, wanted: str) -> None:
    found = confirmed(np.array([mark == "1" for mark in history]), product.policy.drift)
    assert "".join("1" if flag else "0" for flag in found) == wanted


def test_the_median_is_numpys_as_far_as_the_bins_tell() -> None:
    values = np.random.default_rng(5).normal(6, 1, 5000)
    edges = numeric_edges(np.quantile(values, np.arange(0.1, 1, 0.1)), values.min(), values.max())
    column = ReferenceColumn("x", "data", Bins(edges), tuple(tally(values, edges, False)), len(values), 0)
    moved = tally(values + 0.5, edges, False).astype(float)
    assert median(column, np.asarray(column.counts, dtype=float)) == pytest.approx(np.median(values), abs=0.01)
    assert median(column, moved) == pytest.approx(np.median(values) + 0.5, abs=0.05)
    constant = ReferenceColumn("x", "data", Bins((7.0, 7.0)), (0.0, 3.0, 0.0), 3, 0)
    assert median(constant, np.asarray(constant.counts)) == 7


def test_bins_hold_every_value_once() -> None:
    edges = numeric_edges(np.array([1.0, 2, 2, 3]), 0.0, 4.0)
    assert edges == (0, 1, 2, 3, 4)
    values = np.array([-1, 0, 0.5, 1, 2, 3, 4, 4.1, np.inf, -np.inf])
    assert tally(values, edges, False).tolist() == [2, 2, 1, 1, 2, 2]
    assert tally(np.array([7.0, 7, 8]), (7.0, 7.0), False).sum() == 3
    assert tally(np.array([1.0, 4, 24, 5]), (1.0, 4.0, 24.0), True).tolist() == [1, 1, 1, 1]


def test_edges_are_shown_as_people_write_numbers() -> None:
    edges = (0.0123456, 1650.4, 16_204.0, 190_000.0)
    column = ReferenceColumn("x", "data", Bins(edges), (0.0, 1.0, 1.0, 1.0, 0.0), 3, 0)
    assert bin_labels(column) == (
        "below 0.0123",
        "0.0123 to 1650",
        "1650 to 16200",
        "16200 to 190000",
        "above 190000",
    )
