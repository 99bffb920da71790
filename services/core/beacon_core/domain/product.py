"""The product spec: product.yaml, and the policy beside it, as frozen, typed objects.

Everything that depends on the data (validation, Feast definitions, imputation, model features) is built from
`Product`. A mistake in the file is a `ProductError` that names the file, the key and the rule.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from beacon_core.domain.pins import NAME
from beacon_core.domain.policy import POLICY_FILE, Policy, parse_policy
from beacon_core.domain.spec import (
    MOST_DAYS,
    ProductError,
    Rule,
    Spec,
    check_misplaced_keys,
    check_rules,
    convert,
    is_rising,
)
from beacon_core.domain.value_rules import ValueRules

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created"
RESERVED = frozenset((EVENT_TIME, CREATED_TIME, "prediction"))
"""Columns that stand beside the features' in data, profiles and segments."""
KAGGLE = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class RowLimits(Spec, frozen=True):
    """How many rows a data file may hold (inclusive)."""

    min: int
    max: int


class DataLimits(Spec, frozen=True):
    """What retraining refuses in a whole table.

    Shares (0 to 1) of missing values in a column and of repeated rows, a feature's rank correlation with the target (a
    leak), a column's distance (Kolmogorov-Smirnov) from the last data.
    """

    null_share: float
    duplicate_share: float
    target_correlation: float
    shift: float


class Source(Spec, frozen=True):
    """Where the raw data comes from: a Kaggle data set and the sample bundled beside product.yaml."""

    kaggle: str
    file: str
    missing: tuple[str, ...]
    sample: str
    rows: RowLimits
    limits: DataLimits


class Entity(Spec, frozen=True, rename={"origin": "from"}):
    """What a prediction is about; `row_number` numbers the file's rows from 1."""

    name: str
    key: str
    origin: Literal["row_number"]


class Target(Spec, frozen=True):
    """The value that is predicted; `low` and `high` bound what counts as an ordinary prediction."""

    name: str
    title: str
    unit: str
    valid: tuple[float, float]
    low: float
    high: float


class FeatureEntry(ValueRules, frozen=True, kw_only=True):
    """One feature as product.yaml spells it; `example` is an ordinary value, shown in the API's documentation."""

    type: Literal["float", "int"]
    title: str
    unit: str
    example: float
    impute: Literal["median", "most_frequent"]


class Feature(FeatureEntry, frozen=True, kw_only=True):
    """A feature with its name."""

    name: str

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers; False for categories, which list their own values."""
        return self.type == "int" and self.categories is None

    @property
    def rules(self) -> ValueRules:
        """The rules for its values alone."""
        return ValueRules(type=self.type, valid=self.valid, categories=self.categories, nullable=self.nullable)


class Segment(Spec, frozen=True):
    """A slice of the traffic: the values of a feature, or bands of the prediction between `bounds`."""

    of: str
    bounds: tuple[float, ...] = ()


class Training(Spec, frozen=True):
    """How a model is trained: the share of values that its intervals should contain."""

    interval_coverage: float


class ProductEntry(Spec, frozen=True):
    """product.yaml's top level; features stay raw here so that an error can name the feature."""

    name: str
    title: str
    schema_version: int
    source: Source
    entity: Entity
    target: Target
    features: dict[str, Any]
    excluded: dict[str, str]
    key_features: tuple[str, ...]
    segments: dict[str, Segment]
    min_features: int
    features_ttl_days: int
    training: Training


class Product(msgspec.Struct, frozen=True):
    """One product: its data, its target and its policy; `min_features` of a row must be known for a prediction."""

    file: Path
    name: str
    title: str
    schema_version: int
    source: Source
    entity: Entity
    target: Target
    features: tuple[Feature, ...]
    excluded: dict[str, str]
    key_features: tuple[str, ...]
    segments: dict[str, Segment]
    min_features: int
    features_ttl_days: int
    training: Training
    policy: Policy

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the model's matrix columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def feature_service(self) -> str:
        """Name of the Feast feature service that serves this schema version."""
        return f"{self.name.replace('-', '_')}_v{self.schema_version}"

    @property
    def sample_path(self) -> Path:
        """The bundled sample; paths in product.yaml are relative to it."""
        return self.file.parent / self.source.sample

    @property
    def schema_hash(self) -> str:
        """sha256 over what a model must agree on with its requests: order, types and domains of the features."""
        domain = [[f.name, f.type, f.valid, f.categories] for f in self.features]
        facts = [self.schema_version, self.target.name, self.target.unit, domain]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


def parse_product(file: Path, raw: object, read_policy: Callable[[Path], object]) -> Product:
    """Check the content of `file`, then the policy beside it; raises `ProductError` that names file, key and rule."""
    check_misplaced_keys(file, raw, Policy.__struct_fields__, POLICY_FILE)
    entry = convert(file, "", raw, ProductEntry)
    features = tuple(_feature(file, name, spec) for name, spec in entry.features.items())
    check_rules(file, _rules(entry))
    beside = file.with_name(POLICY_FILE)
    raw_policy = read_policy(beside)
    check_misplaced_keys(beside, raw_policy, ProductEntry.__struct_fields__, file.name)
    policy = parse_policy(beside, raw_policy, entry.features)
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return Product(**fields | {"file": file, "features": features, "policy": policy})


