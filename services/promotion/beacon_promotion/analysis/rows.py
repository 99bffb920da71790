"""What is asked of a model before users are: what users asked last, and where that is too little, made-up homes.

Requests of the prediction log are the truest ones, and some of them have an actual value by now. Made-up rows follow
the training quantiles of the old model's features, each by itself, some values missing.
"""

import logging
import random
from bisect import bisect_right
from itertools import pairwise

import msgspec
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.actuals import before_newest, labelled
from beacon_core.data.tables import predictions
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import FeatureFacts, Manifest

log = logging.getLogger(__name__)

LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""What a feature's min, quantiles and max stand for."""
MISSING = 0.05
SEED = 20
CORRECTED = 10
"""So many actuals are looked at for each that is wanted: others were corrected, or are of older predictions."""


class Row(msgspec.Struct, frozen=True):
    """Features of one request (those that are missing are not there), and the true value where it is known."""

    features: dict[str, float]
    actual: float | None = None


def rows_for(engine: Engine, product: Product, manifest: Manifest, count: int) -> list[Row]:
    """`count` rows to ask: at most half of them with an actual, then other requests, each once, then made-up ones."""
    try:
        found = _labelled(engine, product, manifest, count // 2)
        found += _newest(engine, product, count - len(found))
    except (SQLAlchemyError, OSError) as error:
        log.warning("the store does not answer: only made-up requests are asked", extra={"error": message_of(error)})
        found = []
    return found + made_up(product, manifest, count - len(found))


def made_up(product: Product, manifest: Manifest, count: int) -> list[Row]:
    """Rows from the manifest's quantiles, always the same ones."""
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
        rows.append(Row(values))
    return rows


def _at(facts: FeatureFacts, level: float) -> float:
    """The value at a level between 0 and 1, on the straight line between the known ones."""
    points = (facts.min, *facts.quantiles, facts.max)
    place = min(bisect_right(LEVELS, level), len(LEVELS) - 1) - 1
    (low, high), (below, above) = list(pairwise(LEVELS))[place], list(pairwise(points))[place]
    return below + (above - below) * (level - low) / (high - low)


def _labelled(engine: Engine, product: Product, manifest: Manifest, count: int) -> list[Row]:
    """The predictions whose actuals came last.

    Only those that were made after the old model: on what it has learnt by heart no other can be as good. What the
    new one has learnt from them the gate has judged on rows that it had not seen.
    """
    with engine.connect() as connection:
        after = before_newest(connection, CORRECTED * count)
        made = read_time(manifest.created_at)
        columns = (predictions.c.id, predictions.c.features)
        found = labelled(*columns, since=made, after=after)
        newest = connection.execute(select(found).order_by(found.c.actual_id.desc(), found.c.id).limit(count))
        rows = [Row(_known(product, row.features), row.value) for row in newest]
    return [row for row in rows if _is_answered(product, row)]


def _newest(engine: Engine, product: Product, count: int) -> list[Row]:
    query = select(predictions.c.features).order_by(predictions.c.time.desc()).limit(count)
    with engine.connect() as connection:
        found = [Row(_known(product, row.features)) for row in connection.execute(query)]
    # A question that users repeat says nothing new: made-up ones in its place may find what it cannot.
    different = {tuple(row.features.items()): row for row in found}
    return [row for row in different.values() if _is_answered(product, row)]


def _known(product: Product, features: dict[str, float | None]) -> dict[str, float]:
    """The values that the model saw, in the product's order."""
    return {name: value for name in product.feature_names if (value := features.get(name)) is not None}


def _is_answered(product: Product, row: Row) -> bool:
    """Whether inference answers it today; it once took parts of whole numbers."""
    whole = [row.features.get(feature.name, 0) for feature in product.features if feature.is_whole]
    return len(row.features) >= product.min_features and all(float(value).is_integer() for value in whole)
