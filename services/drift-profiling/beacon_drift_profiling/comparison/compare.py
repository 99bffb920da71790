"""The comparison: the counts of windows against the reference, for all columns; pure, and for any number of windows.

An alarm needs enough rows, an effect above its threshold, and a p-value that survives the false discovery rate over
the columns of its window. N alarms of M runs confirm it.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.policy import Drift
from beacon_drift_profiling.comparison import statistics
from beacon_drift_profiling.comparison.calibration import hellinger_quantile
from beacon_drift_profiling.comparison.reference import ReferenceColumn
from beacon_drift_profiling.comparison.statistics import Floats

Flags = NDArray[np.bool_]
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


def compare(columns: Sequence[ReferenceColumn], seen: Mapping[str, BinCounts], limits: Drift) -> list[DriftFinding]:
    """Compare what was seen of the columns with the reference; a column without reference or counts is left out."""
    present = [column for column in columns if column.name in seen and column.known > 0]
    if not present:
        return []
    measured = [finding for column in present for finding in _effects(column, seen[column.name], limits)]
    p_values = np.stack([np.where(finding.enough, finding.p_value, 1.0) for finding in measured], axis=-1)
    found = statistics.discoveries(p_values, limits.fdr)
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


def _effects(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> list[DriftFinding]:
    missing = _nulls(column, seen, limits)
    if not column.counts:
        return [missing]
    return [_distance(column, seen, limits), missing, _outside(column, seen, limits)]


def _distance(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    known = np.asarray(column.counts)
    body, reference = column.body(seen.bins), column.body(known)
    test = statistics.chi_square if column.categorical else statistics.kolmogorov_smirnov
    statistic, p_value = test(body, reference)
    rows = seen.bins.sum(axis=-1)
    noise = hellinger_quantile(column, rows, limits.false_alarms)
    name = "chi-square" if column.categorical else "Kolmogorov-Smirnov"
    score, threshold = statistics.hellinger(body, reference), np.maximum(limits.hellinger, noise)
    return _finding(column, DISTANCE, rows, score, threshold, p_value, limits, name, statistic)


def _nulls(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    hits, total = _number(column.nulls), _number(column.rows)
    return _share(column, NULL_RATE, (seen.nulls, seen.rows), (hits, total), limits.null_rate, limits)


def _outside(column: ReferenceColumn, seen: BinCounts, limits: Drift) -> DriftFinding:
    floor: float | Floats
    effect, floor = (UNSEEN, limits.unseen) if column.categorical else (OUT_OF_RANGE, limits.out_of_range)
    # A row from the same population lies below the least or above the greatest of `known` others with 2 / (known + 1).
    hits = _number(0 if column.categorical else 2)
    hit, rows = column.outside(seen.bins), seen.bins.sum(axis=-1)
    if column.categorical:
        # A level may be unseen since the reference is small: then its share is small, too.
        missed = statistics.missed_share(column.levels, column.known, limits.false_alarms)
        reached = statistics.share_quantile(
            rows, _number(missed * column.known), _number(column.known), limits.false_alarms
        )
        floor = np.maximum(floor, missed + reached)
    return _share(column, effect, (hit, rows), (hits, _number(column.known)), floor, limits)


def _share(
    column: ReferenceColumn,
    effect: str,
    seen: tuple[Floats, Floats],
    known: tuple[Floats, Floats],
    floor: float | Floats,
    limits: Drift,
) -> DriftFinding:
    rise, p_value = statistics.share_rise(*seen, *known)
    noise = statistics.share_quantile(seen[1], *known, limits.false_alarms)
    share = np.where(seen[1] > 0, seen[0] / np.maximum(seen[1], 1), 0.0)
    return _finding(column, effect, seen[1], rise, np.maximum(floor, noise), p_value, limits, "rise of a share", share)


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
