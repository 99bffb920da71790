"""Evaluate: compare challenger and champion by the gate, on rows that neither was trained on.

A champion knows the rows that it was trained on: they prove nothing. Two ways are fair (docs/explanation/verdict.md):

- backtest: rows that happened after the champion was made. It predicts them as it is; the challenger's model spec is
  refitted on what came before each block of them, never on what came after.
- cross-validation, where there are too few such rows: both model specs are refitted on the same folds. Equal
  specs then predict alike, which is inconclusive: there is nothing new to learn from yet.
"""

import time
from typing import Literal

import msgspec
import numpy as np
from onnxruntime import InferenceSession

from beacon_core.domain.policy import large_residual
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema, changes
from beacon_core.domain.segments import segment_masks
from beacon_core.domain.times import read_time
from beacon_core.domain.verdict import ComparedModel, GateCheck, Verdict
from beacon_core.model_package.manifest import Manifest, Package
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, Levels, Matrix, Times, as_seen_by
from beacon_retraining.evaluation.gate import (
    SCHEMA,
    GateInputs,
    GateLimits,
    ModelPredictions,
    PackageMeasurements,
    conclude,
    judge,
)
from beacon_retraining.packaging import export
from beacon_retraining.training.assess import SHARES
from beacon_retraining.training.crossval import FoldPredictions, hold_out, thinned
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.model_specs import MODEL_SPECS, ModelSpec
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.splits import Index, Split, split_rows, splits_text

BLOCKS = 5  # the first one is trained on and not evaluated
MISSING_SHARE = SHARES[0]
ROUNDS, CALLS = 5, 200
BREAKING = "breaking schema change"
BY_NAME = {spec.name: spec for spec in MODEL_SPECS}


class EvaluationPlan(msgspec.Struct, frozen=True):
    """On which splits the models are compared; `champion_unchanged`: it predicts as it is, and is not refitted."""

    method: Literal["backtest", "cross-validation"]
    how: str
    splits: tuple[Split, ...]
    champion_unchanged: bool


def evaluate(
    settings: Settings,
    product: Product,
    dataset: Dataset,
    challenger: Package,
    champion: Package | None,
    training: TrainSettings,
    held_out: tuple[FoldPredictions, ...] = (),
) -> Verdict:
    """The gate's verdict on `challenger`, which must have been trained on `dataset`.

    `held_out` is what its training held out (assess.py): on the same folds that need not be done twice.
    Raises ValueError for a challenger of other data or of an unknown algorithm.
    """
    new = challenger.manifest
    if new.data.fingerprint != dataset.fingerprint:
        raise ValueError(f"version {new.version} was trained on data {new.data.fingerprint[:12]}, not on these")
    if new.algorithm not in BY_NAME:
        raise ValueError(f"version {new.version}: no model spec is called {new.algorithm!r}")
    breaking = "" if champion is None else _breaking(champion.manifest.schema, product.schema)
    opponent = None if breaking else champion
    obstacle = ""
    plan = plan_splits(product, dataset, opponent, training)
    if opponent is not None and not plan.champion_unchanged and not _can_be_fitted(opponent, dataset):
        obstacle = f"its spec {opponent.manifest.algorithm!r} cannot be refitted, and too few rows are new to it"
        opponent = None
    same = len(held_out) == len(plan.splits) and all(map(_holds_out, held_out, plan.splits))
    by_fold = list(held_out) if same else _hold_out(product, dataset, BY_NAME[new.algorithm], plan, training)
    rows = np.concatenate([fold.rows for fold in by_fold])
    new_predictions = _predictions(by_fold)
    old_predictions = (
        None
        if opponent is None
        else _champion_predictions(product, dataset, opponent, new, plan, new_predictions, rows, training)
    )
    # Bands of the prediction take the mean of both models'.
    band_values = (
        new_predictions.prediction
        if old_predictions is None
        else (new_predictions.prediction + old_predictions.prediction) / 2
    )
    inputs = GateInputs(
        target=dataset.target[rows],
        challenger=new_predictions,
        champion=old_predictions,
        segments=segment_masks(product, dataset.features[rows], band_values),
        measurements=measure_package(product, dataset, challenger, training.seed),
        champion_latency_seconds=None if opponent is None else latency(opponent),
        weights=None if dataset.weights is None else dataset.weights[rows],
    )
    large = large_residual(product.policy.quality, new.expected_absolute_error)
    limits = GateLimits(product.policy.promotion, large, new.golden_tolerance)
    checks, slices = judge(inputs, limits, training.seed)
    if breaking:
        checks = (GateCheck(SCHEMA, f"{BREAKING}: {breaking}", "inconclusive", 0, "at least", 1), *checks)
    if obstacle:
        title = f"a comparison with version {champion.manifest.version if champion else ''}: {obstacle}"
        checks = (GateCheck("comparable", title, "inconclusive", 0, "at least", 1), *checks)
    outcome, reason = conclude(checks, first=champion is None)
    return Verdict(
        product=product.name,
        outcome=outcome,
        reason=reason,
        checks=checks,
        slices=slices,
        method=plan.method,
        how=plan.how,
        rows=len(rows),
        confidence=product.policy.promotion.confidence,
        data_fingerprint=dataset.fingerprint,
        challenger=_contestant(challenger),
        champion=_contestant(champion) if champion else None,
        revision=settings.build_revision,
        moment=clock.now().isoformat(timespec="microseconds"),
    )


