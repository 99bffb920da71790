"""A store with a month behind it: predictions, actuals, drift runs, jobs and verdicts, as the services leave them."""

import itertools
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from beacon_core.data import ledger
from beacon_core.data.drift_results import window_name
from beacon_core.data.tables import (
    actuals,
    drift_results,
    drift_runs,
    job_runs,
    model_error,
    predictions,
    retrain_requests,
    verdicts,
)
from beacon_core.domain import ledger_entries
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product

BATCH = 50_000
SHA = {version: f"{version}" * 64 for version in ("1", "2", "3")}
SCORES = (0.31, 0.27)
THRESHOLD = 0.15
ENTITIES = 500


Told = tuple[
    str,
    ledger_entries.Step,
    ledger_entries.Outcome,
    ledger_entries.Reason | None,
    str,
    dict[str, Any] | None,
]
"""Run, step, outcome, reason, message and evidence of a row of the ledger."""


def high_drift(product: Product) -> dict[str, float]:
    """The two features that drift, and their scores: the first ones that pages show."""
    return dict(zip(product.key_features, SCORES, strict=False))


def _scale(product: Product) -> tuple[float, float]:
    """The middle of the target, and a deviation, by product.yaml."""
    low, high = product.target.low, product.target.high
    return (0.0, 1.0) if low is None or high is None else ((low + high) / 2, (high - low) / 6)


def _segments(product: Product) -> list[str]:
    """Two values of the first segment, as model errors name them; none without segments."""
    for name, segment in product.segments.items():
        levels = [level for feature in product.features if feature.name == segment.of for level in feature.known_levels]
        ends = [-math.inf, *segment.bounds, math.inf]
        bands = (
            [f"{low:g}..{high:g}" for low, high in itertools.pairwise(ends)] if segment.bounds else ["true", "false"]
        )
        return [f"{name}={value}" for value in (levels or bands)[:2]]
    return []


def prediction_row(product: Product, number: int, moment: datetime, version: str) -> dict[str, Any]:
    """One row of the prediction log."""
    chance = random.Random(number)
    absent, outside = product.key_features[0], product.key_features[-1]
    features = {feature.name: feature.example for feature in product.features} | {absent: None}
    middle, deviation = _scale(product)
    value = middle + chance.gauss(0, deviation)
    return {
        "id": f"p{number:08d}",
        "time": moment,
        "entity": str(number % ENTITIES + 1),
        "features": features,
        "from_store": None,
        "imputed": [absent],
        "out_of_range": [outside] if number % 7 == 0 else [],
        "prediction": value,
        "low": value - deviation,
        "high": value + deviation,
        "model_version": version,
        "model_sha256": SHA[version],
        "latency_seconds": 0.002 * math.exp(chance.gauss(0, 0.5)),
        "request_id": f"r{number:08d}",
        "trace_id": f"{number:032x}",
    }


def add_predictions(engine: Engine, product: Product, count: int, now: datetime, days: float = 30.0) -> None:
    """Spread `count` predictions evenly over `days`; version 1 answers the first two thirds, version 2 the rest."""
    step = timedelta(days=days) / max(count, 1)
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        rows = [
            prediction_row(product, number, now - step * (count - number), "1" if number < count * 2 / 3 else "2")
            for number in numbers
        ]
        with engine.begin() as connection:
            connection.execute(insert(predictions), rows)


def add_actuals(engine: Engine, product: Product, now: datetime, numbers: range) -> None:
    """Actuals for some predictions, by their id."""
    middle, deviation = _scale(product)
    rows = [
        {
            "prediction_id": f"p{number:08d}",
            "value": middle + random.Random(number).gauss(0, deviation) + deviation / 12,
            "observed_at": now,
            "received_at": now,
            "source": "test",
        }
        for number in numbers
    ]
    with engine.begin() as connection:
        connection.execute(insert(actuals), rows)


