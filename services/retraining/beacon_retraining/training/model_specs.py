"""The model specs that training compares, from simple to complex, each seeded and exactly convertible to ONNX.

No setting depends on a product's units: categories are encoded, features and target standardized, and what has a
reach (the kernel) takes it from the data.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from scipy.stats import skew
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.encoder import ColumnEncoder, layout_of
from beacon_retraining.training.estimators import Asinh, Blend, MedianKernelRidge, TableModel

KERNEL_MAX_ROWS = 4000
"""A kernel's matrix is rows x rows: 128 MB of these; its time grows with the cube."""
FOREST_MAX_ROWS = 4000
"""A forest grows with its rows: 100 trees of these take some 40 MB as ONNX."""
BOOSTING_MAX_ROWS = 4000
"""Above, boosting over bins of values is as good, and many times faster."""
BINNED_MIN_ROWS = 2000
SKEWED = 0.5
"""A positive target so skewed, or more, is predicted by its logarithm, where that is less skewed."""
RIDGE_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-2, 4, 13))


class TransformError(RetrainError):
    """The target cannot be transformed as product.yaml says."""

    exit_status = REFUSED


class ModelSpec(msgspec.Struct, frozen=True):
    """One kind of model; `make` builds its regressor of standardized values from a seed.

    None is fitted to fewer than `min_rows` or more than `max_rows`. `is_linear` ones predict the target's logarithm
    only where product.yaml says so. `blend_of` names the specs that a blend averages by weight: its cross-validation
    follows from their predictions, without a fit of its own.
    """

    name: str
    make: Callable[[int], Any]
    min_rows: int = 0
    max_rows: int | None = None
    is_linear: bool = False
    blend_of: tuple[tuple[str, float], ...] = ()

    def is_applicable(self, dataset: Dataset) -> bool:
        """Whether it can be fitted to these rows."""
        rows = len(dataset.target)
        return rows >= self.min_rows and (self.max_rows is None or rows <= self.max_rows)

    def takes_logarithm(self, dataset: Dataset) -> bool:
        """Whether it predicts the target's logarithm."""
        stated = dataset.schema.target.transform
        return stated == "log" or (stated == "auto" and not self.is_linear and is_skewed(dataset.target))

    def build(self, seed: int, dataset: Dataset) -> TableModel:
        """The unfitted model for a dataset of these columns; raises `EncodingError`."""
        layout = layout_of(dataset)
        encoder = ColumnEncoder(layout, seed) if layout.has_categories else None
        return TableModel(self.make(seed), encoder, self.takes_logarithm(dataset))


def is_skewed(target: Matrix) -> bool:
    """Whether the target's logarithm exists and is the better scale."""
    if target.min() <= 0 or target.max() == target.min():
        return False
    own = float(skew(target))
    return own > SKEWED and abs(float(skew(np.log(target)))) < own


def check_target(dataset: Dataset, schema: Product | Schema) -> None:
    """Refuse what no model can be fitted to; raises `TransformError`."""
    name, target = schema.target.name, dataset.target
    if not len(target) or target.max() == target.min():
        raise TransformError(f"{name}: all training rows have one value, {target[0] if len(target) else 'none'}")
    if schema.target.transform == "log" and target.min() <= 0:
        row = int(target.argmin())
        raise TransformError(
            f"target.transform: log needs values above 0, {name} is {target[row]:g} in training row {row + 1}"
        )


def _ridge(_seed: int) -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=RIDGE_ALPHAS))


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


def _binned(seed: int) -> Any:
    return HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.1, max_leaf_nodes=31, early_stopping=False, random_state=seed
    )


def _kernel(_seed: int) -> Any:
    return make_pipeline(Asinh(), StandardScaler(), MedianKernelRidge())


BLEND = (("boosting", 0.5), ("kernel-ridge", 0.5))


def _blend(seed: int) -> Any:
    makers = {"boosting": _boosting, "kernel-ridge": _kernel}
    return Blend([(makers[name](seed), weight) for name, weight in BLEND])


MODEL_SPECS: tuple[ModelSpec, ...] = (
    ModelSpec("ridge", _ridge, is_linear=True),
    ModelSpec("extra-trees", _forest, max_rows=FOREST_MAX_ROWS),
    ModelSpec("kernel-ridge", _kernel, max_rows=KERNEL_MAX_ROWS),
    ModelSpec("boosting", _boosting, max_rows=BOOSTING_MAX_ROWS),
    ModelSpec("hist-boosting", _binned, min_rows=BINNED_MIN_ROWS),
    ModelSpec("blend", _blend, max_rows=min(KERNEL_MAX_ROWS, BOOSTING_MAX_ROWS), blend_of=BLEND),
)