def plan_splits(
    product: Product, dataset: Dataset, champion: Package | None, training: TrainSettings
) -> EvaluationPlan:
    """The rows, and their splits, that are fair to both models."""
    if champion is not None and dataset.times is not None:
        splits = _backtest_splits(dataset.times, _microseconds(champion.manifest.created_at))
        count = sum(len(test) for _, test in splits)
        if count >= product.policy.promotion.min_rows:
            how = (
                f"{count} rows that came after the champion was made, in {len(splits)} blocks by time; the champion "
                "predicts as it is, the challenger's model spec is fitted on the rows before each block"
            )
            return EvaluationPlan("backtest", how, tuple(splits), champion_unchanged=True)
    rows = np.arange(len(dataset.target))
    count = effort_of(len(rows), training).coverage_folds
    splits = split_rows(dataset, product, rows, count, training.seed)
    held_out = sum(len(test) for _, test in splits)
    how = f"{splits_text(product, count)}, {held_out} of {len(rows)} rows held out; every model spec is refitted"
    return EvaluationPlan("cross-validation", how, tuple(splits), champion_unchanged=False)


def measure_package(product: Product, dataset: Dataset, package: Package, seed: int) -> PackageMeasurements:
    """Measure parity over all rows, latency in seconds, and the steps of the features that have a direction.

    Parity is against the model spec refitted: it also shows that the package is what the spec makes of these data.
    """
    manifest = package.manifest
    session = export.open_session(package.model)
    exported = _run(package, session, dataset.features, dataset.seconds)
    refitted = fit(BY_NAME[manifest.algorithm], dataset, seed).predict(dataset.features, dataset.seconds)
    names = dataset.schema.feature_names
    steps = {}
    for name in product.policy.promotion.directions:
        column = names.index(name)
        facts = manifest.features[column]
        moved = dataset.features.copy()
        moved[:, column] = np.where(np.isnan(moved[:, column]), facts.fill, moved[:, column])
        moved[:, column] = np.minimum(moved[:, column] + facts.quantiles[4] - facts.quantiles[3], facts.max)
        steps[name] = float((_run(package, session, moved, dataset.seconds) - exported).mean())
    return PackageMeasurements(latency(package), float(np.abs(exported - refitted).max()), steps)


def latency(package: Package) -> float:
    """The p99 of one-row calls, in seconds of the calling thread: the best of some rounds.

    The session runs on that thread alone, so this is what the model takes; time that other work on the machine has the
    core for is none of the model's.
    """
    session = export.open_session(package.model)
    manifest = package.manifest
    fill, now = np.array([facts.fill for facts in manifest.features]), np.zeros(1)
    row = model_columns(np.array([manifest.golden[0].row]), fill, manifest.schema, now)
    seconds = np.empty((ROUNDS, CALLS))
    for round_and_call in np.ndindex(seconds.shape):
        start = time.thread_time()
        export.run(session, row)
        seconds[round_and_call] = time.thread_time() - start
    return float(np.quantile(seconds, 0.99, axis=1).min())


