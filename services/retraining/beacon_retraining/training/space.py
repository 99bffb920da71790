"""The search space: what tuning may set of each family, on a table of so many rows.

Every family's defaults lie inside: they are its first trial.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from beacon_core.model_package.recipe import Direction, Member, Parameter, Recipe, Scale
from beacon_core.model_package.tree_kernel import MOST_LEAVES
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.training.encoder import MOST_ONEHOT, layout_of
from beacon_retraining.training.families import FAMILIES, LINK_LOSSES, Family, Metric
from beacon_retraining.training.target_scale import first_scale, scales_to_search

FEW_ROWS = 4000
TREES, MANY_TREES = (50, 600), (100, 1000)
"""Trees of a boosting, up to `FEW_ROWS` and above."""
FEW_ONEHOT = 3
"""The other choice of `most_onehot`: the target's mean encodes nearly every category."""


class Choices(msgspec.Struct, frozen=True):
    """What a table leaves open beside a family's own parameters."""

    rows: int
    scales: tuple[Scale, ...]
    first_scale: Scale
    most_onehot: tuple[int, ...]
    metric: Metric
    monotone: dict[str, Direction]


def choices_of(dataset: Dataset, family: Family, metric: Metric, monotone: dict[str, Direction]) -> Choices:
    """The choices for one family."""
    more = layout_of(dataset).onehot != layout_of(dataset, FEW_ONEHOT).onehot
    return Choices(
        rows=len(dataset.target),
        scales=scales_to_search(dataset, has_losses=family.has_losses),
        first_scale=first_scale(dataset, is_linear=family.is_linear),
        most_onehot=(MOST_ONEHOT, FEW_ONEHOT) if more else (MOST_ONEHOT,),
        metric=metric,
        monotone=monotone,
    )


def is_tunable(family: Family) -> bool:
    """Whether the family has parameters to tune."""
    return family.name in _SPACES


def first_parameters(family: Family, choices: Choices) -> dict[str, Any]:
    """The parameters of the family's first trial, as `suggest` asks for them."""
    own: dict[str, Any] = dict(family.defaults)
    own |= {"scale": choices.first_scale, "most_onehot": choices.most_onehot[0], "loss": "squared"}
    return own


def suggest(trial: Any, family: Family, choices: Choices) -> Recipe:
    """The recipe of an Optuna trial."""
    scale: Scale = trial.suggest_categorical("scale", choices.scales) if len(choices.scales) > 1 else choices.scales[0]
    onehot = choices.most_onehot[0]
    if len(choices.most_onehot) > 1:
        onehot = trial.suggest_categorical("most_onehot", choices.most_onehot)
    parameters = _SPACES[family.name](trial, choices)
    if family.has_losses and (loss := _loss(trial, family, scale, choices.metric)) != "squared":
        parameters["loss"] = loss
    return Recipe((Member(family.name, parameters),), scale, onehot, choices.monotone)


def _loss(trial: Any, family: Family, scale: Scale, metric: Metric) -> str:
    if scale == "link":
        losses = LINK_LOSSES if family.name == "xgboost" else LINK_LOSSES[:1]
        return str(trial.suggest_categorical("link_loss", losses)) if len(losses) > 1 else losses[0]
    return str(trial.suggest_categorical("loss", ("squared", "absolute"))) if metric == "mae" else "squared"


def _trees(trial: Any, name: str, choices: Choices) -> int:
    low, high = TREES if choices.rows <= FEW_ROWS else MANY_TREES
    return int(trial.suggest_int(name, low, high, log=True))


def _forest(trial: Any, _choices: Choices) -> dict[str, Parameter]:
    return {
        "n_estimators": 100,
        "max_features": trial.suggest_float("max_features", 0.2, 1.0),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 8, log=True),
    }


def _kernel(trial: Any, _choices: Choices) -> dict[str, Parameter]:
    return {
        "alpha": trial.suggest_float("alpha", 1e-3, 3.0, log=True),
        "reach": trial.suggest_float("reach", 0.05, 3.0, log=True),
        "bend": trial.suggest_float("bend", 0.05, 5.0, log=True),
    }


def _boosting(trial: Any, choices: Choices) -> dict[str, Parameter]:
    return {
        "n_estimators": _trees(trial, "n_estimators", choices),
        "max_depth": trial.suggest_int("max_depth", 2, 5),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 30, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "subsample": trial.suggest_float("subsample", 0.4, 1.0),
        "max_features": trial.suggest_float("max_features", 0.15, 1.0),
    }


def _binned(trial: Any, choices: Choices) -> dict[str, Parameter]:
    return {
        "max_iter": _trees(trial, "max_iter", choices),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, MOST_LEAVES, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 60, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 100.0, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 1.0),
    }


def _xgboost(trial: Any, choices: Choices) -> dict[str, Parameter]:
    return {
        "n_estimators": _trees(trial, "n_estimators", choices),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_leaves": trial.suggest_int("max_leaves", 4, MOST_LEAVES, log=True),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 60.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.4, 1.0),
        "colsample_bynode": trial.suggest_float("colsample_bynode", 0.2, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 100.0, log=True),
    }


_SPACES: dict[str, Callable[[Any, Choices], dict[str, Parameter]]] = {
    "extra-trees": _forest,
    "kernel-ridge": _kernel,
    "boosting": _boosting,
    "hist-boosting": _binned,
    "xgboost": _xgboost,
}
assert set(_SPACES) <= set(FAMILIES)  # noqa: S101 - a misspelt name would tune nothing, and say nothing
