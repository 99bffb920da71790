"""The scale on which a target is predicted: as it is, by its logarithm, or by the logarithm of its mean."""

import numpy as np
from scipy.stats import skew

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema
from beacon_core.model_package.recipe import Scale
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError

SKEWED = 0.5
"""A positive target so skewed, or more, is tried by its logarithm first, where that is less skewed."""


class TransformError(RetrainError):
    """The target cannot be transformed as product.yaml says."""

    exit_status = REFUSED


def is_skewed(target: Matrix) -> bool:
    """Whether the target's logarithm exists and is the better scale."""
    if target.min() <= 0 or target.max() == target.min():
        return False
    own = float(skew(target))
    return own > SKEWED and abs(float(skew(np.log(target)))) < own


def first_scale(dataset: Dataset, *, is_linear: bool) -> Scale:
    """The scale that a family is tried on first; a linear one takes the logarithm only where product.yaml says so."""
    stated = dataset.schema.target.transform
    return "log" if stated == "log" or (stated == "auto" and not is_linear and is_skewed(dataset.target)) else "none"


def scales_to_search(dataset: Dataset, *, has_losses: bool) -> tuple[Scale, ...]:
    """The scales that tuning chooses from.

    By its logarithm a target above zero may be; zeros with a tail are what Poisson and Tweedie losses are for.
    """
    stated, low = dataset.schema.target.transform, float(dataset.target.min())
    if stated == "log":
        return ("log",)
    if stated == "none" or low < 0:
        return ("none",)
    if low > 0:
        return ("none", "log")
    return ("none", "link") if has_losses else ("none",)


def fits_scale(scale: Scale, target: Matrix) -> bool:
    """Whether a target has values on this scale."""
    low = float(target.min())
    return scale == "none" or (low > 0 if scale == "log" else low >= 0)


def check_target(dataset: Dataset, schema: Product | Schema) -> None:
    """Refuse what no model can be fitted to; raises `TransformError`."""
    name, target = schema.target.name, dataset.target
    if not len(target) or target.max() == target.min():
        raise TransformError(f"{name}: all training rows have one value, {target[0] if len(target) else 'none'}")
    if not np.isfinite(target).all():
        row = int(np.flatnonzero(~np.isfinite(target))[0])
        raise TransformError(f"{name}: is {target[row]:g} in training row {row + 1}; it must be a finite number")
    if schema.target.transform == "log" and target.min() <= 0:
        row = int(target.argmin())
        raise TransformError(
            f"target.transform: log needs values above 0, {name} is {target[row]:g} in training row {row + 1}"
        )
