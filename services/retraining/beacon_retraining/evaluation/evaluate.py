"""Evaluate: compare challenger and champion by the gate, on rows that neither was trained on.

A champion knows the rows that it was trained on: they prove nothing. These ways are fair (docs/explanation/verdict.md):

- backtest: rows that happened after the champion was made. It predicts them as it is; the challenger's recipe is
  refitted on what came before each block of them, never on what came after.
- given rows: neither model is refitted (given_rows.py, for a model that was brought).
- cross-validation, where there are too few such rows: both recipes are fitted on the same folds. Equal
  recipes then predict alike, which is inconclusive: there is nothing new to learn from yet. A champion that cannot be
  fitted anew predicts as it is, and only held-out rows that it was not trained on count.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np

from beacon_core.domain.policy import large_residual
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema, changes
from beacon_core.domain.segments import segment_masks
from beacon_core.domain.times import read_time
from beacon_core.domain.verdict import ComparedModel, GateCheck, Verdict
from beacon_core.model_package.manifest import Manifest, Package
from beacon_core.model_package.recipe import Recipe
from beacon_core.model_package.session import open_session
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, Levels, Times, as_seen_by
from beacon_retraining.evaluation.gate import (
    SCHEMA,
    GateInputs,
    GateLimits,
    ModelPredictions,
    PackageMeasurements,
    conclude,
    judge,
)
from beacon_retraining.evaluation.measurements import latency, measure_package, run_package
from beacon_retraining.packaging.conversion.parity import MOST_PARITY
from beacon_retraining.training.assess import SHARES
from beacon_retraining.training.crossval import FoldPredictions, hold_out, thinned
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.entry_point.code import TrainingCode, with_code
from beacon_retraining.training.recipes import can_refit
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.slices import Mask, find_slices
from beacon_retraining.training.splits import Index, Split, split_rows, splits_text
from beacon_retraining.training.train import ModelExport

BLOCKS = 5  # the first one is trained on and not evaluated
MISSING_SHARE = SHARES[0]
MOST_SLICES = 2
"""Slices found in each half of the rows: more of them need a larger rise to be told from chance."""
LEAST_SLICE = 0.02
BREAKING = "breaking schema change"


class EvaluationPlan(msgspec.Struct, frozen=True):
    """On which splits the models are compared; `champion_unchanged`: it predicts as it is, and is not refitted."""

    method: Literal["backtest", "cross-validation", "given rows"]
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
    *,
    exported: ModelExport | None = None,
    code: TrainingCode | None = None,
    known: Callable[[], Mask | None] = lambda: None,
) -> Verdict:
    """The gate's verdict on `challenger`, which must have been trained on `dataset`.

    `held_out` is what its training held out (assess.py): on the same folds that need not be done twice. `exported` is
    what its export measured: of many rows, that need not be done twice either. `code` is the product's training code;
    no code of a package runs. `known` finds the rows that the champion was trained on, None where nobody can tell: it
    is asked where the champion can neither be fitted anew nor backtested.
    Raises ValueError for a challenger of other data or other code, or without a recipe.
    """
    new = challenger.manifest
    if new.data.fingerprint != dataset.fingerprint:
        raise ValueError(f"version {new.version} was trained on data {new.data.fingerprint[:12]}, not on these")
    recipe = _recipe_of(new, code)
    breaking = "" if champion is None else breaking_changes(champion.manifest.schema, product.schema)
    opponent = None if breaking else champion
    obstacle = ""
    plan = plan_splits(product, dataset, opponent, training)
    if opponent is not None and not plan.champion_unchanged and (why := _why_not_refitted(dataset, opponent, code)):
        unseen = _unseen_plan(plan, known(), opponent.manifest.version)
        if unseen is not None and _count(unseen.splits) >= product.policy.promotion.min_rows:
            plan = unseen
        else:
            obstacle = f"its model {opponent.manifest.algorithm!r} {why}, and too few rows are new to it"
            opponent = None
    same = len(held_out) == len(plan.splits) and all(map(_holds_out, held_out, plan.splits))
    by_fold = list(held_out) if same else _hold_out(product, dataset, recipe, plan, training)
    rows = np.concatenate([fold.rows for fold in by_fold])
    new_predictions = _predictions(by_fold)
    old_predictions = (
        None
        if opponent is None
        else _champion_predictions(product, dataset, opponent, new, plan, new_predictions, rows, training, code)
    )
    open_checks = []
    if breaking:
        open_checks.append(breaking_check(breaking))
    if obstacle:
        open_checks.append(incomparable_check(champion, obstacle))
    return verdict_on(
        settings,
        product,
        dataset,
        plan,
        rows,
        challenger=(
            challenger,
            new_predictions,
            measure_package(product, dataset, challenger, recipe, training, exported),
        ),
        champion=champion,
        champion_predictions=old_predictions,
        open_checks=open_checks,
        parity=new.golden_tolerance if recipe.entry_point is None else MOST_PARITY * dataset.spread,
        seed=training.seed,
    )


def verdict_on(
    settings: Settings,
    product: Product,
    dataset: Dataset,
    plan: EvaluationPlan,
    rows: Index,
    *,
    challenger: tuple[Package, ModelPredictions, PackageMeasurements],
    champion: Package | None,
    champion_predictions: ModelPredictions | None,
    open_checks: Sequence[GateCheck],
    parity: float,
    seed: int,
) -> Verdict:
    """The verdict that follows from both models' predictions of `rows`; `parity` is the limit of that check.

    Without `champion_predictions` nothing is compared; `open_checks` say why.
    """
    package, new_predictions, measurements = challenger
    new = package.manifest
    # Bands of the prediction take the mean of both models'.
    band_values = (
        new_predictions.prediction
        if champion_predictions is None
        else (new_predictions.prediction + champion_predictions.prediction) / 2
    )
    inputs = GateInputs(
        target=dataset.target[rows],
        challenger=new_predictions,
        champion=champion_predictions,
        segments=segment_masks(product, dataset.features[rows], band_values),
        measurements=measurements,
        champion_latency_seconds=None if champion is None or champion_predictions is None else latency(champion),
        weights=None if dataset.weights is None else dataset.weights[rows],
        found=_worse_slices(product, dataset, rows, new_predictions, champion_predictions, seed),
        coverage=product.training.interval_coverage,
    )
    large = large_residual(product.policy.quality, new.expected_absolute_error)
    checks, slices = judge(inputs, GateLimits(product.policy.promotion, large, parity), seed)
    checks = (*open_checks, *checks)
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
        challenger=_contestant(package),
        champion=_contestant(champion) if champion else None,
        revision=settings.build_revision,
        moment=clock.now().isoformat(timespec="microseconds"),
    )


def breaking_check(breaking: str) -> GateCheck:
    """The check that stays open where a champion of another schema cannot answer the same rows."""
    return GateCheck(SCHEMA, f"{BREAKING}: {breaking}", "inconclusive", 0, "at least", 1)


def incomparable_check(champion: Package | None, obstacle: str) -> GateCheck:
    """The check that stays open where the two models cannot be compared, with the reason."""
    title = f"a comparison with version {champion.manifest.version if champion else ''}: {obstacle}"
    return GateCheck("comparable", title, "inconclusive", 0, "at least", 1)


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
                "predicts as it is, the challenger's recipe is fitted on the rows before each block"
            )
            return EvaluationPlan("backtest", how, tuple(splits), champion_unchanged=True)
    rows = np.arange(len(dataset.target))
    count = effort_of(len(rows), training).coverage_folds
    splits = split_rows(dataset, product, rows, count, training.seed)
    held_out = sum(len(test) for _, test in splits)
    how = f"{splits_text(product, count)}, {held_out} of {len(rows)} rows held out; both recipes are refitted"
    return EvaluationPlan("cross-validation", how, tuple(splits), champion_unchanged=False)


def _unseen_plan(plan: EvaluationPlan, known: Mask | None, version: str) -> EvaluationPlan | None:
    """The same folds, of which only rows that the champion was not trained on are predicted."""
    if known is None:
        return None
    parts = ((train, test[~known[test]]) for train, test in plan.splits)
    splits = tuple((train, test) for train, test in parts if len(test))
    how = (
        f"{_count(splits)} held-out rows that version {version} was not trained on, in {len(splits)} folds; the "
        "champion predicts as it is, the challenger's recipe is refitted"
    )
    return EvaluationPlan("cross-validation", how, splits, champion_unchanged=True)


def _count(splits: Sequence[Split]) -> int:
    return sum(len(test) for _, test in splits)


def _recipe_of(manifest: Manifest, code: TrainingCode | None) -> Recipe:
    """The recipe that the model is fitted anew by; raises ValueError where there is none, or not with this code."""
    if manifest.recipe is None:
        raise ValueError(f"version {manifest.version}: its package has no recipe to fit it anew by")
    recipe = with_code(manifest.recipe, code)
    if recipe is None:
        raise ValueError(f"version {manifest.version} was trained by other training code than the product has")
    return recipe


def _why_not_refitted(dataset: Dataset, package: Package, code: TrainingCode | None) -> str:
    """Why the package's model cannot be fitted anew; empty where it can."""
    recipe = package.manifest.recipe
    if recipe is None or not can_refit(recipe, dataset):
        return "cannot be refitted"
    if with_code(recipe, code) is None:
        return "was trained by code that the product no longer has (training.entry_point), and is not fitted anew"
    return ""


