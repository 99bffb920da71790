"""The policy of a product: policy.yaml, beside product.yaml, as frozen, typed objects.

It says how a model is judged, promoted and watched, and when people are alerted. A changed limit retrains nothing:
all that determines a model is in domain/product.py.
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from beacon_core.domain.retention import DaysRead, Retention, retention_rules
from beacon_core.domain.schedule import cron_problem
from beacon_core.domain.spec import MOST_DAYS, ProductError, Rule, Spec, check_rules, convert, is_rising
from beacon_core.domain.token_clients import is_client_name

POLICY_FILE = "policy.yaml"
LARGE_RESIDUAL = 2.5
"""A residual of so many expected absolute errors is large, where policy.yaml does not say."""
MOVED = {"min_features": "min_features", "interval_coverage": "training.interval_coverage"}
"""Keys that were in the section `serving` and are in product.yaml now, with their new names."""


class Serving(Spec, frozen=True):
    """What clients are promised: latency and availability."""

    latency_slo_seconds: float = 0.2
    """Promise: 99 % of requests are answered within it."""
    availability_slo: float = 0.995
    """Promise: share of requests that are answered."""


class Quality(Spec, frozen=True):
    """What counts as a large residual, and over which windows errors are watched.

    `large_residual` is in units of the target; without it, it is LARGE_RESIDUAL times the model's expected error.
    """

    large_residual: float | None = None
    """In units of the target; null: 2.5 times the model's expected error."""
    windows_days: tuple[int, ...] = (7, 30)
    """Windows over which errors are shown."""


class Promotion(Spec, frozen=True):
    """What a new model must show before it replaces the one in service (docs/explanation/verdict.md).

    `mode` manual waits for a person's approval. Ratios and rises are the new model's figure against the old one's.
    """

    mode: Literal["auto", "manual"] = "auto"
    """auto, or manual: a person approves."""
    confidence: float = 0.95
    """Of the comparisons."""
    min_rows: int = 200
    """Labelled rows for a verdict; fewer are inconclusive."""
    min_segment_rows: int = 25
    """Labelled rows for a segment to count."""
    max_mae_ratio: float = 1.0
    """Mean absolute error, new to old."""
    max_rmse_ratio: float = 1.05
    """Root mean squared error, new to old."""
    min_r2: float = 0.0
    """R2 of the new model."""
    max_large_residual_rise: float = 0.02
    """Rise of the share of large residuals."""
    max_segment_mae_ratio: float = 1.25
    """Mean absolute error in a segment or a slice that was found, new to old."""
    max_interval_score_ratio: float = 1.1
    """Winkler score of the intervals (narrow, and with few targets outside), new to old."""
    min_coverage: float = 0.85
    """Share of actuals inside the interval."""
    max_missing_ratio: float = 1.35
    """Error with values missing to error without."""
    max_latency_seconds: float = 0.02
    """Processor seconds of one prediction, 99 % of calls."""
    directions: dict[str, Literal["up", "down"]] = msgspec.field(default_factory=dict)
    """Features that must raise (up) or lower (down) the prediction."""


class Approvals(Spec, frozen=True):
    """Who decides on a model, where a person has to."""

    people: int = 1
    """How many people have to approve a model: 1, or 2 different ones. One is enough to reject it."""


class Rollout(Spec, frozen=True):
    """What a model must show while it goes into service, and after; docs/explanation/promotion.md explains every limit.

    `min_requests` of the judged model and of the one beside it, else a phase is inconclusive; `windows` is N of M: a
    latency counts against it when N of M equal parts of a phase show it. Rises and ratios are its figure against the
    one in service (of answers to the same requests, where it can be). `tries` bounds how often an inconclusive
    candidate is tried again by itself.
    """

    phase_seconds: float = 60
    """Length of each phase."""
    watch_seconds: float = 300
    """Length of the watch after the release."""
    canary_share: float = 0.2
    """Share of requests that the canary answers."""
    min_requests: int = 400
    """Requests for a phase; fewer are inconclusive."""
    min_labels: int = 100
    """Actuals for a comparison of errors."""
    max_failure_share: float = 0.005
    """Share of requests that fail."""
    max_p99_ratio: float = 2.0
    """99th percentile of latency, new to old."""
    min_p99_rise_seconds: float = 0.002
    """A smaller rise of it does not count."""
    windows: tuple[int, int] = (3, 4)
    """N of M parts of a phase that must show a latency."""
    max_mean_shift: float = 0.25
    """Shift of the mean answer, in standard deviations."""
    min_agreement: float = 0.5
    """Rank correlation of the answers, new with old."""
    min_spread_ratio: float = 0.2
    """Spread of the answers, new to old."""
    max_out_of_range_rise: float = 0.05
    """Rise of the share of answers out of range."""
    max_memory_ratio: float = 2.0
    """Memory, new to old."""
    min_memory_rise_mb: float = 200
    """A smaller rise of it does not count."""
    max_error_ratio: float = 1.3
    """Error in the watch, new to expected."""
    tries: int = 3
    """How often an inconclusive model is tried again."""


