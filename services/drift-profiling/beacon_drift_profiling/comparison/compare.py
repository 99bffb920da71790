"""The comparison: the counts of windows against the reference, for all columns; pure, and for any number of windows.

An alarm needs enough rows, an effect above its threshold, and a p-value among the discoveries of its run. The rate of
discoveries is such that all runs of 30 quiet days together, over all columns, effects and windows, have a false alarm
with the probability `false_alarms` at most. N alarms of M runs confirm it.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.policy import Drift
from beacon_drift_profiling.comparison import statistics
from beacon_drift_profiling.comparison.reference import ReferenceColumn
from beacon_drift_profiling.comparison.statistics import Floats

Flags = NDArray[np.bool_]
CERTAIN = 1e9
"""So many rows know a share without error."""
DISTANCE, NULL_RATE, UNSEEN, OUT_OF_RANGE = "hellinger", "null_rate", "unseen", "out_of_range"


class BinCounts(msgspec.Struct, frozen=True):
    """One column in windows: rows and nulls (...,), and counts in the reference's bins (..., bins)."""

    rows: Floats
    nulls: Floats
    bins: Floats


class DriftFinding(msgspec.Struct, frozen=True):
    """One effect on one column in each window; arrays (...,). `test` is the statistic behind the p-value."""

    column: ReferenceColumn
    effect: str
    rows: Floats
    score: Floats
    threshold: Floats
    p_value: Floats
    enough: Flags
    alarm: Flags
    test: str
    statistic: Floats


def compare(
    columns: Sequence[ReferenceColumn], seen: Mapping[str, BinCounts], days: Sequence[int], limits: Drift
) -> list[DriftFinding]:
    """Compare what was seen of the columns with the reference; a column without reference or counts is left out.

    `days` are the lengths of the windows, which are the last axis of what was seen.
    """
    present = [column for column in columns if column.name in seen and column.known > 0]
    if not present:
        return []
    measured = [finding for column in present for finding in _effects(column, seen[column.name], limits)]
    chances = [np.where(finding.enough, _in_a_month(finding, days, limits), 1.0) for finding in measured]
    found = statistics.discoveries(np.stack(chances, axis=-1), limits.false_alarms)
    return [
        msgspec.structs.replace(
            finding, alarm=found[..., place] & finding.enough & (finding.score >= finding.threshold)
        )
        for place, finding in enumerate(measured)
    ]


def confirmed(alarms: Flags, limits: Drift) -> Flags:
    """Whether each run (first axis, in order of time) is an alarm that N of the last M runs, itself included, share."""
    needed, runs = limits.confirm
    padded = np.concatenate([np.zeros((runs - 1, *alarms.shape[1:]), dtype=int), alarms.astype(int)])
    recent = sum((padded[shift : shift + len(alarms)] for shift in range(runs)), np.zeros(alarms.shape, dtype=int))
    return np.asarray(alarms & (recent >= needed))


def _in_a_month(finding: DriftFinding, days: Sequence[int], limits: Drift) -> Floats:
    """The p-value times the looks of 30 days, at all windows: how often chance has such a p-value in one of them."""
    every = sum(float(statistics.looks(length, _number(1))) for length in limits.windows_days)
    known = finding.column.known
    fresh = known / np.maximum(finding.rows + known, 1)
    parts = [
        statistics.looks(length, fresh[..., place]) / statistics.looks(length, _number(1))
        for place, length in enumerate(days)
    ]
    return np.minimum(finding.p_value * every * np.stack(parts, axis=-1), 1.0)


def _effects(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> list[DriftFinding]:
    missing = _nulls(column, seen, limits)
    if not column.counts:
        return [missing]
    return [_distance(column, seen, limits), missing, _outside(column, seen, limits)]


def _distance(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    body, reference = column.body(seen.bins), column.body(np.asarray(column.counts))
    if column.categorical:
        name, (statistic, anywhere) = "G-test", statistics.homogeneity(body, reference)
        usual = statistics.largest_change(body, reference)
    else:
        name, (statistic, anywhere) = "Kolmogorov-Smirnov", statistics.kolmogorov_smirnov(body, reference)
        _, usual = statistics.rank_sum(body, reference)
    p_value = np.minimum(2 * np.minimum(anywhere, usual), 1.0)
    # Chance adds to a distance: without its part the threshold would be lower for a small window than for a large one.
    chance = statistics.chance_distance(reference, body.sum(axis=-1))
    threshold = np.minimum(np.sqrt(limits.hellinger**2 + chance), 1.0)
    rows, score = seen.bins.sum(axis=-1), statistics.hellinger(body, reference)
    return _finding(column, DISTANCE, rows, score, threshold, p_value, limits, name, statistic)


def _nulls(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    hits, total = _number(column.nulls), _number(column.rows)
    return _share(column, NULL_RATE, (seen.nulls, seen.rows), (hits, total), limits.null_rate, limits)


def _outside(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    hit, known = (column.outside(seen.bins), seen.bins.sum(axis=-1)), float(column.known)
    if not column.categorical:
        # A row of the same population is below the least or above the greatest of `known` others at 2 / (known + 1).
        return _share(column, OUT_OF_RANGE, hit, (_number(2), _number(known)), limits.out_of_range, limits)
    # Levels may be unseen since the reference is small: only what is beyond the most that it may miss is a rise.
    missed = statistics.unseen_share(column.levels, column.once, column.twice, known, limits.false_alarms)
    found = _share(column, UNSEEN, hit, (_number(missed * CERTAIN), _number(CERTAIN)), limits.unseen, limits)
    return msgspec.structs.replace(found, score=found.statistic, threshold=found.threshold + missed)


def _share(
    column: ReferenceColumn,
    effect: str,
    seen: tuple[Floats, Floats],
    known: tuple[Floats, Floats],
    least: float,
    limits: Drift,
) -> DriftFinding:
    rise, p_value = statistics.share_rise(*seen, *known)
    share = np.where(seen[1] > 0, seen[0] / np.maximum(seen[1], 1), 0.0)
    threshold = np.full_like(rise, least)
    return _finding(column, effect, seen[1], rise, threshold, p_value, limits, "rise of a share", share)


def _finding(
    column: ReferenceColumn,
    effect: str,
    rows: Floats,
    score: Floats,
    threshold: Floats,
    p_value: Floats,
    limits: Drift,
    test: str,
    statistic: Floats,
) -> DriftFinding:
    enough = rows >= limits.min_rows
    return DriftFinding(column, effect, rows, score, threshold, p_value, enough, np.zeros_like(enough), test, statistic)


def _number(value: float) -> Floats:
    return np.asarray(value, dtype=np.float64)