def breaking_changes(old: Schema, new: Schema) -> str:
    """The breaking changes from the champion's schema; empty where each model can answer for the same rows."""
    return "; ".join(f"{change.key} {change.text}" for change in changes(old, new) if change.kind == "breaking")


def _levels(manifest: Manifest) -> Levels:
    return {facts.name: facts.levels for facts in manifest.features if facts.levels is not None}


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
    product: Product, dataset: Dataset, recipe: Recipe, plan: EvaluationPlan, training: TrainSettings
) -> list[FoldPredictions]:
    return hold_out(
        dataset,
        product,
        recipe,
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
    code: TrainingCode | None,
) -> ModelPredictions:
    """The champion's, each row as inference would give it to that model."""
    old = champion.manifest
    if plan.champion_unchanged:
        return unchanged_predictions(product, dataset, champion, rows, training.seed)
    if old.recipe == new.recipe and old.schema.digest == new.schema.digest:
        return new_predictions
    seen = as_seen_by(product, dataset, old.schema, _levels(old))
    return _predictions(_hold_out(product, seen, _recipe_of(old, code), plan, training))


def unchanged_predictions(
    product: Product, dataset: Dataset, package: Package, rows: Index, seed: int
) -> ModelPredictions:
    """A package's predictions as it is, each row as inference would give it to that model."""
    manifest, session = package.manifest, open_session(package.model)
    seen = as_seen_by(product, dataset, manifest.schema, _levels(manifest))
    variants = seen.features[rows], thinned(MISSING_SHARE, seed)(seen.features, rows)
    (complete, spread), (with_gaps, _) = (
        run_package(package, session, variant, seen.seconds[rows]) for variant in variants
    )
    low, high = complete - manifest.interval.low * spread, complete + manifest.interval.high * spread
    return ModelPredictions(complete, low, high, with_gaps)


