"""The policy of a product: policy.yaml, beside product.yaml, as frozen, typed objects.

It says how a model is judged, promoted and watched, and when people are alerted. A changed limit retrains nothing:
all that determines a model is in domain/product.py.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from beacon_core.domain.spec import MOST_DAYS, ProductError, Rule, Spec, check_rules, convert, is_rising

POLICY_FILE = "policy.yaml"
MOVED = {"min_features": "min_features", "interval_coverage": "training.interval_coverage"}
"""Keys that were in the section `serving` and are in product.yaml now, with their new names."""


class Serving(Spec, frozen=True):
    """What clients are promised: latency and availability."""

    latency_slo_seconds: float
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
    """When drift is an alarm, and when an alarm requests a retraining; docs/explanation/drift.md explains every limit.

    `hellinger`, `null_rate`, `unseen` and `out_of_range` are the smallest effects that matter (distance, or rise of a
    share). `fdr` bounds the false discoveries among the features of one comparison, `false_alarms` how often the
    reference, split by chance, may reach a threshold. `confirm` is N alarms of M runs. The rest decides what requests
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
    """When to retrain: a cron schedule (UTC), the pause after a run, the fewest new labels for a run."""

    schedule: str
    cooldown_hours: float
    min_new_labels: int


class Monitoring(Spec, frozen=True):
    """When people are alerted; alerts (docs/reference/alerts.md) read each limit as beacon_threshold.

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


class Policy(Spec, frozen=True):
    """policy.yaml's top level."""

    serving: Serving
    quality: Quality
    drift: Drift
    retraining: Retraining
    promotion: Promotion
    rollout: Rollout
    monitoring: Monitoring


def parse_policy(file: Path, raw: object, features: Collection[str]) -> Policy:
    """Check the content of `file` for a product with these features; raises `ProductError` that names key and rule."""
    serving = raw.get("serving") if isinstance(raw, dict) else None
    if isinstance(serving, dict) and (key := next((key for key in MOVED if key in serving), None)):
        raise ProductError(file, f"serving.{key}", f"belongs to product.yaml, beside this file, as {MOVED[key]}")
    policy = convert(file, "", raw, Policy)
    rules = [
        *_serving_rules(policy.serving),
        *_quality_rules(policy.quality),
        *_retraining_rules(policy.retraining),
        *_drift_rules(policy.drift),
        *_promotion_rules(policy.promotion, features),
        *_rollout_rules(policy.rollout),
        *_monitoring_rules(policy.monitoring),
    ]
    check_rules(file, rules)
    return policy


def _serving_rules(limits: Serving) -> list[Rule]:
    return [
        ("serving.latency_slo_seconds", limits.latency_slo_seconds > 0, "must be above 0"),
        ("serving.availability_slo", 0 < limits.availability_slo < 1, "must be between 0 and 1"),
    ]


def _quality_rules(limits: Quality) -> list[Rule]:
    return [
        ("quality.large_residual", limits.large_residual > 0, "must be above 0"),
        _windows_rule("quality.windows_days", limits.windows_days),
    ]


def _windows_rule(key: str, days: tuple[int, ...]) -> Rule:
    holds = bool(days) and days[0] > 0 and days[-1] <= MOST_DAYS and is_rising(days)
    return key, holds, f"must be days, rising, from 1 to {MOST_DAYS}"


def _length_rule(key: str, length: float, *, per_day: float) -> Rule:
    """A length of time, in a unit that a day has `per_day` of."""
    most = MOST_DAYS * per_day
    return key, 0 < length <= most, f"must be above 0, and {most:.0f} at most"


def _retraining_rules(limits: Retraining) -> list[Rule]:
    return [
        ("retraining.schedule", len(limits.schedule.split()) == 5, "must be cron's five fields"),
        ("retraining.cooldown_hours", 0 <= limits.cooldown_hours <= MOST_DAYS * 24, f"must be 0 to {MOST_DAYS * 24}"),
        ("retraining.min_new_labels", limits.min_new_labels >= 0, "must not be negative"),
    ]


def _drift_rules(limits: Drift) -> list[Rule]:
    alarms, runs = limits.confirm
    shares = ("hellinger", "null_rate", "unseen", "out_of_range", "fdr", "false_alarms", "min_importance")
    return [
        _windows_rule("drift.windows_days", limits.windows_days),
        ("drift.min_rows", limits.min_rows >= 2, "must be at least 2"),
        ("drift.min_labels", limits.min_labels >= 2, "must be at least 2"),
        ("drift.confirm", 1 <= alarms <= runs, "must be N alarms of M runs, N at most M"),
        ("drift.max_mae_ratio", limits.max_mae_ratio > 0, "must be above 0"),
        *((f"drift.{name}", 0 < getattr(limits, name) < 1, "must be between 0 and 1") for name in shares),
    ]


def _promotion_rules(limits: Promotion, features: Collection[str]) -> list[Rule]:
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
        *((f"promotion.directions.{name}", name in features, "is not a feature") for name in limits.directions),
    ]


def _rollout_rules(limits: Rollout) -> list[Rule]:
    many, of = limits.windows
    shares = ("canary_share", "max_failure_share", "max_mean_shift", "max_out_of_range_rise", "min_agreement")
    above = ("min_p99_rise_seconds", "min_spread_ratio", "min_memory_rise_mb")
    lengths = ("phase_seconds", "watch_seconds")
    ratios = ("max_p99_ratio", "max_memory_ratio", "max_error_ratio")
    counts = {"min_requests": 20, "min_labels": 2, "tries": 1}
    return [
        ("rollout.windows", 1 <= many <= of, "must be N of M, N at most M"),
        *((f"rollout.{name}", 0 < getattr(limits, name) < 1, "must be between 0 and 1") for name in shares),
        *((f"rollout.{name}", getattr(limits, name) > 0, "must be above 0") for name in above),
        *(_length_rule(f"rollout.{name}", getattr(limits, name), per_day=86_400) for name in lengths),
        *((f"rollout.{name}", getattr(limits, name) > 1, "must be above 1") for name in ratios),
        *(
            (f"rollout.{name}", getattr(limits, name) >= least, f"must be at least {least}")
            for name, least in counts.items()
        ),
    ]


def _monitoring_rules(limits: Monitoring) -> list[Rule]:
    numbers = msgspec.structs.asdict(limits)
    shares = {name: limit for name, limit in numbers.items() if name.endswith(("share", "page"))}
    return [
        *((f"monitoring.{name}", 0 < share < 1, "must be between 0 and 1") for name, share in shares.items()),
        *((f"monitoring.{name}", numbers[name] > 0, "must be above 0") for name in numbers if name not in shares),
    ]
