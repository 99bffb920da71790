"""The error over time, where the window of a run holds two versions."""

from datetime import UTC, datetime, timedelta

from beacon_console.overview.facts import one_per_run
from beacon_core.data.drift_results import PerformanceFigure

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def figure(version, rows, days_ago, period="p1"):
    return PerformanceFigure(period, "7d", "", version, "mae", 2.0, 1.0, 3.0, rows, NOW - timedelta(days=days_ago))


def test_a_version_that_stopped_answering_gives_way_to_the_one_that_has_newer_actuals():
    found = one_per_run([figure("1", 900, 9), figure("2", 100, 0), figure("1", 900, 0, "p0")])
    assert [(item.period, item.model_version) for item in found] == [("p1", "2"), ("p0", "1")]


def test_of_two_with_actuals_of_the_same_hour_the_one_over_more_rows_is_shown():
    assert [item.model_version for item in one_per_run([figure("1", 10, 0), figure("2", 9, 0)])] == ["1"]
