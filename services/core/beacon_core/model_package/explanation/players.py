"""The players of an explanation: what a contribution is told for, and which columns of the model belong to it.

A column that is made of one feature (a part of a date, a logarithm, a square) belongs to that feature. One that is made
of two (a ratio, a difference) is a player of its own, under its own name.
"""

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.derived import part_columns
from beacon_core.domain.schema import Schema


def players_of(schema: Schema) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The players' names, features first, and the number of the player of each column of the model."""
    names = list(schema.feature_names)
    player: list[int] = []
    for at, feature in enumerate(schema.features):
        player += [at] * (len(part_columns(feature.name, feature.parts)) if feature.parts else 1)
    for column in schema.derived:
        operands = set(column.formula.operands)
        if len(operands) == 1:
            player.append(names.index(operands.pop()))
        else:
            player.append(len(names))
            names.append(column.name)
    return tuple(names), np.array(player, np.int64)
