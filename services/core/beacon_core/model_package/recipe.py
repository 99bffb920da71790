"""The recipe of a model: how it is fitted, as data. With the training rows and the seed it gives the same model again.

A package carries it, so that the gate can fit the model anew on other rows.
"""

from typing import Literal

import msgspec

Parameter = int | float | str
Scale = Literal["none", "log", "link"]
Direction = Literal["up", "down"]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fitted regressor: its family, that family's parameters, and its weight in the mean of all members."""

    family: str
    parameters: dict[str, Parameter] = {}
    weight: float = 1.0


class EntryPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training code of the product's owner: its `function` (package.module:name), and the sha256 of its files.

    It names the code and does not hold it: whoever may write packages must not thereby run code in a retraining.
    """

    function: str
    sha256: str


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model: the weighted mean of its members, all on one scale and one encoding of the categories.

    `scale`: members predict the target, its logarithm (`log`), or the logarithm of its mean (`link`: Poisson and
    Tweedie losses). Categories of more than `most_onehot` levels are encoded by the target's mean, where product.yaml
    does not say. `monotone` features may only raise (up) or lower (down) the prediction.
    With an `entry_point` there are no members: its estimator gets the columns as they are.
    """

    members: tuple[Member, ...]
    scale: Scale = "none"
    most_onehot: int = 20
    monotone: dict[str, Direction] = {}
    entry_point: EntryPoint | None = None