def _feature(file: Path, name: str, raw: object) -> Feature:
    entry = convert(file, f"features.{name}", raw, FeatureEntry)
    if (entry.valid is None) == (entry.categories is None):
        raise ProductError(file, f"features.{name}", "needs either valid (a range) or categories")
    if entry.valid is not None and entry.valid[0] >= entry.valid[1]:
        raise ProductError(file, f"features.{name}.valid", "the low end must be below the high end")
    if entry.categories is not None and len(set(entry.categories)) < len(entry.categories):
        raise ProductError(file, f"features.{name}.categories", "holds a value twice")
    if problem := entry.problem(entry.example):
        raise ProductError(file, f"features.{name}.example", problem.rule)
    if (entry.impute == "most_frequent") != (entry.categories is not None):
        raise ProductError(file, f"features.{name}.impute", "median is for ranges, most_frequent for categories")
    return Feature(name=name, **{field: getattr(entry, field) for field in entry.__struct_fields__})


def _rules(product: ProductEntry) -> list[Rule]:
    """The rules that span several keys."""
    names = set(product.features)
    rules: list[Rule] = [
        (
            "name",
            bool(NAME.fullmatch(product.name)),
            "must be lower-case letters, digits, - and _",
        ),
        ("schema_version", product.schema_version >= 1, "must be at least 1"),
        ("features", bool(names), "must name at least one feature"),
        ("target.valid", product.target.valid[0] < product.target.valid[1], "the low end must be below the high end"),
        ("target.low", product.target.low < product.target.high, "must be below target.high"),
        ("target.name", product.target.name not in names, "must not be a feature"),
        ("min_features", 1 <= product.min_features <= len(names), f"must be 1 to {len(names)}"),
        ("training.interval_coverage", 0 < product.training.interval_coverage < 1, "must be between 0 and 1"),
        ("features_ttl_days", 1 <= product.features_ttl_days <= MOST_DAYS, f"must be 1 to {MOST_DAYS} days"),
        (
            "source.kaggle",
            bool(KAGGLE.fullmatch(product.source.kaggle)),
            "must be OWNER/NAME, as in the data set's address",
        ),
        (
            "source.file",
            product.source.file not in {"", ".."} and Path(product.source.file).name == product.source.file,
            "must be a file's name, without a folder",
        ),
        ("source.sample", bool(product.source.sample.strip()), "must be a file's path"),
        ("entity.key", product.entity.key not in names | {product.target.name}, "must not be a feature or the target"),
        ("source.rows", 0 < product.source.rows.min <= product.source.rows.max, "min must be 1 to max"),
    ]
    rules += [
        (f"source.limits.{name}", 0 < limit <= 1, "must be above 0, and 1 at most")
        for name, limit in msgspec.structs.asdict(product.source.limits).items()
    ]
    rules += [(f"excluded.{name}", name not in names, "is excluded and a feature at once") for name in product.excluded]
    rules += [(f"excluded.{name}", bool(why.strip()), "needs a reason") for name, why in product.excluded.items()]
    rules += [(f"key_features.{name}", name in names, "is not a feature") for name in product.key_features]
    keys = product.key_features
    rules += [(f"key_features.{name}", keys.count(name) == 1, "is there twice") for name in keys]
    return rules + _name_rules(product) + _segment_rules(product)


def _name_rules(product: ProductEntry) -> list[Rule]:
    """Names are columns of files, labels of metrics and words on pages."""
    rule = f"must be a name on one line, without blanks around it, and none of {', '.join(sorted(RESERVED))}"
    named = {"entity.name": product.entity.name, "entity.key": product.entity.key, "target.name": product.target.name}
    named |= {f"features.{name}": name for name in product.features}
    named |= {f"segments.{name}": name for name in product.segments}
    return [(key, _is_name(name), rule) for key, name in named.items()]


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip() and text not in RESERVED


def _segment_rules(product: ProductEntry) -> list[Rule]:
    """Bands need bounds: each value of a measurement would be a segment of its own."""
    measured = {name for name, entry in product.features.items() if entry["type"] == "float"} | {"prediction"}
    rules: list[Rule] = []
    for name, segment in product.segments.items():
        known = segment.of in product.features or segment.of == "prediction"
        rules += [
            (f"segments.{name}.of", known, "must be a feature or `prediction`"),
            (f"segments.{name}.bounds", is_rising(segment.bounds), "must be rising"),
            (f"segments.{name}.bounds", bool(segment.bounds) or segment.of not in measured, "must be given for bands"),
        ]
    return rules
