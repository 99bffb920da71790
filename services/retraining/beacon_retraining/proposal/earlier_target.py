"""Columns that repeat what the target was some rows before: known in time, so they leak nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beacon_retraining.proposal.table_column import Matrix, TableColumn

STEPS: tuple[int, ...] = (*range(1, 62), 72, 84, 90, 91, 96, 120, 144, 168, 180, 182, 336, 364, 365, 366, 672, 720, 730)
"""Rows back: up to two months of days, and the hours, weeks and years of people's lags."""
SAME_SHARE = 0.9
FEWEST = 20


def steps_behind(column: TableColumn, target: TableColumn, order: NDArray[np.int64], groups: Matrix) -> int:
    """By how many rows of one entity the column lies behind the target; 0 where it does not.

    `order` sorts the rows by entity and time, and `groups` numbers each row's entity.
    """
    values, answers, group = column.values[order], target.values[order], groups[order]
    for steps in STEPS:
        if steps >= len(order):
            break
        now, before = values[steps:], answers[:-steps]
        known = (group[steps:] == group[:-steps]) & ~np.isnan(now) & ~np.isnan(before)
        if known.sum() < FEWEST or np.ptp(before[known]) == 0:
            continue
        if np.mean(np.isclose(now[known], before[known], rtol=1e-6, atol=0.0)) >= SAME_SHARE:
            return steps
    return 0


def order_of(event: TableColumn, keys: Sequence[TableColumn]) -> tuple[NDArray[np.int64], Matrix]:
    """The order of the rows by entity and time, and the number of each row's entity."""
    if keys:
        codes = np.column_stack([key.values for key in keys])
        groups = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1).astype(np.float64)
    else:
        groups = np.zeros(len(event.values))
    return np.lexsort((event.values, groups)), groups