def _predictions(by_fold: list[FoldPredictions]) -> ModelPredictions:
    complete, with_gaps = np.concatenate([fold.predictions for fold in by_fold], axis=1)
    low, high = (np.concatenate(ends) for ends in zip(*((fold.low, fold.high) for fold in by_fold), strict=True))
    return ModelPredictions(complete, low, high, with_gaps)


def _worse_slices(
    product: Product, dataset: Dataset, rows: Index, new: ModelPredictions, old: ModelPredictions | None, seed: int
) -> dict[str, Mask]:
    """Where the challenger's error is above the champion's, found on one half of the rows: the rows of the other."""
    if old is None:
        return {}
    target = dataset.target[rows]
    rise = np.abs(target - new.prediction) - np.abs(target - old.prediction)
    least = max(product.policy.promotion.min_segment_rows, int(LEAST_SLICE * len(rows)))
    slices = find_slices(dataset, rows, rise, least=least, most=MOST_SLICES, seed=seed, both_ways=True)
    return {found.name: found.rows for found in slices}


def _contestant(package: Package) -> ComparedModel:
    manifest = package.manifest
    return ComparedModel(
        manifest.version, package.sha256, manifest.algorithm, manifest.data.fingerprint, manifest.created_at
    )


def _microseconds(text: str) -> np.datetime64:
    return np.datetime64(read_time(text).replace(tzinfo=None), "us")
