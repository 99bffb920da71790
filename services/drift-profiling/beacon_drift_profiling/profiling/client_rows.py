"""What each client's rows add to a profile, so that a window can be judged as if one of them had sent nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from beacon_core.data.profiles import ClientRows
from beacon_drift_profiling.comparison.reference import Bins, tally
from beacon_drift_profiling.profiling.aggregates import ALL, add
from beacon_drift_profiling.profiling.profile import Column, TextColumn

MOST_CLIENTS = 20
"""So many clients of an hour or a day are told apart, those with the most rows.

Who sends less than a twentieth of the rows moves no share by more than a twentieth, and no distribution by as much.
"""


def client_masks(clients: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """The mask (rows,) of each client's rows; `clients` says who sent each."""
    names = np.asarray(clients, dtype=str)
    return {name: names == name for name in dict.fromkeys(clients)}


def bin_counts(
    columns: Mapping[str, Column], bins: Mapping[str, Bins], mask: NDArray[np.bool_]
) -> dict[str, list[float]]:
    """Count some of the rows in the bins of each column that has some, as a profile does."""
    counts = {}
    for name in columns.keys() & bins.keys():
        column, own = columns[name], bins[name]
        values = np.asarray(column.codes if isinstance(column, TextColumn) else column, dtype=np.float64)[mask]
        known = own.fold(values[~np.isnan(values)])
        counts[name] = tally(known, own.edges, own.categorical).astype(float).tolist()
    return counts


def merge(total: dict[str, ClientRows], more: Mapping[str, ClientRows]) -> None:
    """Add what other rows of the clients add to `total`; their bins must be the same."""
    for name, rows in more.items():
        known = total.get(name)
        sums = {} if known is None else {ALL: dict(known.sums)}
        add(sums, {ALL: rows.sums})
        bins = {} if known is None else dict(known.bins)
        for column, counts in rows.bins.items():
            bins[column] = np.add(bins.get(column, np.zeros(len(counts))), counts).tolist()
        total[name] = ClientRows(sums[ALL], bins)


def largest(clients: Mapping[str, ClientRows]) -> dict[str, ClientRows]:
    """The clients with the most rows, at most `MOST_CLIENTS`, the largest first."""
    order = sorted(clients, key=lambda name: (-clients[name].sums["rows"], name))
    return {name: clients[name] for name in order[:MOST_CLIENTS]}
