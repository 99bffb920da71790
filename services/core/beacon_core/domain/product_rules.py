"""The rules of product.yaml that span several keys: names, columns, segments, derived features."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from beacon_core.domain.derived import Formula, Lag
from beacon_core.domain.feature import FeatureEntry
from beacon_core.domain.pins import NAME
from beacon_core.domain.product_entry import NO_ENTITY, Entity, ProductEntry, Training
from beacon_core.domain.source import check_data_rules
from beacon_core.domain.spec import MOST_DAYS, Rule, check_rules, is_rising

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created"
PREDICTION = "prediction"
RESERVED = frozenset((EVENT_TIME, CREATED_TIME, PREDICTION, "prediction_id", "observed_at", "entity"))
"""Columns that stand beside the features' in data, profiles and segments."""
COLUMN = re.compile(r"\w(?:[\w .%()/#&+°$€-]*[\w.%)/#+°$€-])?")
MOST_CHARACTERS = 64
MOST_SECONDS, MOST_TRIALS = 86_400, 100_000
"""Of a search: a day."""
MOST_FEATURES = 2000
ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
SEARCH_ALONE = {
    "models": "its estimator is the only one",
    "budget_seconds": "nothing is tuned; tune inside the estimator",
    "trials": "nothing is tuned; tune inside the estimator",
    "metric": "there is nothing to choose from; the estimator's own loss decides",
    "monotone": "give the estimator its constraints (such as monotonic_cst)",
}
"""Keys of the section training that are the search's alone, and what to do instead."""
NAME_RULE = (
    "must be a name of letters, digits, blanks and _ . % ( ) / # & + - that begins with a letter, digit or _, "
    f"1 to {MOST_CHARACTERS} characters"
)


def check_product(file: Path, product: ProductEntry, features: Mapping[str, FeatureEntry]) -> None:
    """Raise `ProductError` for the first rule that does not hold."""
    inputs = {name: entry for name, entry in features.items() if not isinstance(entry.derived, Formula)}
    check_rules(file, _top_rules(product, features, inputs))
    check_data_rules(file, product.data)
    if not isinstance(product.entity, str):
        check_rules(file, _entity_rules(product.entity))
    check_rules(file, _column_rules(product, features))
    check_rules(file, _derived_rules(product, features, inputs))
    check_rules(file, _training_rules(product, features, inputs))
    check_rules(file, _segment_rules(product, inputs))


def _top_rules(product: ProductEntry, features: Mapping[str, object], inputs: Mapping[str, object]) -> list[Rule]:
    low, high = product.target.valid
    names = f"must be 1 to {len(inputs)}, the number of features"
    target = product.target
    keys = Counter(product.key_features)
    return [
        ("name", bool(NAME.fullmatch(product.name)), "must be lower-case letters, digits, - and _"),
        ("schema_version", product.schema_version >= 1, "must be at least 1"),
        ("features", bool(inputs), "must name at least one feature"),
        ("features", len(features) <= MOST_FEATURES, f"must be at most {MOST_FEATURES}"),
        ("target.valid", low is None or high is None or low < high, "the low end must be below the high end"),
        (
            "target.low",
            target.low is None or target.high is None or target.low < target.high,
            "must be below target.high",
        ),
        ("target.decimals", target.decimals is None or 0 <= target.decimals <= 12, "must be 0 to 12"),
        ("min_features", product.min_features is None or 1 <= product.min_features <= len(inputs), names),
        ("features_ttl_days", 1 <= product.features_ttl_days <= MOST_DAYS, f"must be 1 to {MOST_DAYS} days"),
        *((f"excluded.{name}", bool(why.strip()), "needs a reason") for name, why in product.excluded.items()),
        *((f"excluded.{name}", name not in features, "is excluded and a feature at once") for name in product.excluded),
        *((f"key_features.{name}", name in inputs, "is not a feature") for name in keys),
        *((f"key_features.{name}", count == 1, "is there twice") for name, count in keys.items()),
        *_time_rules(product),
    ]


def _training_rules(
    product: ProductEntry, features: Mapping[str, FeatureEntry], inputs: Mapping[str, FeatureEntry]
) -> list[Rule]:
    training = product.training
    computed = {
        operand: name
        for name, entry in features.items()
        if isinstance(entry.derived, Formula)
        for operand in entry.derived.operands
    }
    return [
        ("training.interval_coverage", 0 < training.interval_coverage < 1, "must be between 0 and 1"),
        ("training.budget_seconds", 0 <= training.budget_seconds <= MOST_SECONDS, f"must be 0 to {MOST_SECONDS}"),
        (
            "training.trials",
            training.trials is None or 0 <= training.trials <= MOST_TRIALS,
            f"must be 0 to {MOST_TRIALS}",
        ),
        ("training.models", bool(set(training.models) - {"blend"}), "must name a family beside blend"),
        ("training.models", len(set(training.models)) == len(training.models), "holds a name twice"),
        *((f"training.monotone.{name}", name in inputs, "is not a feature") for name in training.monotone),
        *(
            (
                f"training.monotone.{name}",
                inputs[name].is_measured,
                "is no measurement: only a float or an int can rise",
            )
            for name in training.monotone
            if name in inputs
        ),
        *(
            (
                f"training.monotone.{name}",
                name not in computed,
                f"{computed.get(name)} is computed from it, and would move too",
            )
            for name in training.monotone
        ),
        *_entry_point_rules(product, features),
    ]


