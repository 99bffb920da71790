"""The product spec: product.yaml as frozen, typed objects.

Everything that depends on the data (validation, Feast definitions, imputation, model features) is built from
`Product`. A mistake in the file is a `ProductError` that names the file, the key and the rule.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.pins import NAME
from beacon_core.domain.value_rules import ValueRules
from beacon_core.domain.yaml_text import explain

KAGGLE = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

MOST_TTL_DAYS = 36_500
"""A century. Longer ones reach back to years that Feast cannot compute with."""


class ProductError(ConfigurationError):
    """product.yaml breaks a rule; the message is `FILE: KEY: RULE`."""

    def __init__(self, file: Path, key: str, rule: str) -> None:
        super().__init__(f"{file}: {key}: {rule}")
        self.file = file
        self.key = key
        self.rule = rule


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the product spec: immutable, and a misspelt key is an error."""


SpecT = TypeVar("SpecT", bound=msgspec.Struct)


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
        """Whether its values are whole numbers, each of which is fine (categories say themselves which are)."""
        return self.type == "int" and self.categories is None

    @property
    def rules(self) -> ValueRules:
        """What its values may be, and nothing else of it."""
        return ValueRules(type=self.type, valid=self.valid, categories=self.categories, nullable=self.nullable)


class Segment(Spec, frozen=True):
    """A slice of the traffic: the values of a feature, or bands of the prediction between `bounds`."""

    of: str
    bounds: tuple[float, ...] = ()


class Serving(Spec, frozen=True):
    """Rules of a request: the features that an answer needs; promised latency, coverage and availability."""

    min_features: int
    latency_slo_seconds: float
    interval_coverage: float
    availability_slo: float


class Quality(Spec, frozen=True):
    """What counts as a large residual (in units of the target) and over which windows errors are watched."""

    large_residual: float
    windows_days: tuple[int, ...]


class Promotion(Spec, frozen=True):
    """What a new model must show before it replaces the one in service (docs/explanation/verdict.md).

    `mode` manual waits for a person's approval. Ratios and rises are the new model's figure against the old one's.
    """

    mode: Literal["auto", "manual"]
    confidence: float
    min_rows: int
    min_segment_rows: int
    max_mae_ratio: float
    max_rmse_ratio: float
    min_r2: float
    max_large_residual_rise: float
    max_segment_mae_ratio: float
    min_coverage: float
    max_missing_ratio: float
    max_latency_seconds: float
    directions: dict[str, Literal["up", "down"]]


class Rollout(Spec, frozen=True):
    """What a model must show while it goes into service, and after; docs/explanation/promotion.md explains every limit.

    `min_requests` of the judged model and of the one beside it, else a phase is inconclusive; `windows` is N of M: a
    latency counts against it when N of M equal parts of a phase show it. Rises and ratios are its figure against the
    one in service (of answers to the same requests, where it can be). `tries` bounds how often an inconclusive
    candidate is tried again by itself.
    """

    phase_seconds: float
    watch_seconds: float
    canary_share: float
    min_requests: int
    min_labels: int
    max_failure_share: float
    max_p99_ratio: float
    min_p99_rise_seconds: float
    windows: tuple[int, int]
    max_mean_shift: float
    min_agreement: float
    min_spread_ratio: float
    max_out_of_range_rise: float
    max_memory_ratio: float
    min_memory_rise_mb: float
    max_error_ratio: float
    tries: int


class Drift(Spec, frozen=True):
    """When drift is an alarm, and when an alarm asks for a retraining; docs/explanation/drift.md explains every limit.

    `hellinger`, `null_rate`, `unseen` and `out_of_range` are the smallest effects that matter (distance, or rise of a
    share). `fdr` bounds the false discoveries among the features of one comparison, `false_alarms` how often the
    reference, split by chance, may reach a threshold. `confirm` is N alarms of M runs. The rest decides what asks for
    a retraining: actuals in a window, its error against the expected one, and a feature's share of all importance.
    """

    windows_days: tuple[int, ...]
    min_rows: int
    hellinger: float
    null_rate: float
    unseen: float
    out_of_range: float
    fdr: float
    false_alarms: float
    confirm: tuple[int, int]
    min_labels: int
    max_mae_ratio: float
    min_importance: float


