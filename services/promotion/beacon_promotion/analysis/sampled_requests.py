"""The requests that a model answers in the dark: the newest of the prediction log, and generated ones if they are few.

Requests of the log are the most realistic, and some of them have an actual by now. Generated requests follow the
training quantiles of the old model's features, each feature by itself, with some values missing. All hold values as
clients send them, and all are valid by the schema that the requests must follow.
"""

import logging
import random
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, Engine
from beacon_core.data.prediction_log.promotion_evidence import newest_features, newest_labelled
from beacon_core.domain.feature import Feature
from beacon_core.domain.masking import message_of
from beacon_core.domain.policy import Evidence
from beacon_core.domain.schema import Schema
from beacon_core.domain.times import read_time
from beacon_core.domain.value_rules import Value
from beacon_core.model_package.golden import package_value
from beacon_core.model_package.manifest import FeatureFacts, Manifest

log = logging.getLogger(__name__)

LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""What a feature's min, quantiles and max stand for."""
MISSING = 0.05
SEED = 20
Features = dict[str, Value]


class SampledRequest(msgspec.Struct, frozen=True):
    """The features of one request without those that are missing, and the actual if there is one."""

    features: Features
    actual: float | None = None


def sample_requests(
    engine: Engine, evidence: Evidence, schema: Schema, manifest: Manifest, count: int
) -> list[SampledRequest]:
    """`count` requests: at most half of them with an actual, then others of the log, then generated.

    Of the log, only those that count as evidence.
    """
    try:
        found = _labelled(engine, evidence, schema, manifest, count // 2)
        found += _newest(engine, evidence, schema, count - len(found))
    except DatabaseUnavailableError as error:
        log.warning(
            "the database does not answer: only generated requests are sent", extra={"error": message_of(error)}
        )
        found = []
    return found + generate_requests(schema, manifest, count - len(found))


def generate_requests(schema: Schema, manifest: Manifest, count: int) -> list[SampledRequest]:
    """Requests from the manifest's quantiles, the same at each call."""
    draw = random.Random(SEED)  # noqa: S311 - no secret
    trained = {
        feature.name: (feature, facts)
        for feature, facts in zip(manifest.schema.features, manifest.features, strict=True)
    }
    rows = []
    for _ in range(count):
        values: Features = {}
        for place, feature in enumerate(schema.features):
            level, drop = draw.random(), draw.random()
            own = trained.get(feature.name)
            value = feature.example if own is None else _value(feature, *own, level)
            left = len(schema.features) - place
            keep = len(values) + left <= schema.min_features or not feature.nullable
            if keep or (drop >= MISSING and own is not None):
                values[feature.name] = value
        rows.append(SampledRequest(values))
    return rows


def _value(feature: Feature, trained: Feature, facts: FeatureFacts, level: float) -> Value:
    """The feature's value at a quantile level; its example where that is not valid (any more)."""
    number = _at(facts, level)
    if feature.has_number_levels:
        number = min(
            map(float, (known for known in feature.known_levels if not isinstance(known, str))),
            key=lambda known: abs(known - number),
        )
    elif not (trained.type == "float" and feature.type == "float"):
        number = float(round(number))
    value = package_value(trained, facts, number)
    return feature.example if value is None or feature.problem(value) else value


def _at(facts: FeatureFacts, level: float) -> float:
    """The feature's number at a quantile level (0 to 1), interpolated between the known ones."""
    points = (facts.min, *facts.quantiles, facts.max)
    place = min(bisect_right(LEVELS, level), len(LEVELS) - 1) - 1
    (low, high), (below, above) = list(pairwise(LEVELS))[place], list(pairwise(points))[place]
    return below + (above - below) * (level - low) / (high - low)


def _labelled(
    engine: Engine, evidence: Evidence, schema: Schema, manifest: Manifest, count: int
) -> list[SampledRequest]:
    """The predictions whose actuals came last.

    Only predictions made after the old model was trained: on its own training rows no other model can be as good. What
    the new model has learnt from them, the gate has judged on rows that it had not seen.
    """
    found = newest_labelled(engine, evidence, read_time(manifest.created_at), count)
    rows = [SampledRequest(_known(schema, features), actual) for features, actual in found]
    return [row for row in rows if _is_accepted(schema, row)]


def _newest(engine: Engine, evidence: Evidence, schema: Schema, count: int) -> list[SampledRequest]:
    found = [SampledRequest(_known(schema, features)) for features in newest_features(engine, evidence, count)]
    # A repeated request shows nothing new: a generated one in its place may.
    different = {tuple(row.features.items()): row for row in found}
    return [row for row in different.values() if _is_accepted(schema, row)]


def _known(schema: Schema, features: Mapping[str, Value | None]) -> Features:
    """The values that the model saw, in the schema's order."""
    return {name: value for name in schema.feature_names if (value := features.get(name)) is not None}


def _is_accepted(schema: Schema, row: SampledRequest) -> bool:
    """Whether inference accepts it now; the log may hold requests of an earlier schema."""
    valid = all(feature.problem(row.features.get(feature.name)) is None for feature in schema.features)
    return valid and len(row.features) >= schema.min_features
