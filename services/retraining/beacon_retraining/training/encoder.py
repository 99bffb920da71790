"""How categories become columns of numbers: one-hot, the order of their levels, or the mean target of a level."""

from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

from beacon_core.domain.derived import part_columns
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.feature import Feature
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.batches import batches

MOST_ONEHOT = 20
"""Levels of a category without order that become a column each, where neither product.yaml nor the recipe says; above:
the target's mean per level."""
MOST_ONEHOT_STATED = 500
"""Levels that product.yaml may ask one-hot columns for: a matrix of more would not fit into memory."""

TARGET_FOLDS = 5
BATCH_ROWS = 20_000


class EncodingError(RetrainError):
    """A category cannot be encoded as product.yaml says; the message names the key."""

    exit_status = REFUSED


class Column(msgspec.Struct, frozen=True):
    """A column of the graph that is a category: its place, and the numbers of its levels, `other` included."""

    place: int
    values: tuple[float, ...]


class ColumnLayout(msgspec.Struct, frozen=True):
    """The graph's columns by how they are encoded; `as_is` are places of those that are taken as they come."""

    as_is: tuple[int, ...]
    onehot: tuple[Column, ...]
    target: tuple[Column, ...]

    @property
    def has_categories(self) -> bool:
        """Whether any column is encoded."""
        return bool(self.onehot or self.target)

    @property
    def width(self) -> int:
        """How many columns the encoded matrix has."""
        return len(self.as_is) + sum(len(column.values) for column in self.onehot) + len(self.target)


def layout_of(dataset: Dataset, most_onehot: int = MOST_ONEHOT) -> ColumnLayout:
    """The layout of a dataset's columns; raises `EncodingError`.

    Of up to `most_onehot` levels a category without order has a column each, where product.yaml does not say. Ordered
    levels, flags and two numbers stay as they are: their numbers have an order.
    """
    as_is: list[int] = []
    onehot: list[Column] = []
    target: list[Column] = []
    place = 0
    for feature in dataset.schema.features:
        values = _values(feature, dataset)
        how = _encoding(feature, len(values), most_onehot)
        if how == "ordinal":
            width = len(part_columns(feature.name, feature.parts)) if feature.parts else 1
            as_is += range(place, place + width)
            place += width
            continue
        (onehot if how == "onehot" else target).append(Column(place, values))
        place += 1
    as_is += range(place, place + len(dataset.schema.derived))
    return ColumnLayout(tuple(as_is), tuple(onehot), tuple(target))


def _values(feature: Feature, dataset: Dataset) -> tuple[float, ...]:
    """The numbers that a category's levels have in the matrix, as float32 has them, and that of `other`."""
    if feature.has_number_levels:
        return tuple(float(np.float32(level)) for level in feature.known_levels)
    return tuple(map(float, range(len(dataset.levels.get(feature.name, ())) + 1)))


def _encoding(feature: Feature, count: int, most_onehot: int) -> str:
    if feature.type != "category":
        return "ordinal"
    if feature.encode == "onehot" and count > MOST_ONEHOT_STATED:
        raise EncodingError(
            f"features.{feature.name}.encode: onehot makes {count} columns, at most {MOST_ONEHOT_STATED}; "
            "`target` makes one"
        )
    if feature.encode != "auto":
        return feature.encode
    if feature.ordered or (feature.has_number_levels and count <= 2):
        return "ordinal"
    return "onehot" if count <= most_onehot + 1 else "target"


class ColumnEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The encoded columns: those as they are, then one-hot ones, then means of the target.

    scikit-learn's TargetEncoder makes the means: shrunk towards the mean of all for rare levels, and for the rows of
    the fit from other rows than the row itself.
    """

    def __init__(self, layout: ColumnLayout, seed: int = 0) -> None:
        self.layout = layout
        self.seed = seed

    def fit(self, features: Matrix, target: Matrix) -> Self:
        """Fit the means of the target."""
        self.fit_transform(features, target)
        return self

    def fit_transform(self, features: Matrix, target: Matrix) -> Matrix:
        """Fit, and the encoded columns of the rows of the fit."""
        self.n_features_in_ = features.shape[1]
        columns = self.layout.target
        self.encoder_ = TargetEncoder(
            categories=[np.array(column.values) for column in columns],
            target_type="continuous",
            cv=KFold(TARGET_FOLDS, shuffle=True, random_state=self.seed),
        )
        means = self.encoder_.fit_transform(features[:, _places(columns)], target) if columns else features[:, :0]
        return self._joined(features, means)

    def transform(self, features: Matrix) -> Matrix:
        """The encoded columns (rows, columns)."""
        columns = self.layout.target
        means = self.encoder_.transform(features[:, _places(columns)]) if columns else features[:, :0]
        return self._joined(features, means)

    def _joined(self, features: Matrix, means: Matrix) -> Matrix:
        places, values = onehot_columns(self.layout)
        as_is = list(self.layout.as_is)
        joined = np.empty((len(features), self.layout.width))
        for part in batches(len(features), BATCH_ROWS):
            rows = features[part]
            # As float32, which is what trees compare and what the graph has.
            own = means[part].astype(np.float32)
            np.concatenate([rows[:, as_is], rows[:, places] == values, own], axis=1, out=joined[part])
        return joined


def onehot_columns(layout: ColumnLayout) -> tuple[NDArray[np.int64], Matrix]:
    """For each one-hot column, the place of its category and the number of its level."""
    return _each_value(layout.onehot)


def target_columns(layout: ColumnLayout) -> tuple[NDArray[np.int64], Matrix]:
    """The same for each level of the categories that the target's mean encodes."""
    return _each_value(layout.target)


def _each_value(columns: tuple[Column, ...]) -> tuple[NDArray[np.int64], Matrix]:
    places = [column.place for column in columns for _ in column.values]
    return np.array(places, np.int64), np.array([value for column in columns for value in column.values], np.float64)


def _places(columns: tuple[Column, ...]) -> list[int]:
    return [column.place for column in columns]