def add_drift(engine: Engine, product: Product, runs: int, now: datetime, high: dict[str, float] | None = None) -> str:
    """Hourly drift runs up to `now`; the features in `high` end there, confirmed. Returns the newest period."""
    high = {} if high is None else high
    segments = _segments(product)
    _, deviation = _scale(product)
    begin = now.replace(minute=0, second=0, microsecond=0)
    compared, judged = product.policy.drift.windows_days, product.policy.quality.windows_days
    period = ""
    for back in range(runs - 1, -1, -1):
        hour = begin - timedelta(hours=back)
        period, share = hour.isoformat(), 1 - back / runs
        results = [
            _result(period, hour, window, kind, feature, high.get(feature, 0.05) * share + 0.02, high)
            for window in map(window_name, compared)
            for kind, feature in [
                *(("data", name) for name in product.feature_names),
                ("prediction", "prediction"),
                ("target", product.target.name),
            ]
        ]
        figures = [
            _figure(period, hour, window, segment, metric, value, share)
            for window in map(window_name, judged)
            for segment in ("", *segments)
            for metric, value in (("mae", 0.4 * deviation), ("rmse", 0.6 * deviation), ("r2", 0.86), ("coverage", 0.91))
        ]
        run = {"period": period, "created_at": hour, "state": "drift" if high else "ok", "rows": 4000}
        run |= {"summary": {}, "report": "<h1>Report</h1>", "distributions": None if back else _distributions(product)}
        with engine.begin() as connection:
            connection.execute(insert(drift_runs).values(run))
            connection.execute(insert(drift_results), results)
            connection.execute(insert(model_error), figures)
    return period


def _distributions(product: Product) -> dict[str, Any]:
    """What a run keeps of each column that has bins: a feature's example lies in one of them."""
    found = {}
    for feature in product.features:
        if feature.is_time:
            continue
        if feature.is_category:
            edges: list[float] = []
            levels = feature.known_levels or (feature.example,)
            labels = ["false", "true"] if feature.type == "bool" else [f"{level}" for level in levels]
            labels.append("unseen")
        else:
            middle = feature.to_number(feature.example)
            edges = [middle + step for step in (-2.0, -1.0, 1.0, 2.0)]
            inner = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
            labels = [f"below {edges[0]:.3g}", *inner, f"above {edges[-1]:.3g}"]
        weights = [float(place + 1) for place in range(len(labels))]
        shares = [weight / sum(weights) for weight in weights]
        found[feature.name] = {
            window: {"labels": labels, "reference": shares[::-1], "seen": shares, "edges": edges}
            | {"rows": 4000, "nulls": 200, "reference_rows": 900, "reference_nulls": 9}
            for window in map(window_name, product.policy.drift.windows_days)
        }
    return found


def _result(
    period: str, hour: datetime, window: str, kind: str, feature: str, score: float, high: dict[str, float]
) -> dict[str, Any]:
    alarm = score > THRESHOLD
    return {
        "period": period,
        "window": window,
        "model_version": "2",
        "kind": kind,
        "feature": feature,
        "effect": "hellinger",
        "state": "drift" if alarm else "ok",
        "score": score,
        "p_value": 0.001 if alarm else 0.4,
        "threshold": THRESHOLD,
        "rows": 4000,
        "alarm": alarm,
        "confirmed": alarm and feature in high,
        "created_at": hour,
    }


def _figure(
    period: str, hour: datetime, window: str, segment: str, metric: str, value: float, share: float
) -> dict[str, Any]:
    wave = value * (1 + 0.12 * math.sin(9 * share))
    return {
        "period": period,
        "window": window,
        "segment": segment,
        "model_version": "2",
        "metric": metric,
        "value": min(wave, 0.95) if metric in {"r2", "coverage"} else wave,
        "low": wave * 0.9,
        "high": min(wave * 1.1, 0.99) if metric in {"r2", "coverage"} else wave * 1.1,
        "rows": 900,
        "until": hour,
        "created_at": hour,
    }


