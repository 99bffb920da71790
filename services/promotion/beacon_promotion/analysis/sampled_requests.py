"""The requests that a model answers in the dark: the newest of the prediction log, and generated ones if they are few.

Requests of the log are the most realistic, and some of them have an actual by now. Generated requests follow the
training quantiles of the old model's features, each feature by itself, with some values missing.
"""

import logging
import random
from bisect import bisect_right
from itertools import pairwise

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, Engine
from beacon_core.data.promotion_evidence import newest_features, newest_labelled
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import FeatureFacts, Manifest

log = logging.getLogger(__name__)

LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""What a feature's min, quantiles and max stand for."""
MISSING = 0.05
SEED = 20


class SampledRequest(msgspec.Struct, frozen=True):
    """The features of one request without those that are missing, and the actual if there is one."""

    features: dict[str, float]
    actual: float | None = None


def sample_requests(engine: Engine, product: Product, manifest: Manifest, count: int) -> list[SampledRequest]:
    """`count` requests: at most half of them with an actual, then others of the log, then generated."""
    try:
        found = _labelled(engine, product, manifest, count // 2)
        found += _newest(engine, product, count - len(found))
    except DatabaseUnavailableError as error:
        log.warning(
            "the database does not answer: only generated requests are sent", extra={"error": message_of(error)}
        )
        found = []
    return found + generate_requests(product, manifest, count - len(found))


def generate_requests(product: Product, manifest: Manifest, count: int) -> list[SampledRequest]:
    """Requests from the manifest's quantiles, the same at each call."""
    draw = random.Random(SEED)  # noqa: S311 - no secret
    facts = {feature.name: feature for feature in manifest.features}
    rows = []
    for _ in range(count):
        values: dict[str, float] = {}
        for feature in product.features:
            value = _at(facts[feature.name], draw.random())
            if feature.categories is not None:
                value = min(feature.categories, key=lambda category: abs(category - value))
            elif feature.is_whole:
                value = round(value)
            keep = len(product.features) - len(values) <= product.min_features or not feature.nullable
            if keep or draw.random() >= MISSING:
                values[feature.name] = value
        rows.append(SampledRequest(values))
    return rows


def _at(facts: FeatureFacts, level: float) -> float:
    """The feature's value at a quantile level (0 to 1), interpolated between the known ones."""
    points = (facts.min, *facts.quantiles, facts.max)
    place = min(bisect_right(LEVELS, level), len(LEVELS) - 1) - 1
    (low, high), (below, above) = list(pairwise(LEVELS))[place], list(pairwise(points))[place]
    return below + (above - below) * (level - low) / (high - low)


def _labelled(engine: Engine, product: Product, manifest: Manifest, count: int) -> list[SampledRequest]:
    """The predictions whose actuals came last.

    Only predictions made after the old model was trained: on its own training rows no other model can be as good. What
    the new model has learnt from them, the gate has judged on rows that it had not seen.
    """
    found = newest_labelled(engine, read_time(manifest.created_at), count)
    rows = [SampledRequest(_known(product, features), actual) for features, actual in found]
    return [row for row in rows if _is_accepted(product, row)]


def _newest(engine: Engine, product: Product, count: int) -> list[SampledRequest]:
    found = [SampledRequest(_known(product, features)) for features in newest_features(engine, count)]
    # A repeated request shows nothing new: a generated one in its place may.
    different = {tuple(row.features.items()): row for row in found}
    return [row for row in different.values() if _is_accepted(product, row)]


def _known(product: Product, features: dict[str, float | None]) -> dict[str, float]:
    """The values that the model saw, in the product's order."""
    return {name: value for name in product.feature_names if (value := features.get(name)) is not None}


def _is_accepted(product: Product, row: SampledRequest) -> bool:
    """Whether inference accepts it now; the log may hold requests that earlier builds accepted."""
    whole = [row.features.get(feature.name, 0) for feature in product.features if feature.is_whole]
    return len(row.features) >= product.min_features and all(float(value).is_integer() for value in whole)
