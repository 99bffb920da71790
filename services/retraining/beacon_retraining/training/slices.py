"""Slices: rows that a shallow regression tree tells apart by a figure of theirs, named in words.

A slice is the worst of many, and so looks worse than it is. Its rows are therefore only those of the half that the tree
did not see: a figure over them is an honest one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from beacon_core.domain.feature import Feature
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.splits import Index

Mask = NDArray[np.bool_]
DEPTH = 3
LEAST_GAIN = 0.005
"""Of the variance that a condition must explain: one that explains less is not worth its words."""
MOST_LEVELS = 20
"""Levels of a category that may be slices, the most frequent ones."""
DIGITS = 4
"""Of a bound: a slice is what its name says."""
DAY_SECONDS = 86_400.0
MOST_ROWS = 50_000
"""Of more rows, a tree sees so many by chance."""


class Slice(NamedTuple):
    """Rows with something in common: its name in words, and which rows (all rows) confirm it."""

    name: str
    rows: Mask


class Question(NamedTuple):
    """A column that a tree may split: a feature (its place), its level, or whether it is missing; else its own order.

    `fill` stands for a missing value.
    """

    place: int
    feature: Feature
    level: float | None = None
    missing: bool = False
    fill: float = 0.0

    @property
    def is_flag(self) -> bool:
        """Whether its values are 1 and 0."""
        return self.missing or self.level is not None

    def of(self, dataset: Dataset, rows: Index) -> Matrix:
        """Its values of some rows."""
        own: Matrix = dataset.features[rows, self.place]
        if self.is_flag:
            flags: Mask = np.isnan(own) if self.missing else own == self.level
            return flags.astype(np.float64)
        return np.where(np.isnan(own), self.fill, own)


class Ends(NamedTuple):
    """What a leaf asks of a column: values above `low`, and `high` at most."""

    low: float = -np.inf
    high: float = np.inf


def find_slices(
    dataset: Dataset, rows: Index, values: Matrix, *, least: int, most: int, seed: int, both_ways: bool = False
) -> list[Slice]:
    """At most `most` slices of `rows` where `values` (rows,) are highest, the highest first; each has `least` rows.

    They are found on one half of the rows by chance, and have the rows of the other; `both_ways` also the reverse.
    """
    questions = _questions(dataset, rows)
    weights = dataset.row_weights[rows]
    order = np.random.default_rng(seed).permutation(len(rows))
    first = np.zeros(len(rows), dtype=bool)
    first[order[: len(rows) // 2]] = True
    found: dict[str, Slice] = {}
    for seen in (first, ~first) if both_ways else (first,):
        for asked in _leaves(dataset, rows, questions, values, weights, seen, least)[:most]:
            name, mask = _named(dataset, rows, questions, asked)
            rest = mask & ~seen
            if rest.sum() >= least:
                earlier = found.get(name)
                found[name] = Slice(name, rest if earlier is None else rest | earlier.rows)
    return list(found.values())


def _leaves(
    dataset: Dataset,
    rows: Index,
    questions: list[Question],
    values: Matrix,
    weights: Matrix,
    seen: Mask,
    least: int,
) -> list[dict[int, Ends]]:
    """What leaves ask whose mean is above that of all rows seen, the highest first."""
    places = np.flatnonzero(seen)
    if len(places) < 2 * least or not np.ptp(values[places]):
        return []
    if len(places) > MOST_ROWS:
        places = np.random.default_rng(0).permutation(places)[:MOST_ROWS]
        least = max(1, least * MOST_ROWS // int(seen.sum()))
    columns = np.column_stack([question.of(dataset, rows[places]) for question in questions])
    gain = LEAST_GAIN * float(np.var(values[places]))
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, min_impurity_decrease=gain, random_state=0)
    nodes = tree.fit(columns, values[places], sample_weight=weights[places]).tree_
    whole = float(nodes.value[0, 0, 0])
    found = []

    def walk(node: int, asked: dict[int, Ends]) -> None:
        if nodes.children_left[node] < 0:
            if asked and nodes.value[node, 0, 0] > whole:
                found.append((float(nodes.value[node, 0, 0]), asked))
            return
        place, bound = int(nodes.feature[node]), float(nodes.threshold[node])
        known = asked.get(place, Ends())
        walk(nodes.children_left[node], asked | {place: Ends(known.low, bound)})
        walk(nodes.children_right[node], asked | {place: Ends(bound, known.high)})

    walk(0, {})
    found.sort(key=lambda leaf: -leaf[0])
    return [asked for _, asked in found]


def _questions(dataset: Dataset, rows: Index) -> list[Question]:
    found = []
    for at, feature in enumerate(dataset.schema.features):
        own = dataset.features[rows, at]
        gone = np.isnan(own)
        if gone.all():
            continue
        if gone.any():
            found.append(Question(at, feature, missing=True))
        if feature.type == "bool" or (feature.type == "category" and not feature.ordered):
            levels, counts = np.unique(own[~gone], return_counts=True)
            ranked = levels[np.argsort(-counts, kind="stable")][:MOST_LEVELS].tolist()
            found += [Question(at, feature, level=level) for level in ranked]
        else:
            found.append(Question(at, feature, fill=float(np.nanmedian(own))))
    return found


def _named(dataset: Dataset, rows: Index, questions: list[Question], asked: dict[int, Ends]) -> tuple[str, Mask]:
    """The name of what is asked, and which of the rows it is true of."""
    words: list[str] = []
    mask = np.ones(len(rows), dtype=bool)
    for place, ends in asked.items():
        question = questions[place]
        values = question.of(dataset, rows)
        if question.is_flag:
            wanted = ends.low >= 0
            mask &= (values > 0.5) == wanted
            words.append(_is(dataset, question, wanted=wanted))
        else:
            low, high = (_rounded(bound, question.feature) for bound in ends)
            mask &= (values > low) & (values <= high)
            words.append(_between(dataset, question.feature, low, high))
    return " and ".join(words), mask


def _is(dataset: Dataset, question: Question, *, wanted: bool) -> str:
    feature, level = question.feature, question.level
    text = "missing" if level is None else _value(dataset, feature, level)
    if feature.type == "bool" and level is not None:
        text, wanted = ("true" if bool(level) == wanted else "false"), True
    return f"{feature.name} is {'' if wanted else 'not '}{text}"


def _between(dataset: Dataset, feature: Feature, low: float, high: float) -> str:
    ends = [f"over {_value(dataset, feature, low)}"] if low > -np.inf else []
    ends += [f"at most {_value(dataset, feature, high)}"] if high < np.inf else []
    return f"{feature.name} {' and '.join(ends)}"


def _rounded(bound: float, feature: Feature) -> float:
    """A bound that people can read: some digits of a number, a whole one of whole values, the day of a time."""
    if feature.is_time and np.isfinite(bound):
        day = DAY_SECONDS if feature.type == "timestamp" else 1.0
        return float(np.floor(bound / day) * day)
    if feature.is_whole and np.isfinite(bound):
        return float(np.floor(bound))
    return float(f"{bound:.{DIGITS}g}")


def _value(dataset: Dataset, feature: Feature, number: float) -> str:
    """A number of the matrix as the value that it stands for; between two levels, the lower one."""
    if feature.name in dataset.levels:
        levels, place = dataset.levels[feature.name], int(number)
        return str(levels[place]) if 0 <= place < len(levels) else "other"
    if feature.is_number:
        return f"{number:.15g}"
    return str(feature.to_value(number))