def add_job(engine: Engine, job: str, ended: datetime, state: str = "done", error: str | None = None) -> None:
    """One run of a job that took twelve seconds."""
    row = {"job": job, "period": ended.isoformat(), "stage": "run", "state": state, "rows": 4000, "error": error}
    row |= {"started_at": ended - timedelta(seconds=12), "ended_at": ended}
    with engine.begin() as connection:
        connection.execute(insert(job_runs).values(row))


def add_verdict(engine: Engine, product: Product, moment: datetime, version: str = "3", outcome: str = "pass") -> None:
    """What the gate says, in the shape that retraining writes."""
    check = {"name": "mae", "title": "mean absolute error, ratio", "outcome": outcome, "number": 0.91, "rule": "below"}
    check |= {"limit": 1.0, "low": 0.85, "high": 0.97, "challenger": 2.1, "champion": 2.3, "note": ""}
    part = {"rows": 90, "challenger": 2.0, "champion": 2.5, "ratio": 0.8, "low": 0.7, "high": 0.9}
    slices = [{"name": name} | part for name in _segments(product)]
    whole = {"reason": "clearly better, and within every limit", "how": "on 500 rows", "checks": [check]}
    whole |= {"slices": slices}
    row = {"moment": moment, "product": product.name, "version": version, "sha256": SHA[version]}
    row |= {"champion_version": "2", "outcome": outcome, "data_fingerprint": "f" * 64, "verdict": whole}
    with engine.begin() as connection:
        connection.execute(insert(verdicts).values(row))


def add_promotion(engine: Engine, product: Product, moment: datetime) -> None:
    """A run that ends with version 3 kept out, for two of its figures, after version 2 was noted as serving."""
    old, new = (Pin(product.name, version, version * 64) for version in ("2", "3"))
    limits = {"limit": 0.25, "old": 22.4}
    checks = [
        {"reason": "error_rate", "title": "share of requests that failed", "outcome": "pass", "number": 0.0} | limits,
        {"reason": "output_shift", "title": "shift of the mean answer", "outcome": "fail", "number": 0.31} | limits,
    ]
    why = "shift of the mean answer: 0.31, the limit is 0.25"
    steps: list[Told] = [
        ("noted", "adopt", "pass", None, "version 2 serves, and no promotion put it there", None),
        ("tried", "begin", "begun", None, "version 3: clearly better, and within every limit", {"verdict": 1}),
        (
            "tried",
            "dark",
            "fail",
            "output_shift",
            "shift of the mean answer: 0.31, the limit is 0.25",
            {"checks": checks},
        ),
        ("tried", "end", "refused", "output_shift", why, None),
    ]
    with engine.begin() as connection:
        for number, (run, step, outcome, reason, message, evidence) in enumerate(steps):
            row = ledger_entries.Entry(
                key=f"{run}/{step}",
                run=run,
                moment=moment + timedelta(seconds=number),
                product=product.name,
                target="laptop",
                actor="the gate",
                action="promote" if run == "tried" else "adopt",
                step=step,
                outcome=outcome,
                reason=reason,
                message=message,
                before=old,
                after=new,
                serving=(old,),
                evidence=evidence,
            )
            ledger.append(connection, row)


def add_request(engine: Engine, product: Product, moment: datetime) -> None:
    """A wish for a new model."""
    names = list(high_drift(product))
    row = {"cause": f"drift:{names[0]}", "requested_by": "drift", "reason": f"drift in {' and '.join(names)}"}
    row |= {"state": "waiting"}
    with engine.begin() as connection:
        connection.execute(insert(retrain_requests).values(row | {"created_at": moment}))


def month(engine: Engine, product: Product, count: int = 3000, high: dict[str, float] | None = None) -> datetime:
    """Fill the store with all of it; the moment it was done for."""
    now = datetime.now(UTC)
    add_predictions(engine, product, count, now)
    add_actuals(engine, product, now, range(count - 200, count - 100))
    add_drift(engine, product, 24, now, high)
    for job in ("materialize", "drift"):
        add_job(engine, job, now - timedelta(minutes=12))
    add_verdict(engine, product, now - timedelta(minutes=3))
    add_request(engine, product, now - timedelta(minutes=9))
    return now