def _entry_point_rules(product: ProductEntry, features: Mapping[str, FeatureEntry]) -> list[Rule]:
    """What training.entry_point must be, and what the search's keys must not say beside it."""
    training, default = product.training, Training()
    if training.entry_point is None:
        return [("training.fit_seconds", training.fit_seconds is None, "is for training.entry_point, and only there")]
    unused = "has no effect with training.entry_point: "
    return [
        (
            "training.entry_point",
            bool(ENTRY_POINT.fullmatch(training.entry_point)),
            "must be package.module:function, names of Python",
        ),
        (
            "training.fit_seconds",
            0 < training.most_fit_seconds <= MOST_SECONDS,
            f"must be above 0, at most {MOST_SECONDS}",
        ),
        *(
            (f"training.{name}", getattr(training, name) == getattr(default, name), f"{unused}{why}")
            for name, why in SEARCH_ALONE.items()
        ),
        (
            "target.transform",
            product.target.transform != "log",
            f"{unused}wrap the estimator in TransformedTargetRegressor(func=np.log, inverse_func=np.exp)",
        ),
        *(
            (f"features.{name}.encode", entry.encode == "auto", f"{unused}the estimator encodes text")
            for name, entry in features.items()
        ),
    ]


def _time_rules(product: ProductEntry) -> list[Rule]:
    time = product.time
    return [
        ("time.split", time.split != "time" or time.event is not None, "by time needs time.event, a column"),
        (
            "time.group",
            (time.split == "group") == (time.group is not None),
            "is needed for time.split: group, and only there",
        ),
    ]


def _entity_rules(entity: Entity) -> list[Rule]:
    kinds = entity.type if isinstance(entity.type, dict) else {}
    return [
        ("entity.name", bool(NAME.fullmatch(entity.name)), "must be lower-case letters, digits, - and _"),
        ("entity.key", bool(entity.keys), "must name at least one column"),
        ("entity.key", len(set(entity.keys)) == len(entity.keys), "holds a column twice"),
        *((f"entity.type.{name}", name in entity.keys, "is not a column of entity.key") for name in kinds),
        (
            "entity.row_number",
            not entity.row_number or entity.columns == ((entity.keys[0], "int64"),),
            "numbers the rows: the key must be one name, of type int64",
        ),
    ]


def _column_rules(product: ProductEntry, features: Mapping[str, FeatureEntry]) -> list[Rule]:
    """Names are columns of files, labels of metrics and words on pages; no two of them may be the same."""
    entity = None if product.entity == NO_ENTITY else product.entity
    keys = entity.keys if isinstance(entity, Entity) else ()
    named = {"target.name": product.target.name}
    named |= {("entity.key" if len(keys) == 1 else f"entity.key[{at}]"): key for at, key in enumerate(keys)}
    named |= {f"features.{name}": name for name in features}
    named |= {f"segments.{name}": name for name in product.segments}
    rules = [(key, _is_name(name), NAME_RULE) for key, name in named.items()]
    rules += [
        (key, name not in RESERVED, f"is a name that Beacon uses: {', '.join(sorted(RESERVED))}")
        for key, name in named.items()
    ]
    rules += [("target.name", product.target.name not in features, "must not be a feature")]
    taken = (
        {*features, product.target.name} if isinstance(entity, Entity) and entity.row_number else {product.target.name}
    )
    rules += [("entity.key", key not in taken, "must not be a feature or the target") for key in keys]
    folded: dict[str, str] = {}
    for name in features:
        other = folded.setdefault(name.casefold(), name)
        rules.append((f"features.{name}", other == name, f"differs from {other} only in upper and lower case"))
    return rules


def _derived_rules(
    product: ProductEntry, features: Mapping[str, FeatureEntry], inputs: Mapping[str, FeatureEntry]
) -> list[Rule]:
    rules: list[Rule] = []
    for name, entry in features.items():
        if isinstance(entry.derived, Formula):
            rules += [
                (
                    f"features.{name}.derived",
                    operand in inputs and inputs[operand].is_measured,
                    f"{operand} is no measured feature",
                )
                for operand in entry.derived.operands
            ]
        if isinstance(entry.derived, Lag):
            of = entry.derived.lag
            known = of == product.target.name or (
                of in inputs and inputs[of].is_measured and inputs[of].derived is None
            )
            rules += [
                (f"features.{name}.derived.lag", known, f"{of} is neither a measured feature nor the target"),
                (f"features.{name}.derived.lag", product.entity != NO_ENTITY, "needs an entity, whose past it is of"),
                (f"features.{name}.derived.lag", product.time.event is not None, "needs time.event, a column"),
                (f"features.{name}.nullable", entry.nullable, "must be true: an entity's first row has no past"),
            ]
    return rules


def _segment_rules(product: ProductEntry, inputs: Mapping[str, FeatureEntry]) -> list[Rule]:
    """Bands need bounds: each value of a measurement would be a segment of its own."""
    rules: list[Rule] = []
    for name, segment in product.segments.items():
        of = inputs.get(segment.of)
        known = of is not None or segment.of == PREDICTION
        banded = segment.of == PREDICTION or (of is not None and (of.is_measured or of.is_time))
        rules += [
            (f"segments.{name}.of", known, "must be a feature or `prediction`"),
            (f"segments.{name}.of", of is None or not of.is_time, "must not be a date or timestamp"),
            (f"segments.{name}.of", of is None or not of.has_many_levels, "must not be a category of many levels"),
            (f"segments.{name}.bounds", is_rising(segment.bounds), "must be rising"),
            (f"segments.{name}.bounds", bool(segment.bounds) or not banded, "must be given for bands"),
            (f"segments.{name}.bounds", not segment.bounds or banded, "are for measurements and the prediction"),
        ]
    return rules


def _is_name(text: str) -> bool:
    return len(text) <= MOST_CHARACTERS and bool(COLUMN.fullmatch(text))
