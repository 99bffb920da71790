"""Splits: which rows are held out together; by chance, the newest, or whole groups (`time.split`)."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.errors import RetrainError

Index = NDArray[np.intp]
Split = tuple[Index, Index]
HOLDOUT_FOLDS = 5
"""One part of so many is held out where a split in folds would take too long."""


class SplitError(RetrainError):
    """The rows cannot be held out as `time.split` says; the message names the key."""

    exit_status = REFUSED


def split_rows(dataset: Dataset, product: Product, rows: Index, count: int, seed: int) -> list[Split]:
    """`count` splits of `rows`: the rows to fit, and the rows held out. Raises `SplitError`.

    By chance and by groups each row is held out once. By time the rows are in count + 1 blocks, and each block but the
    first is held out from what came before it; rows of one instant stay together.
    """
    if product.time.split == "time":
        return _by_time(dataset, rows, count)
    if product.time.split == "group":
        return _by_group(dataset, rows, count, seed, product)
    return [(rows[a], rows[b]) for a, b in KFold(count, shuffle=True, random_state=seed).split(rows)]


def inner_splits(dataset: Dataset, product: Product, rows: Index, count: int, seed: int) -> list[Split]:
    """The splits of the rows of a fit, for its interval's widths; a `count` of 1 is one part, by time the newest."""
    if count > 1:
        return split_rows(dataset, product, rows, count, seed)
    found = split_rows(dataset, product, rows, HOLDOUT_FOLDS, seed)
    return found[-1:] if product.time.split == "time" else found[:1]


def splits_text(product: Product, count: int) -> str:
    """How rows are held out, as reports say it."""
    return {
        "random": f"{count}-fold cross-validation",
        "time": f"{count} blocks by time, each predicted from the rows before it",
        "group": f"{count}-fold cross-validation by groups of {product.time.group}",
    }[product.time.split]


def _by_time(dataset: Dataset, rows: Index, count: int) -> list[Split]:
    seconds = dataset.seconds[rows]
    ordered = np.sort(seconds)
    starts = np.unique(ordered[[len(rows) * number // (count + 1) for number in range(1, count + 1)]])
    starts = starts[starts > ordered[0]]
    ends = np.append(starts[1:], np.inf)
    if not len(starts):
        raise SplitError("time.split: time needs rows of several times; nearly all rows are of one")
    return [
        (rows[seconds < start], rows[(seconds >= start) & (seconds < end)])
        for start, end in zip(starts, ends, strict=True)
    ]


def _by_group(dataset: Dataset, rows: Index, count: int, seed: int, product: Product) -> list[Split]:
    if dataset.groups is None:
        raise SplitError(f"time.group: the training rows lack the column {product.time.group}")
    groups = dataset.groups[rows]
    known = len(np.unique(groups))
    if known < 2:
        raise SplitError(f"time.group: {product.time.group} has {known} group in these rows, at least 2 are needed")
    folds = GroupKFold(min(count, known), shuffle=True, random_state=seed)
    return [(rows[a], rows[b]) for a, b in folds.split(rows, groups=groups)]
