"""The one class of the served pipeline that is not scikit-learn's own; each peer finds it on its path."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class LogTarget(RegressorMixin, BaseEstimator):
    """A regressor of the target's logarithm about `mean`, answering in the target's unit."""

    def __init__(self, regressor: Any, mean: float) -> None:
        self.regressor = regressor
        self.mean = mean

    def fit(self, features: Any, target: Any) -> "LogTarget":
        self.regressor.fit(features, np.log(target) - self.mean)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, features: Any) -> Any:
        return np.exp(self.regressor.predict(features) + self.mean)
