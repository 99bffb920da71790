"""The regressors of Beacon's own around others': one model of a whole table, a blend, a log link, a kernel machine."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import Pipeline

from beacon_core.model_package.recipe import Scale
from beacon_retraining.data.dataset import Matrix

FAR_FROM_ZERO = 10.0
"""Deviations: the logarithm of a column so far from zero is a straight line, and too flat for float32."""
DISTANCE_ROWS = 500


def fit_weighted(model: Any, features: Any, target: Matrix, weights: Matrix | None) -> Any:
    """Fit `model` with the rows' weights, if there are any; of a pipeline the last step has them."""
    if weights is None:
        return model.fit(features, target)
    return model.fit(features, target, **{_weight_name(model): weights})


def _weight_name(model: Any) -> str:
    if isinstance(model, TransformedTargetRegressor) and model.regressor is not None:
        return _weight_name(model.regressor)
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return f"{name}__{_weight_name(last)}"
    return "sample_weight"


class TableModel(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of a table: it encodes categories, and standardizes the target on its `scale` (recipe.py).

    So the regressor's settings and its precision in float32 do not depend on the target's unit. With the scale `log`,
    errors count relative and answers stay positive; with `link`, the regressor gets the target in units of its mean,
    and predicts the logarithm of what is expected.
    """

    def __init__(self, regressor: Any, encoder: Any = None, scale: Scale = "none") -> None:
        self.regressor = regressor
        self.encoder = encoder
        self.scale = scale

    def fit(self, features: Matrix, target: Matrix, sample_weight: Matrix | None = None) -> Self:
        """Fit clones of encoder and regressor; the target must be above zero for `log`, and not below it for `link`."""
        if self.scale == "link":
            mean = float(np.average(target, weights=sample_weight))
            self.mean_, self.scale_ = float(np.log(mean)), 1.0
            scaled = target / mean
        else:
            values = np.log(target) if self.scale == "log" else target
            self.mean_ = float(np.average(values, weights=sample_weight))
            self.scale_ = float(values.std()) or 1.0
            scaled = (values - self.mean_) / self.scale_
        self.encoder_ = None if self.encoder is None else clone(self.encoder)
        encoded = features if self.encoder_ is None else self.encoder_.fit_transform(features, scaled)
        self.regressor_ = fit_weighted(clone(self.regressor), encoded, scaled, sample_weight)
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """Predictions in the target's unit, shape (rows,)."""
        encoded = features if self.encoder_ is None else self.encoder_.transform(features)
        values = self.regressor_.predict(encoded) * self.scale_ + self.mean_
        predictions: Matrix = values if self.scale == "none" else np.exp(values)
        return predictions


class Blend(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The weighted mean of several regressors; `members` are regressors with their weights, which add up to 1."""

    def __init__(self, members: Any) -> None:
        self.members = members

    def fit(self, features: Matrix, target: Matrix, sample_weight: Matrix | None = None) -> Self:
        """Fit a clone of every member."""
        self.members_ = [
            (fit_weighted(clone(member), features, target, sample_weight), weight) for member, weight in self.members
        ]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        return np.asarray(sum(weight * member.predict(features) for member, weight in self.members_))


class LogMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Histogram boosting of a loss with a logarithmic link (Poisson), which predicts the logarithm of the mean."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, features: Matrix, target: Matrix, sample_weight: Matrix | None = None) -> Self:
        """Fit a clone of the model; no target may be below zero."""
        self.model_ = clone(self.model).fit(features, target, sample_weight=sample_weight)
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """The logarithm of the expected target, shape (rows,)."""
        return np.asarray(np.log(self.model_.predict(features)))


class Asinh(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """asinh of each column, scaled by its spread: a logarithm that also takes zero and negative values.

    `bend` is where it turns from a line into a logarithm, in standard deviations.
    """

    def __init__(self, bend: float = 0.3) -> None:
        self.bend = bend

    def fit(self, features: Matrix, _target: Matrix | None = None) -> Self:
        """Learn each column's scale, and the centre of one that is far from zero."""
        means, deviations = features.mean(axis=0), features.std(axis=0)
        deviations = np.where(deviations > 0, deviations, 1.0)
        self.centre_ = np.where(np.abs(means) > FAR_FROM_ZERO * deviations, means, 0.0)
        self.scale_ = self.bend * deviations
        self.n_features_in_ = features.shape[1]
        return self

    def transform(self, features: Matrix) -> Matrix:
        """The transformed matrix, of the same shape."""
        return np.arcsinh((features - self.centre_) / self.scale_)


class MedianKernelRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Kernel ridge regression whose Gaussian kernel reaches about as far as two rows are apart (median heuristic).

    `reach` is the kernel's gamma per median squared distance of two rows.
    """

    def __init__(self, alpha: float = 1 / 40, reach: float = 0.65) -> None:
        self.alpha = alpha
        self.reach = reach

    def fit(self, features: Matrix, target: Matrix, sample_weight: Matrix | None = None) -> Self:
        """Choose gamma from the distances of some rows, evenly spaced, and fit."""
        chosen = features[np.linspace(0, len(features) - 1, min(len(features), DISTANCE_ROWS)).astype(int)]
        distances = euclidean_distances(chosen, squared=True)[np.triu_indices(len(chosen), 1)]
        median = float(np.median(distances)) or float(distances.mean()) or 1.0
        self.ridge_ = KernelRidge(kernel="rbf", gamma=self.reach / median, alpha=self.alpha)
        self.ridge_.fit(features, target, sample_weight)
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        predictions: Matrix = self.ridge_.predict(features)
        return predictions
