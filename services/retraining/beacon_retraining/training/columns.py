"""The columns that a package's graph takes, as a notebook knows them: numbers, flags, and text for categories."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.domain.schema import Schema
from beacon_core.model_package.golden import UNSEEN
from beacon_core.model_package.model_inputs import column_names
from beacon_retraining.data.dataset import Levels, Matrix


class ModelColumn(msgspec.Struct, frozen=True):
    """A column of the graph; `levels` are the texts of a category, by their numbers. None: it is no text."""

    name: str
    kind: Literal["number", "flag", "text"] = "number"
    levels: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the numbers 0, 1, ...: the levels, then that of every unseen level."""
        return (*(self.levels or ()), UNSEEN)


def columns_of(schema: Schema, levels: Levels) -> tuple[ModelColumn, ...]:
    """The columns of a package's graph, in its order."""
    features = {feature.name: feature for feature in schema.features if not feature.parts}
    found = []
    for name in column_names(schema):
        feature = features.get(name)
        if name in levels:
            found.append(ModelColumn(name, "text", tuple(map(str, levels[name]))))
        else:
            found.append(ModelColumn(name, "flag" if feature is not None and feature.type == "bool" else "number"))
    return tuple(found)


def stated_levels(schema: Schema) -> Levels:
    """The levels of text categories, as far as product.yaml states them."""
    return {
        feature.name: feature.known_levels
        for feature in schema.features
        if feature.type == "category" and not feature.has_number_levels
    }


def notebook_table(columns: Sequence[ModelColumn], numbers: Matrix) -> pd.DataFrame:
    """The rows (rows, columns) as a notebook has them: a category's text, True and False, and numbers."""
    return pd.DataFrame({column.name: notebook_values(column, numbers[:, at]) for at, column in enumerate(columns)})


def notebook_values(column: ModelColumn, numbers: Matrix) -> NDArray[Any]:
    """One column (rows,) of it."""
    if column.kind == "text":
        texts: NDArray[Any] = np.array(column.texts, dtype=object)[numbers.astype(int)]
        return texts
    return numbers == 1 if column.kind == "flag" else numbers
