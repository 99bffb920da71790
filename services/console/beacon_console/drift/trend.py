"""Which drift runs a trend shows."""

from beacon_core.data import drift_results
from beacon_core.data.database import Connection

TREND_POINTS = 48
"""Runs in a trend, spread evenly over the newest `TREND_RUNS`."""
TREND_RUNS = 30 * 24


def trend_periods(connection: Connection) -> list[str]:
    """Choose at most `TREND_POINTS` runs of the newest month, evenly spread, the oldest first and the newest last."""
    newest_first = drift_results.newest_periods(connection, TREND_RUNS)
    step = max(-(-len(newest_first) // TREND_POINTS), 1)
    return list(reversed(newest_first[::step]))