class Retraining(Spec, frozen=True):
    """When to retrain: a cron schedule (UTC), the pause after a run, the new labels that make a run worth it."""

    schedule: str
    cooldown_hours: float
    min_new_labels: int


class Monitoring(Spec, frozen=True):
    """When people are told; alerts (docs/reference/alerts.md) read each limit as beacon_threshold.

    Shares (0 to 1) are of the predictions of a short window, which must be `min_predictions` at least: those outside
    the target's training range (page, and ticket), those below target.low or above target.high, those with one feature
    outside its range or imputed, and those with nearly one value. Ages are of the newest model, features and actual.
    """

    min_predictions: int
    out_of_range_page: float
    out_of_range_share: float
    extreme_share: float
    input_out_of_range_share: float
    imputed_share: float
    collapse_share: float
    model_age_days: float
    feature_age_hours: float
    actual_age_days: float


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
    serving: Serving
    features_ttl_days: int
    quality: Quality
    drift: Drift
    retraining: Retraining
    promotion: Promotion
    rollout: Rollout
    monitoring: Monitoring


class Product(msgspec.Struct, frozen=True):
    """One product: its data, its target and its promises."""

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
    serving: Serving
    features_ttl_days: int
    quality: Quality
    drift: Drift
    retraining: Retraining
    promotion: Promotion
    rollout: Rollout
    monitoring: Monitoring

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


def parse_product(file: Path, raw: object) -> Product:
    """Check what `file` holds; raises `ProductError` naming file, key and rule."""
    entry = _convert(file, "", raw, ProductEntry)
    features = tuple(_feature(file, name, spec) for name, spec in entry.features.items())
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__} | {"features": features}
    product = Product(file=file, **fields)
    _check(product)
    return product


def _convert(file: Path, prefix: str, raw: object, kind: type[SpecT]) -> SpecT:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        key, rule = explain(error, raw, kind)
        raise ProductError(file, ".".join(filter(None, (prefix, key))) or "(top)", rule) from error


def _feature(file: Path, name: str, raw: object) -> Feature:
    entry = _convert(file, f"features.{name}", raw, FeatureEntry)
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


def _check(product: Product) -> None:
    """The rules that span several keys."""
    names = set(product.feature_names)
    rules: list[tuple[str, bool, str]] = [
        (
            "name",
            bool(NAME.fullmatch(product.name)),
            "must be lower-case letters, digits, - and _",
        ),
        ("features", bool(names), "must name at least one feature"),
        ("target.valid", product.target.valid[0] < product.target.valid[1], "the low end must be below the high end"),
        ("target.low", product.target.low < product.target.high, "must be below target.high"),
        ("target.name", product.target.name not in names, "must not be a feature"),
        ("serving.min_features", 1 <= product.serving.min_features <= len(names), f"must be 1 to {len(names)}"),
        ("serving.interval_coverage", 0 < product.serving.interval_coverage < 1, "must be between 0 and 1"),
        ("serving.availability_slo", 0 < product.serving.availability_slo < 1, "must be between 0 and 1"),
        ("retraining.schedule", len(product.retraining.schedule.split()) == 5, "must be cron's five fields"),
        ("retraining.cooldown_hours", product.retraining.cooldown_hours >= 0, "must not be negative"),
        ("retraining.min_new_labels", product.retraining.min_new_labels >= 0, "must not be negative"),
        ("features_ttl_days", 1 <= product.features_ttl_days <= MOST_TTL_DAYS, f"must be 1 to {MOST_TTL_DAYS} days"),
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
        ("source.rows", 0 < product.source.rows.min <= product.source.rows.max, "min must be 1 to max"),
    ]
    rules += [
        (f"source.limits.{name}", 0 < limit <= 1, "must be above 0, and 1 at most")
        for name, limit in msgspec.structs.asdict(product.source.limits).items()
    ]
    rules += [(f"excluded.{name}", name not in names, "is excluded and a feature at once") for name in product.excluded]
    rules += [(f"excluded.{name}", bool(why.strip()), "needs a reason") for name, why in product.excluded.items()]
    rules += [(f"key_features.{name}", name in names, "is not a feature") for name in product.key_features]
    rules += [
        (f"segments.{name}.of", segment.of in names | {"prediction"}, "must be a feature or `prediction`")
        for name, segment in product.segments.items()
    ]
    rules += _drift_rules(product)
    rules += _promotion_rules(product)
    rules += _rollout_rules(product.rollout)
    rules += _monitoring_rules(product)
    for key, holds, rule in rules:
        if not holds:
            raise ProductError(product.file, key, rule)


