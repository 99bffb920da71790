"""Limits that fit the data: of the table, of the target, of a model and of drift."""

import math
from typing import Any

import numpy as np

from beacon_core.domain import policy
from beacon_core.domain.policy import Drift, Promotion, Quality
from beacon_core.domain.product_entry import FEATURES_TTL_DAYS
from beacon_core.domain.source import DataLimits
from beacon_core.domain.spec import MOST_DAYS
from beacon_retraining.proposal.quick_model import QuickModel
from beacon_retraining.proposal.ranges import round_down, round_up
from beacon_retraining.proposal.table_column import Matrix, TableColumn

EXTREME = 0.02
"""The share of the target's values at each end that count as extreme."""
LARGE_SHARE = 0.05
R2_MARGIN = 0.15
MISSING_MARGIN = 1.2
ENOUGH_COVERAGE, COVERAGE_MARGIN = 0.88, 0.15
"""Of a quick model: so much lets the usual limit stand, and by so much the trained one may be below it."""
WINDOWS_DAYS = (1, 7, 30, 90, 365)
FEW_ROWS = 400


def target_ends(target: TableColumn) -> tuple[float, float] | None:
    """`target.low` and `target.high`: rounded quantiles of the target; None where they fall together."""
    known = target.values[~np.isnan(target.values)]
    low, high = (float(np.quantile(known, share)) for share in (EXTREME, 1 - EXTREME))
    digits = 2
    while digits < 6 and not _rounded(low, digits) < _rounded(high, digits):
        digits += 1
    low, high = _rounded(low, digits), _rounded(high, digits)
    return (low, high) if low < high else None


def band_bounds(target: TableColumn) -> list[float]:
    """Three bounds that cut the target's values into four parts, rounded; fewer where they fall together."""
    known = target.values[~np.isnan(target.values)]
    bounds = [_rounded(float(np.quantile(known, share)), 2) for share in (0.25, 0.5, 0.75)]
    return sorted(set(bounds))


def features_ttl_days(age_days: float) -> int | None:
    """How long features are to be served, where the oldest row is too old for the usual time; None where it is not."""
    if age_days <= FEATURES_TTL_DAYS / 2:
        return None
    return min(math.ceil(age_days) + FEATURES_TTL_DAYS, MOST_DAYS)


def large_residual(model: QuickModel) -> float | None:
    """A residual that few held-out rows of the quick model have, in the target's unit."""
    if not len(model.residuals):
        return None
    usual = policy.large_residual(Quality(), float(model.residuals.mean()))
    limit = max(float(np.quantile(model.residuals, 1 - LARGE_SHARE)), usual)
    return round_up(limit) or None


def min_r2(model: QuickModel) -> float:
    """The R2 that a new model must have: the quick one's, less a margin; 0 where it has none to lose."""
    return max(math.floor((model.r2 - R2_MARGIN) * 20) / 20, Promotion().min_r2)


def min_coverage(model: QuickModel) -> float | None:
    """The share of actuals in their intervals, where newer rows are so unlike that the usual one is too much."""
    if model.coverage is None or model.coverage >= ENOUGH_COVERAGE:
        return None
    return max(math.floor((model.coverage - COVERAGE_MARGIN) * 20) / 20, 0.05)


def max_missing_ratio(model: QuickModel) -> float | None:
    """The rise of the error that missing values may cause; None where the usual limit is enough.

    The more a single feature tells, and the better the model, the larger it is.
    """
    limit = round_up(model.missing_ratio * MISSING_MARGIN)
    return limit if limit > Promotion().max_missing_ratio else None


def data_limits(missing: float, repeats: float, ranks: float) -> dict[str, float]:
    """The limits of the table that its own largest shares would come near to."""
    plain = DataLimits()
    found: dict[str, float] = {}
    if missing > 0.8 * plain.null_share:
        found["null_share"] = min(1.0, round(missing + 0.1, 2))
    if repeats > 0.8 * plain.duplicate_share:
        found["duplicate_share"] = min(1.0, round(1.5 * repeats + 0.05, 2))
    if ranks > plain.target_correlation - 0.01:
        found["target_correlation"] = 1.0
    return found


def rows_per_day(times: Matrix, rows: int) -> float:
    """How many rows a day has, by the times of the events in days."""
    known = times[~np.isnan(times)]
    return rows / max(float(np.ptp(known)), 1.0)


def drift_limits(per_day: float | None) -> dict[str, Any]:
    """Windows that the table's own pace fills with enough rows; empty where the usual ones do, or no pace is known."""
    plain = Drift()
    if per_day is None or per_day * plain.windows_days[0] >= plain.min_rows:
        return {}
    windows = [days for days in WINDOWS_DAYS if per_day * days >= plain.min_rows][:3]
    if not windows:
        return {"windows_days": [30, 90, 365], "min_rows": max(20, int(per_day * 365 / 2))}
    return {"windows_days": windows} if tuple(windows) != plain.windows_days else {}


def promotion_rows(rows: int) -> int | None:
    """`promotion.min_rows` of a small table; None where the usual figure fits."""
    return max(30, rows // 2) if rows < FEW_ROWS else None


def _rounded(value: float, digits: int) -> float:
    """The nearest number of so many digits."""
    up, down = round_up(value, digits), round_down(value, digits)
    return up if up - value < value - down else down
