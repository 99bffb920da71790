"""Whether one client alone shows what was found: without its rows there is none, and the others are enough to tell.

Such a finding is told, and requests no retraining: a flood of odd rows from one client must start nothing.
"""

from collections.abc import Sequence

import numpy as np

from beacon_core.domain.policy import Drift
from beacon_drift_profiling.comparison.compare import BinCounts, DriftFinding, compare
from beacon_drift_profiling.profiling.aggregates import ALL
from beacon_drift_profiling.profiling.windows import Window


def of_effect(
    finding: DriftFinding, place: int, seen: BinCounts, windows: Sequence[Window], limits: Drift
) -> str | None:
    """The client without which a window does not have the effect; None where others show it, or are too few to tell.

    The rows of the others need no p-value of their own, since they are fewer: what they must show is an effect beyond
    the threshold. Where a window has too few of them, the next longer one counts that has enough.
    """
    column, days = finding.column, [window.days for window in windows]
    for client in windows[place].clients:
        nothing = [0.0] * seen.bins.shape[-1]
        own = [window.clients[client].bins if client in window.clients else {} for window in windows]
        rest = seen.bins - np.asarray([bins.get(column.name, nothing) for bins in own])
        others = BinCounts(rest.sum(axis=-1), np.zeros(len(rest)), rest)
        found = next(
            one for one in compare([column], {column.name: others}, days, limits) if one.effect == finding.effect
        )
        enough = np.flatnonzero(found.enough[place:]) + place
        if len(enough) and found.score[enough[0]] < found.threshold[enough[0]]:
            return client
    return None


def of_error(window: Window, limit: float, least: int) -> str | None:
    """The client without whose actuals the mean absolute error is within its limit; the others need `least` actuals."""
    whole = window.segments.get(ALL, {})
    for client, rows in window.clients.items():
        labelled = whole["labelled"] - rows.sums["labelled"]
        if labelled >= least and whole["absolute"] - rows.sums["absolute"] <= limit * labelled:
            return client
    return None
