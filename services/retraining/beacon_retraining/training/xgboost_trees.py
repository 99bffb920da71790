"""XGBoost as Beacon uses it: its trees as they are, their leaves added in double.

XGBoost adds hundreds of leaves in float32, which is off by up to 1e-5 of the target's spread. The exported graph adds
them in double; so does this, and both answer alike.
"""

import json
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from beacon_retraining.data.dataset import Matrix


class XGBoostTree(NamedTuple):
    """One tree's nodes, by their numbers: `threshold` of a branch, `value` of a leaf; its own arrays are float32."""

    feature: NDArray[Any]
    threshold: Matrix
    left: NDArray[Any]
    right: NDArray[Any]
    is_leaf: NDArray[np.bool_]
    value: Matrix


class XGBoostTrees(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """XGBoost's trees for a standardized target; `settings` are those of XGBRegressor.

    It predicts the sum of the leaves: of a loss with a logarithmic link that is the logarithm of the mean.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def fit(self, features: Matrix, target: Matrix, sample_weight: Matrix | None = None) -> Self:
        """Fit on one thread, whatever the settings say: more may change the last bits."""
        from xgboost import XGBRegressor  # noqa: PLC0415 - it may be missing: families.why_no_xgboost

        model = XGBRegressor(**self.settings, tree_method="hist", grow_policy="lossguide", max_depth=0, n_jobs=1)
        self.booster_ = model.fit(features, target, sample_weight=sample_weight).get_booster()
        self.trees_ = _trees(self.booster_)
        self.leaves_ = np.zeros((len(self.trees_), max(len(tree.value) for tree in self.trees_)))
        for row, tree in zip(self.leaves_, self.trees_, strict=True):
            row[: len(tree.value)] = tree.value
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, features: Matrix) -> Matrix:
        """The sums of the leaves, shape (rows,)."""
        from xgboost import DMatrix  # noqa: PLC0415 - as above

        at = self.booster_.predict(DMatrix(features, nthread=1), pred_leaf=True).astype(np.intp)
        sums: Matrix = self.leaves_[np.arange(len(self.trees_)), at.reshape(len(features), -1)].sum(axis=1)
        return sums


def _trees(booster: Any) -> tuple[XGBoostTree, ...]:
    """The trees; XGBoost's `value < threshold`, in float32, is `value <= the float32 before the threshold`."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    trees = []
    for raw in learner["gradient_booster"]["model"]["trees"]:
        left, values = np.array(raw["left_children"]), np.array(raw["split_conditions"], np.float32)
        is_leaf = left < 0
        trees.append(
            XGBoostTree(
                feature=np.array(raw["split_indices"]),
                threshold=np.nextafter(values, np.float32(-np.inf)).astype(np.float64),
                left=left,
                right=np.array(raw["right_children"]),
                is_leaf=is_leaf,
                value=np.where(is_leaf, values, 0).astype(np.float64),
            )
        )
    return tuple(trees)