def _can_be_fitted(package: Package, dataset: Dataset) -> bool:
    spec = BY_NAME.get(package.manifest.algorithm)
    return spec is not None and spec.is_applicable(dataset)


def _breaking(old: Schema, new: Schema) -> str:
    """The breaking changes from the champion's schema; empty where each model can answer for the same rows."""
    return "; ".join(f"{change.key} {change.text}" for change in changes(old, new) if change.kind == "breaking")


def _levels(manifest: Manifest) -> Levels:
    return {facts.name: facts.levels for facts in manifest.features if facts.levels is not None}


def _run(package: Package, session: InferenceSession, features: Matrix, seconds: Matrix) -> Matrix:
    """A package's predictions of rows of its own features, shape (rows,)."""
    manifest = package.manifest
    fill = np.array([facts.fill for facts in manifest.features])
    return export.run_all(session, model_columns(features, fill, manifest.schema, seconds))


def _backtest_splits(times: Times, made: np.datetime64) -> list[Split]:
    """Blocks of the rows after `made`, each with all rows before it; the first block is only trained on."""
    unseen = np.sort(times[times > made])
    if len(unseen) < BLOCKS:
        return []
    starts = np.unique(unseen[[len(unseen) * number // BLOCKS for number in range(1, BLOCKS)]])
    ends = np.append(starts[1:], unseen[-1] + np.timedelta64(1, "us"))
    return [
        (np.flatnonzero(times < start), np.flatnonzero((times >= start) & (times < end)))
        for start, end in zip(starts, ends, strict=True)
        if start > unseen[0]
    ]


def _holds_out(fold: FoldPredictions, split: Split) -> bool:
    return np.array_equal(fold.rows, split[1])


def _hold_out(
    product: Product, dataset: Dataset, spec: ModelSpec, plan: EvaluationPlan, training: TrainSettings
) -> list[FoldPredictions]:
    return hold_out(
        dataset,
        product,
        spec,
        plan.splits,
        views=(thinned(MISSING_SHARE, training.seed),),
        inner_folds=effort_of(len(dataset.target), training).inner_folds,
        seed=training.seed,
        jobs=training.jobs,
        title="verdict",
    )


def _champion_predictions(
    product: Product,
    dataset: Dataset,
    champion: Package,
    new: Manifest,
    plan: EvaluationPlan,
    new_predictions: ModelPredictions,
    rows: Index,
    training: TrainSettings,
) -> ModelPredictions:
    """The champion's, each row as inference would give it to that model."""
    old = champion.manifest
    seen = as_seen_by(product, dataset, old.schema, _levels(old))
    if plan.champion_unchanged:
        session = export.open_session(champion.model)
        variants = seen.features[rows], thinned(MISSING_SHARE, training.seed)(seen.features, rows)
        complete, with_gaps = (_run(champion, session, variant, seen.seconds[rows]) for variant in variants)
        return ModelPredictions(complete, complete - old.interval.low, complete + old.interval.high, with_gaps)
    if old.algorithm == new.algorithm and old.schema.digest == new.schema.digest:
        return new_predictions
    return _predictions(_hold_out(product, seen, BY_NAME[old.algorithm], plan, training))


def _predictions(by_fold: list[FoldPredictions]) -> ModelPredictions:
    complete, with_gaps = np.concatenate([fold.predictions for fold in by_fold], axis=1)
    low = np.concatenate([fold.predictions[0] - fold.widths.low for fold in by_fold])
    high = np.concatenate([fold.predictions[0] + fold.widths.high for fold in by_fold])
    return ModelPredictions(complete, low, high, with_gaps)


def _contestant(package: Package) -> ComparedModel:
    manifest = package.manifest
    return ComparedModel(
        manifest.version, package.sha256, manifest.algorithm, manifest.data.fingerprint, manifest.created_at
    )


def _microseconds(text: str) -> np.datetime64:
    return np.datetime64(read_time(text).replace(tzinfo=None), "us")
