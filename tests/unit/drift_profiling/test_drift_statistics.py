"""The statistics of a comparison, held to scipy's own and to chance itself."""

import numpy as np
import pytest
from scipy import stats

from beacon_drift_profiling.assessment.assess import bin_labels, median
from beacon_drift_profiling.comparison import statistics
from beacon_drift_profiling.comparison.compare import confirmed
from beacon_drift_profiling.comparison.reference import Bins, ReferenceColumn, numeric_edges, tally


def test_hellinger_is_0_for_equal_shares_and_1_for_disjoint_ones() -> None:
    counts = np.array([[10.0, 20, 0], [0, 0, 5], [0, 0, 0]])
    assert statistics.hellinger(counts, np.array([100.0, 200, 0])).tolist() == pytest.approx([0, 1, 0])


def test_hellinger_of_two_normals_is_the_formula() -> None:
    edges = np.linspace(-8, 8, 2001)
    first, second = (np.diff(stats.norm.cdf(edges, shift)) * 1e6 for shift in (0.0, 1.0))
    assert statistics.hellinger(first, second) == pytest.approx(np.sqrt(1 - np.exp(-1 / 8)), abs=1e-3)


def test_the_g_test_is_scipys() -> None:
    table = np.array([[30.0, 14, 6, 50], [130, 84, 36, 150]])
    statistic, p_value = statistics.homogeneity(table[0], table[1])
    known = stats.chi2_contingency(table, lambda_="log-likelihood")
    assert float(statistic) == pytest.approx(known.statistic)
    assert float(p_value) == pytest.approx(known.pvalue)


def test_levels_that_one_sample_has_few_of_by_chance_are_tested_together_whichever_sample_it_is() -> None:
    random = np.random.default_rng(4)
    shares = np.full(60, 1 / 60)
    known, seen = (random.multinomial(rows, shares, 2000).astype(float) for rows in (300, 1000))
    p_values = np.array([statistics.homogeneity(*both)[1] for both in zip(seen, known, strict=True)])
    assert (p_values < 0.01).mean() < 0.03


def test_the_rank_sum_is_mann_whitneys() -> None:
    random = np.random.default_rng(5)
    for shift in (0.0, 0.6):
        seen, known = random.integers(0, 9, 300) + shift > 4, random.integers(0, 9, 500) > 4
        counts = [np.bincount(values.astype(int), minlength=2).astype(float) for values in (seen, known)]
        exact = stats.mannwhitneyu(seen, known, method="asymptotic", use_continuity=False)
        assert float(statistics.rank_sum(*counts)[1]) == pytest.approx(exact.pvalue, rel=0.01)


def test_one_rare_level_of_many_is_found_and_chance_is_not() -> None:
    random = np.random.default_rng(6)
    shares = np.full(30, 1 / 30)
    known = random.multinomial(300, shares).astype(float)
    moved = shares * 0.86 + np.where(np.arange(30) == 7, 0.14, 0.0)
    assert (statistics.largest_change(random.multinomial(1000, moved, 200).astype(float), known) < 1e-5).mean() > 0.95
    quiet = [random.multinomial(rows, shares, 4000).astype(float) for rows in (1000, 300)]
    p_values = np.array([statistics.largest_change(*both) for both in zip(*quiet, strict=True)])
    assert (p_values < 0.01).mean() < 0.02


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


def test_the_p_value_of_a_rise_holds_in_the_tail_and_for_few_hits() -> None:
    for hits, known_hits in ((12.0, 0.0), (25.0, 1.0), (150.0, 10.0)):
        _, p_value = statistics.share_rise(*map(np.asarray, (hits, 1000.0, known_hits, 300.0)))
        exact = stats.fisher_exact([[hits, 1000 - hits], [known_hits, 300 - known_hits]], alternative="greater").pvalue
        assert 0.2 < float(p_value) / exact < 2


def test_discoveries_hold_the_false_discovery_rate() -> None:
    p_values = np.array([0.001, 0.5, 0.02, 0.9, 0.012])
    assert statistics.discoveries(p_values, 0.05).tolist() == (stats.false_discovery_control(p_values) <= 0.05).tolist()
    assert not statistics.discoveries(np.full(5, 0.2), 0.05).any()


def test_chance_makes_the_distance_that_a_threshold_allows_for() -> None:
    random = np.random.default_rng(11)
    shares = np.full(10, 0.1)
    seen, known = (random.multinomial(rows, shares, 4000).astype(float) for rows in (300, 500))
    expected = float(statistics.chance_distance(known[0], np.asarray(300.0)))
    assert (statistics.hellinger(seen, known) ** 2).mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("days", [1, 7])
def test_a_month_of_overlapping_windows_has_as_many_looks_as_said(days: int) -> None:
    random = np.random.default_rng(12)
    hours, score = days * 24, 3.5
    total = np.cumsum(random.standard_normal((1500, statistics.MONTH_HOURS)), axis=-1)
    ended = total[:, hours:] - total[:, :-hours]
    reached = ((ended / np.sqrt(hours)).max(axis=-1) > score).mean()
    said = float(statistics.looks(days, np.asarray(1.0))) * stats.norm.sf(score)
    assert said / 3 < reached < said * 1.1


def test_a_reference_that_is_all_of_the_noise_is_looked_at_once() -> None:
    assert float(statistics.looks(1, np.asarray(0.0))) == 1


@pytest.mark.parametrize(("once", "twice"), [(0, 0), (40, 20), (300, 80)])
def test_the_more_levels_training_saw_once_the_more_it_misses(once: int, twice: int) -> None:
    share = statistics.unseen_share(400, once, twice, 1000.0, 0.01)
    assert once / 1000 < share < once / 1000 + 0.08


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