def _drift_rules(product: Product) -> list[tuple[str, bool, str]]:
    limits = product.drift
    alarms, runs = limits.confirm
    days = limits.windows_days
    shares = ("hellinger", "null_rate", "unseen", "out_of_range", "fdr", "false_alarms", "min_importance")
    return [
        ("drift.windows_days", bool(days) and days[0] > 0 and sorted(set(days)) == list(days), "must be days, rising"),
        ("drift.min_rows", limits.min_rows >= 2, "must be at least 2"),
        ("drift.min_labels", limits.min_labels >= 2, "must be at least 2"),
        ("drift.confirm", 1 <= alarms <= runs, "must be N alarms of M runs, N at most M"),
        ("drift.max_mae_ratio", limits.max_mae_ratio > 0, "must be above 0"),
        *((f"drift.{name}", 0 < getattr(limits, name) < 1, "must be between 0 and 1") for name in shares),
    ]


def _promotion_rules(product: Product) -> list[tuple[str, bool, str]]:
    limits = product.promotion
    shares = {name: getattr(limits, name) for name in ("max_large_residual_rise", "min_coverage")}
    ratios = ("max_mae_ratio", "max_rmse_ratio", "max_segment_mae_ratio", "max_missing_ratio")
    return [
        ("promotion.confidence", 0.5 < limits.confidence < 1, "must be between 0.5 and 1"),
        ("promotion.min_rows", limits.min_rows >= 2, "must be at least 2"),
        ("promotion.min_segment_rows", limits.min_segment_rows >= 2, "must be at least 2"),
        ("promotion.min_r2", limits.min_r2 <= 1, "must be at most 1"),
        ("promotion.max_latency_seconds", limits.max_latency_seconds > 0, "must be above 0"),
        *((f"promotion.{name}", 0 <= share <= 1, "must be 0 to 1") for name, share in shares.items()),
        *((f"promotion.{name}", getattr(limits, name) > 0, "must be above 0") for name in ratios),
        *(
            (f"promotion.directions.{name}", name in product.feature_names, "is not a feature")
            for name in limits.directions
        ),
    ]


def _rollout_rules(limits: Rollout) -> list[tuple[str, bool, str]]:
    many, of = limits.windows
    shares = ("canary_share", "max_failure_share", "max_mean_shift", "max_out_of_range_rise", "min_agreement")
    above = ("phase_seconds", "watch_seconds", "min_p99_rise_seconds", "min_spread_ratio", "min_memory_rise_mb")
    ratios = ("max_p99_ratio", "max_memory_ratio", "max_error_ratio")
    counts = {"min_requests": 20, "min_labels": 2, "tries": 1}
    return [
        ("rollout.windows", 1 <= many <= of, "must be N of M, N at most M"),
        *((f"rollout.{name}", 0 < getattr(limits, name) < 1, "must be between 0 and 1") for name in shares),
        *((f"rollout.{name}", getattr(limits, name) > 0, "must be above 0") for name in above),
        *((f"rollout.{name}", getattr(limits, name) > 1, "must be above 1") for name in ratios),
        *(
            (f"rollout.{name}", getattr(limits, name) >= least, f"must be at least {least}")
            for name, least in counts.items()
        ),
    ]


def _monitoring_rules(product: Product) -> list[tuple[str, bool, str]]:
    limits = msgspec.structs.asdict(product.monitoring)
    shares = {name: limit for name, limit in limits.items() if name.endswith(("share", "page"))}
    return [
        *((f"monitoring.{name}", 0 < share < 1, "must be between 0 and 1") for name, share in shares.items()),
        *((f"monitoring.{name}", limits[name] > 0, "must be above 0") for name in limits if name not in shares),
    ]