class Drift(Spec, frozen=True):
    """When drift is an alarm, and when an alarm requests a retraining; docs/explanation/drift.md explains every limit.

    `hellinger`, `null_rate`, `unseen` and `out_of_range` are the smallest effects that matter (distance, or rise of a
    share). `false_alarms` bounds how often 30 quiet days have a false alarm, over all that is compared in them.
    `confirm` is N alarms of M runs. The rest decides what requests a retraining: actuals in a window, its error against
    the expected one, and a feature's share of all importance.
    """

    windows_days: tuple[int, ...] = (1, 7, 30)
    """Windows that are compared with the training."""
    min_rows: int = 200
    """Predictions for a comparison."""
    hellinger: float = 0.12
    """Smallest distance that matters."""
    null_rate: float = 0.05
    """Smallest rise of missing values that matters."""
    unseen: float = 0.01
    """Smallest share of unseen levels that matters."""
    out_of_range: float = 0.05
    """Smallest rise of values out of range that matters."""
    false_alarms: float = 0.02
    """How often 30 quiet days may have a false alarm."""
    confirm: tuple[int, int] = (2, 3)
    """N alarms of M runs confirm drift."""
    min_labels: int = 100
    """Actuals for a retraining that is requested."""
    max_mae_ratio: float = 1.3
    """Error to the expected one; above it, an alarm."""
    min_importance: float = 0.05
    """Share of importance of a feature whose drift requests a retraining."""


class Evidence(Spec, frozen=True):
    """Whose rows of the prediction log count: for drift, for what retraining learns from, and for promotion."""

    clients: Literal["all", "keyed"] | tuple[str, ...] = "all"
    """all; keyed: rows that were sent with an API key; or a list of the names of such keys."""


class Logging(Spec, frozen=True):
    """How much of the traffic is in the prediction log."""

    share: float = 1.0
    """Share of the predictions that are logged, by a hash of the entity, or of the id where there is none."""


class Retraining(Spec, frozen=True):
    """When to retrain: a cron schedule (UTC), the pause after a run, the fewest new labels for a run."""

    schedule: str = "0 3 * * 0"
    """When to retrain (cron, UTC)."""
    cooldown_hours: float = 24
    """Pause after a run."""
    min_new_labels: int = 100
    """New actuals for a run."""


class Monitoring(Spec, frozen=True):
    """When people are alerted; alerts (docs/reference/alerts.md) read each limit as beacon_threshold.

    Shares (0 to 1) are of the predictions of a short window, which must be `min_predictions` at least: those outside
    the target's training range (page, and ticket), those below target.low or above target.high, those with one feature
    outside its range or imputed, and those with nearly one value. Ages are of the newest model, features and actual.
    """

    min_predictions: int = 200
    """Predictions for an alert."""
    out_of_range_page: float = 0.25
    """Share outside the target's training range that pages."""
    out_of_range_share: float = 0.05
    """Share of the same that opens a ticket."""
    extreme_share: float = 0.25
    """Share below target.low or above target.high."""
    input_out_of_range_share: float = 0.2
    """Share with a feature out of range."""
    imputed_share: float = 0.3
    """Share with an imputed feature."""
    collapse_share: float = 0.95
    """Share with nearly one value."""
    model_age_days: float = 21
    """Age of the newest model."""
    feature_age_hours: float = 49
    """Age of the newest features."""
    actual_age_days: float = 7
    """Age of the newest actual."""
    backup_age_hours: float = 49
    """Age of the newest backup, where one was ever made."""


class Policy(Spec, frozen=True):
    """policy.yaml's top level."""

    serving: Serving = Serving()
    """What clients are promised."""
    quality: Quality = Quality()
    """Which residuals are large."""
    logging: Logging = Logging()
    """How much is logged."""
    evidence: Evidence = Evidence()
    """Whose predictions count."""
    drift: Drift = Drift()
    """When drift is an alarm."""
    retraining: Retraining = Retraining()
    """When to retrain."""
    promotion: Promotion = Promotion()
    """What a new model must show."""
    approvals: Approvals = Approvals()
    """Who decides on it, where a person has to."""
    rollout: Rollout = Rollout()
    """What it must show while it goes into service."""
    monitoring: Monitoring = Monitoring()
    """When people are alerted."""
    retention: Retention = Retention()
    """How long data is kept."""


def large_residual(limits: Quality, expected_error: float) -> float:
    """The residual above which one is large, in units of the target, for a model that expects `expected_error`."""
    return LARGE_RESIDUAL * expected_error if limits.large_residual is None else limits.large_residual


