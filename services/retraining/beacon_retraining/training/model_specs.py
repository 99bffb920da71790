"""The model specs that training compares, from simple to complex, each seeded and exactly convertible to ONNX."""

from collections.abc import Callable
from typing import Any, Self

import msgspec
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, VotingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beacon_retraining.data.dataset import Dataset, Matrix


class Asinh(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """asinh of every value: a logarithm that also takes zero and negative values, for skewed features."""

    def fit(self, features: Matrix, _target: Matrix | None = None) -> Self:
        """Learn nothing but the width."""
        self.n_features_in_ = features.shape[1]
        return self

    def transform(self, features: Matrix) -> Matrix:
        """The transformed matrix, of the same shape."""
        return np.arcsinh(features)


class LogTarget(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of the target's logarithm about its mean: errors count relative, and answers stay positive."""

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, features: Matrix, target: Matrix) -> Self:
        """Fit a clone of the regressor; the target must be positive."""
        self.mean_ = float(np.log(target).mean())
        self.regressor_ = clone(self.regressor).fit(features, np.log(target) - self.mean_)
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """Predictions in the target's unit, shape (rows,)."""
        predictions: Matrix = np.exp(self.regressor_.predict(features) + self.mean_)
        return predictions


class ModelSpec(msgspec.Struct, frozen=True):
    """One kind of model and how to build it.

    `log_target` ones need a positive target, and none is fitted to more than `max_rows`.
    `blend_of` names the log-target specs that a blend averages by weight: its cross-validation follows from their
    predictions, without a fit of its own.
    """

    name: str
    build: Callable[[int], Any]
    log_target: bool = False
    max_rows: int | None = None
    blend_of: tuple[tuple[str, float], ...] = ()

    def is_applicable(self, dataset: Dataset) -> bool:
        """Whether it can be fitted to these rows."""
        few_enough = self.max_rows is None or len(dataset.target) <= self.max_rows
        return few_enough and (not self.log_target or bool(dataset.target.min() > 0))


def _ridge(_seed: int) -> Any:
    return make_pipeline(StandardScaler(), Ridge(alpha=3.0))


def _forest(seed: int) -> Any:
    return ExtraTreesRegressor(n_estimators=100, max_features=0.6, random_state=seed)


def _boosting(seed: int) -> Any:
    return GradientBoostingRegressor(
        n_estimators=300,
        max_depth=5,
        min_samples_leaf=3,
        learning_rate=0.06,
        subsample=0.6,
        max_features=0.4,
        random_state=seed,
    )


def _kernel(_seed: int) -> Any:
    return make_pipeline(Asinh(), StandardScaler(), KernelRidge(kernel="rbf", gamma=1 / 32, alpha=1 / 40))


KERNEL_MAX_ROWS = 4000
"""A kernel's matrix is rows x rows: 128 MB of these; its time grows with the cube."""
BLEND = (("boosting", 0.5), ("kernel-ridge", 0.5))


def _blend(seed: int) -> Any:
    members = [("boosting", _boosting(seed)), ("kernel-ridge", _kernel(seed))]
    return LogTarget(VotingRegressor(members, weights=np.array([weight for _, weight in BLEND])))


MODEL_SPECS: tuple[ModelSpec, ...] = (
    ModelSpec("ridge", _ridge),
    ModelSpec("extra-trees", lambda seed: LogTarget(_forest(seed)), log_target=True),
    ModelSpec("kernel-ridge", lambda seed: LogTarget(_kernel(seed)), log_target=True, max_rows=KERNEL_MAX_ROWS),
    ModelSpec("boosting", lambda seed: LogTarget(_boosting(seed)), log_target=True),
    ModelSpec("blend", _blend, log_target=True, max_rows=KERNEL_MAX_ROWS, blend_of=BLEND),
)
