"""The families of regressors that a model may be made of, from simple to complex, each exactly convertible to ONNX.

No setting depends on a product's units: features and target are standardized, and what has a reach (the kernel) takes
it from the data. A family's `defaults` are what it is tried with before anything is tuned.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beacon_core.model_package.recipe import Parameter
from beacon_core.model_package.tree_kernel import MOST_LEAVES
from beacon_retraining.training.estimators import Asinh, LogMean, MedianKernelRidge
from beacon_retraining.training.xgboost_trees import XGBoostTrees

KERNEL_MAX_ROWS = 4000
"""A kernel's matrix is rows x rows: 128 MB of these; its time grows with the cube."""
FOREST_MAX_ROWS = 1600
"""A forest grows with its rows: 100 trees of these take 12 MB as ONNX, and inference 150 MB while it loads them."""
BOOSTING_MAX_ROWS = 4000
"""Above, boosting over bins of values is as good, and many times faster."""
BINNED_MIN_ROWS = 2000
RIDGE_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-2, 4, 13))
LINK_LOSSES = ("poisson", "tweedie")
"""Losses of a target that is zero or above, by the logarithm of its mean."""

Parameters = Mapping[str, Parameter]
Monotone = tuple[int, ...] | None
"""By column of the encoded matrix: 1 must raise the prediction, -1 lower it, 0 neither; None constrains nothing."""


class Family(msgspec.Struct, frozen=True):
    """One kind of regressor; `make` builds it from its parameters, a seed and its constraints.

    None is tried on fewer than `min_rows` or more than `max_rows`. `is_linear` ones predict the target's logarithm only
    where product.yaml says so. `has_losses`: it can fit `LINK_LOSSES` and absolute errors. `is_constrained`: it can
    hold monotone features.
    """

    name: str
    make: Callable[[Parameters, int, Monotone], Any]
    defaults: dict[str, Parameter] = {}
    min_rows: int = 0
    max_rows: int | None = None
    is_linear: bool = False
    has_losses: bool = False
    is_constrained: bool = False

    def can_fit(self, rows: int) -> bool:
        """Whether so many rows are not too many for it, and its library is there."""
        return (self.max_rows is None or rows <= self.max_rows) and (self.name != "xgboost" or has_xgboost())


@functools.cache
def why_no_xgboost() -> str:
    """Why the library cannot be loaded on this machine; empty where it can."""
    try:
        import xgboost  # noqa: F401, PLC0415 - it may be missing, or lack OpenMP, as on a bare Mac
    except Exception as error:  # noqa: BLE001 - its own error of a library that does not load derives from ValueError
        return f"xgboost cannot be loaded: {str(error).strip().partition(chr(10))[0]}"
    return ""


def has_xgboost() -> bool:
    """Whether the library can be loaded."""
    return not why_no_xgboost()


def _ridge(_parameters: Parameters, _seed: int, _monotone: Monotone) -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=RIDGE_ALPHAS))


def _forest(parameters: Parameters, seed: int, _monotone: Monotone) -> Any:
    return ExtraTreesRegressor(**parameters, random_state=seed)


def _kernel(parameters: Parameters, _seed: int, _monotone: Monotone) -> Any:
    alpha, reach, bend = (float(parameters[name]) for name in ("alpha", "reach", "bend"))
    return make_pipeline(Asinh(bend), StandardScaler(), MedianKernelRidge(alpha, reach))


def _boosting(parameters: Parameters, seed: int, _monotone: Monotone) -> Any:
    return GradientBoostingRegressor(**parameters, random_state=seed)


def _binned(parameters: Parameters, seed: int, monotone: Monotone) -> Any:
    own = dict(parameters)
    loss = own.pop("loss", "squared")
    losses = {"squared": "squared_error", "absolute": "absolute_error", "poisson": "poisson"}
    model = HistGradientBoostingRegressor(
        **own, loss=losses[str(loss)], monotonic_cst=monotone, early_stopping=False, random_state=seed
    )
    return LogMean(model) if loss in LINK_LOSSES else model


def _xgboost(parameters: Parameters, seed: int, monotone: Monotone) -> Any:
    own = dict(parameters)
    losses: dict[str, dict[str, Any]] = {
        "squared": {"objective": "reg:squarederror", "base_score": 0.0},
        "absolute": {"objective": "reg:absoluteerror", "base_score": 0.0},
        "poisson": {"objective": "count:poisson", "base_score": 1.0},
        "tweedie": {"objective": "reg:tweedie", "base_score": 1.0, "tweedie_variance_power": 1.5},
    }
    loss = losses[str(own.pop("loss", "squared"))]
    return XGBoostTrees(own | loss | {"monotone_constraints": monotone, "random_state": seed})


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("ridge", _ridge, is_linear=True),
        Family(
            "extra-trees",
            _forest,
            {"n_estimators": 100, "max_features": 0.6, "min_samples_leaf": 1},
            max_rows=FOREST_MAX_ROWS,
        ),
        Family("kernel-ridge", _kernel, {"alpha": 1 / 40, "reach": 0.65, "bend": 0.3}, max_rows=KERNEL_MAX_ROWS),
        Family(
            "boosting",
            _boosting,
            {
                "n_estimators": 300,
                "max_depth": 5,
                "min_samples_leaf": 3,
                "learning_rate": 0.06,
                "subsample": 0.6,
                "max_features": 0.4,
            },
            max_rows=BOOSTING_MAX_ROWS,
        ),
        Family(
            "hist-boosting",
            _binned,
            {
                "max_iter": 300,
                "learning_rate": 0.1,
                "max_leaf_nodes": 31,
                "min_samples_leaf": 20,
                "l2_regularization": 1e-3,
                "max_features": 1.0,
            },
            min_rows=BINNED_MIN_ROWS,
            has_losses=True,
            is_constrained=True,
        ),
        Family(
            "xgboost",
            _xgboost,
            {
                "n_estimators": 300,
                "learning_rate": 0.06,
                "max_leaves": MOST_LEAVES,
                "min_child_weight": 3.0,
                "subsample": 0.8,
                "colsample_bynode": 0.6,
                "reg_lambda": 1.0,
            },
            has_losses=True,
            is_constrained=True,
        ),
    )
}
"""By name. Trees that boosting grows have at most `MOST_LEAVES` leaves, so that the package has a form for batches."""

Metric = Literal["rmse", "mae"]
