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
from beacon_drift_profiling.comparison.reference import ReferenceColumn, tally
from beacon_drift_profiling.profiling.packages import columns_of
from beacon_drift_profiling.profiling.profile import profile_rows

HOURS = 24
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def judge(product: Product, stream: Stream) -> dict[str, dict[str, object]]:
    """Whether the quiet run had a confirmed alarm, and which shifts had one on their feature within 24 hours."""
    columns = _reference(product, stream)
    quiet = {column.name: _hourly(column, stream, stream.quiet, DAYS) for column in columns}
    alarm = bool(_confirmed(product, columns, quiet))
    found = {}
    for feature in stream.population.shiftable:
        moved = stream.shifted(feature)
        both = {
            column.name: np.concatenate([quiet[column.name], _hourly(column, stream, moved, 1)]) for column in columns
        }
        found[feature] = feature in _confirmed(product, columns, both, since=DAYS * HOURS)
    return {"Beacon": {"alarm": alarm, "found": found}}


def _reference(product: Product, stream: Stream) -> tuple[ReferenceColumn, ...]:
    population = stream.population
    columns = {name: population.column(stream.reference, name) for name in population.columns}
    return columns_of(profile_rows(columns, EPOCH, {}).columns(), product.schema, {}, 0)


def _hourly(column: ReferenceColumn, stream: Stream, rows: Floats, days: int) -> Floats:
    """Rows, nulls and counts in each bin by the hour, shape (hours, 2 + bins)."""
    values = rows[:, stream.population.columns.index(column.name)]
    hours = []
    for part in np.array_split(values, days * HOURS):
        known = part[~np.isnan(part)]
        counts: list[int] = []
        if column.counts:
            counts = tally(column.bins.fold(known), column.edges, column.categorical).tolist()
        hours.append([len(part), len(part) - len(known), *counts])
    return np.asarray(hours, dtype=np.float64)


def _confirmed(
    product: Product, columns: tuple[ReferenceColumn, ...], hourly: dict[str, Floats], since: int = 0
) -> set[str]:
    """Columns with a confirmed alarm in the runs from `since` on, whatever the effect and the window."""
    found = set()
    first = max(since - product.policy.drift.confirm[1], 0)
    for days in product.policy.drift.windows_days:
        seen = {}
        for name, counts in hourly.items():
            total = np.cumsum(counts, axis=0)
            before = np.concatenate([np.zeros((days * HOURS, counts.shape[1])), total])[: len(total)]
            window = (total - before)[first:]
            seen[name] = BinCounts(window[:, 0], window[:, 1], window[:, 2:])
        for finding in compare(columns, seen, product.policy.drift):
            if confirmed(finding.alarm, product.policy.drift)[since - first :].any():
                found.add(finding.column.name)
    return found


def main() -> None:
    product = load_product(load_settings().product)
    population = Population(product)
    for seed in map(int, sys.argv[1:]):
        stream = Stream(population, seed)
        line = {"seed": seed, "digest": stream.digest(), "rules": judge(product, stream)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