def parse_policy(file: Path, raw: object, features: Collection[str], measured: Collection[str]) -> Policy:
    """Check the content of `file` for a product with these features; raises `ProductError` that names key and rule.

    `measured` are the features whose values have an order and distances: only those have a direction.
    """
    serving = raw.get("serving") if isinstance(raw, dict) else None
    if isinstance(serving, dict) and (key := next((key for key in MOVED if key in serving), None)):
        raise ProductError(file, f"serving.{key}", f"belongs to product.yaml, beside this file, as {MOVED[key]}")
    policy = convert(file, "", raw, Policy)
    rules = [
        *_serving_rules(policy.serving),
        *_quality_rules(policy.quality),
        *_retraining_rules(policy.retraining),
        *_drift_rules(policy.drift),
        ("logging.share", 0 < policy.logging.share <= 1, "must be above 0, and 1 at most"),
        *_evidence_rules(policy.evidence),
        *_promotion_rules(policy.promotion, features, measured),
        *_rollout_rules(policy.rollout),
        ("approvals.people", policy.approvals.people in {1, 2}, "must be 1 or 2"),
        *_monitoring_rules(policy.monitoring),
        *retention_rules(policy.retention, _days_read(policy)),
    ]
    check_rules(file, rules)
    return policy


def _days_read(policy: Policy) -> DaysRead:
    """A label must live until a retraining has read it: until the newest model is too old, plus an actual's delay."""
    learning = policy.monitoring.model_age_days + policy.monitoring.actual_age_days
    return DaysRead(
        # One more than a window: it ends today.
        windows=max((0, *policy.drift.windows_days, *policy.quality.windows_days)) + 1,
        learning=math.ceil(learning) if math.isfinite(learning) else 0,  # another rule refuses it
    )


def _serving_rules(limits: Serving) -> list[Rule]:
    return [
        ("serving.latency_slo_seconds", limits.latency_slo_seconds > 0, "must be above 0"),
        ("serving.availability_slo", 0 < limits.availability_slo < 1, "must be between 0 and 1"),
    ]


def _quality_rules(limits: Quality) -> list[Rule]:
    return [
        ("quality.large_residual", limits.large_residual is None or limits.large_residual > 0, "must be above 0"),
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
    problem = cron_problem(limits.schedule)
    return [
        ("retraining.schedule", problem is None, problem or ""),
        ("retraining.cooldown_hours", 0 <= limits.cooldown_hours <= MOST_DAYS * 24, f"must be 0 to {MOST_DAYS * 24}"),
        ("retraining.min_new_labels", limits.min_new_labels >= 0, "must not be negative"),
    ]


def _drift_rules(limits: Drift) -> list[Rule]:
    alarms, runs = limits.confirm
    shares = ("hellinger", "null_rate", "unseen", "out_of_range", "false_alarms", "min_importance")
    return [
        _windows_rule("drift.windows_days", limits.windows_days),
        ("drift.min_rows", limits.min_rows >= 2, "must be at least 2"),
        ("drift.min_labels", limits.min_labels >= 2, "must be at least 2"),
        ("drift.confirm", 1 <= alarms <= runs, "must be N alarms of M runs, N at most M"),
        ("drift.max_mae_ratio", limits.max_mae_ratio > 0, "must be above 0"),
        *((f"drift.{name}", 0 < getattr(limits, name) < 1, "must be between 0 and 1") for name in shares),
    ]


def _evidence_rules(limits: Evidence) -> list[Rule]:
    if isinstance(limits.clients, str):
        return []
    wrong = next((name for name in limits.clients if not is_client_name(name)), None)
    return [
        ("evidence.clients", bool(limits.clients), "must name a client, or be all or keyed"),
        ("evidence.clients", wrong is None, f"{str(wrong)[:64]!r} is no name that an API key or a JWT can have"),
    ]


def _promotion_rules(limits: Promotion, features: Collection[str], measured: Collection[str]) -> list[Rule]:
    shares = {name: getattr(limits, name) for name in ("max_large_residual_rise", "min_coverage")}
    ratios = (
        "max_mae_ratio", "max_rmse_ratio", "max_segment_mae_ratio", "max_interval_score_ratio", "max_missing_ratio",
    )  # fmt: skip
    return [
        ("promotion.confidence", 0.5 < limits.confidence < 1, "must be between 0.5 and 1"),
        ("promotion.min_rows", limits.min_rows >= 2, "must be at least 2"),
        ("promotion.min_segment_rows", limits.min_segment_rows >= 2, "must be at least 2"),
        ("promotion.min_r2", limits.min_r2 <= 1, "must be at most 1"),
        ("promotion.max_latency_seconds", limits.max_latency_seconds > 0, "must be above 0"),
        *((f"promotion.{name}", 0 <= share <= 1, "must be 0 to 1") for name, share in shares.items()),
        *((f"promotion.{name}", getattr(limits, name) > 0, "must be above 0") for name in ratios),
        *((f"promotion.directions.{name}", name in features, "is not a feature") for name in limits.directions),
        *(
            (f"promotion.directions.{name}", name in measured, "is no measurement: only a float or an int can rise")
            for name in limits.directions
        ),
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
