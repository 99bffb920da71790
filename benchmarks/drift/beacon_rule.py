"""Beacon's own rule on the same streams, as the job applies it: every hour, windows of 1, 7 and 30 days, 2 of 3 runs.

`python -m drift.beacon_rule SEED...` prints one JSON line a seed. The counts in the bins are those of the job; only
the store between them is left out.
"""

import json
import sys
from datetime import UTC, datetime

import numpy as np
from drift.streams import DAYS, Floats, Population, Stream

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_drift_profiling.comparison.compare import BinCounts, compare, confirmed
from beacon_drift_profiling.comparison.reference import ReferenceColumn, bin_of
from beacon_drift_profiling.profiling.packages import columns_of
from beacon_drift_profiling.profiling.profile import profile_rows

HOURS = 24
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def judge(product: Product, stream: Stream) -> dict[str, dict[str, object]]:
    """Whether the quiet run had a confirmed alarm, and which shifts had one on their feature within 24 hours."""
    columns = _reference(product, stream)
    quiet = {column.name: _hourly(column, stream, stream.quiet, DAYS) for column in columns}
    alarms = _confirmed(product, columns, quiet)
    month = {
        column.name: np.concatenate([quiet[column.name], _hourly(column, stream, stream.after, 1)])
        for column in columns
    }
    found = {}
    for column in columns:
        if column.name not in stream.population.shiftable:
            continue
        moved = _hourly(column, stream, stream.shifted(column.name), 1)
        both = month | {column.name: np.concatenate([quiet[column.name], moved])}
        found[column.name] = column.name in {name for name, _ in _confirmed(product, columns, both, DAYS * HOURS)}
    return {"Beacon": {"alarm": bool(alarms), "alarms": sorted(alarms), "found": found}}


def _reference(product: Product, stream: Stream) -> tuple[ReferenceColumn, ...]:
    population = stream.population
    columns = {name: population.column(stream.reference, name) for name in population.columns}
    return columns_of(profile_rows(columns, EPOCH, {}).columns(), product.schema, {}, 0)


def _hourly(column: ReferenceColumn, stream: Stream, rows: Floats, days: int) -> Floats:
    """Rows, nulls and counts in each bin by the hour, shape (hours, 2 + bins)."""
    values = rows[:, stream.population.columns.index(column.name)]
    hours = days * HOURS
    hour, known = np.arange(len(values)) * hours // len(values), ~np.isnan(values)
    bins = np.empty((hours, 0))
    if column.counts:
        place = bin_of(column.bins.fold(values[known]), column.edges, column.categorical)
        width = len(column.counts)
        found = np.bincount(hour[known] * width + place, minlength=hours * width)
        bins = found.reshape(hours, width).astype(np.float64)
    sums = [np.bincount(hour, minlength=hours), np.bincount(hour[~known], minlength=hours)]
    return np.column_stack([*sums, bins]).astype(np.float64)


def _confirmed(
    product: Product, columns: tuple[ReferenceColumn, ...], hourly: dict[str, Floats], since: int = 0
) -> set[tuple[str, str]]:
    """Columns with a confirmed alarm in the runs from `since` on, each with its effect, whatever the window."""
    limits = product.policy.drift
    first = max(since - limits.confirm[1], 0)
    seen = {name: _windows(counts, limits.windows_days, first) for name, counts in hourly.items()}
    return {
        (finding.column.name, finding.effect)
        for finding in compare(columns, seen, limits.windows_days, limits)
        if confirmed(finding.alarm, limits)[since - first :].any()
    }


def _windows(counts: Floats, days: tuple[int, ...], first: int) -> BinCounts:
    """The windows that end with each hour from `first` on, shape (hours, windows)."""
    total = np.cumsum(counts, axis=0)
    ended = [np.concatenate([np.zeros((length * HOURS, counts.shape[1])), total])[: len(total)] for length in days]
    window = np.stack([(total - before)[first:] for before in ended], axis=1)
    return BinCounts(window[..., 0], window[..., 1], window[..., 2:])


def main() -> None:
    product = load_product(load_settings().product)
    population = Population(product)
    for seed in map(int, sys.argv[1:]):
        stream = Stream(population, seed)
        line = {"seed": seed, "digest": stream.digest(), "rules": judge(product, stream)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
