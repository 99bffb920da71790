"""Evaluate: bring challenger and champion before the gate, on rows that neither of them has seen.

A champion knows the rows that it was trained on, so those prove nothing. Two are fair (docs/explanation/verdict.md):

- backtest: rows that happened after the champion was made. It answers them as it is; the challenger's recipe is fitted
  anew on what came before each block of them, never on what came after.
- cross-validation, where there are too few such rows: both recipes are fitted anew on the same folds. Equal recipes
  then answer alike, which is inconclusive: there is nothing new to learn from yet.
"""

import time
from typing import Literal

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_core.domain.times import read_time
from beacon_core.domain.verdict import ComparedModel, GateCheck, Verdict
from beacon_core.model_package.manifest import Manifest, Package
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, Times
from beacon_retraining.evaluation.gate import Answers, Evidence, Facts, Rules, conclude, judge
from beacon_retraining.packaging import export
from beacon_retraining.training.assess import SHARES
from beacon_retraining.training.candidates import CANDIDATES, Candidate
from beacon_retraining.training.crossval import Index, Part, Split, folds, hold_out, thinned
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import fit

BLOCKS = 5  # the first one of them only teaches
MISSING_SHARE = SHARES[0]
ROUNDS, CALLS = 5, 200
BY_NAME = {candidate.name: candidate for candidate in CANDIDATES}


class Plan(msgspec.Struct, frozen=True):
    """On which splits the models are compared, and whether the champion answers `as_it_is` or is fitted anew."""

    method: Literal["backtest", "cross-validation"]
    how: str
    splits: tuple[Split, ...]
    as_it_is: bool


def evaluate(
    settings: Settings,
    product: Product,
    dataset: Dataset,
    challenger: Package,
    champion: Package | None,
    training: TrainSettings,
    held_out: tuple[Part, ...] = (),
) -> Verdict:
    """The gate's verdict on `challenger`, which must have been trained on `dataset`.

    `held_out` is what its training held out (assess.py): on the same folds that need not be done twice.
    Raises ValueError for a challenger of other data or of an unknown algorithm.
    """
    new = challenger.manifest
    if new.data.fingerprint != dataset.fingerprint:
        raise ValueError(f"version {new.version} was trained on data {new.data.fingerprint[:12]}, not on these")
    if new.algorithm not in BY_NAME:
        raise ValueError(f"version {new.version}: no candidate is called {new.algorithm!r}")
    obstacle = _obstacle(product, champion)
    opponent = None if obstacle else champion
    plan = plan_splits(product, dataset, opponent, training)
    if opponent is not None and not plan.as_it_is and not _can_be_fitted(opponent, dataset):
        obstacle = f"its recipe, {opponent.manifest.algorithm!r}, cannot be fitted anew, and too few rows are new to it"
        opponent = None
    same = len(held_out) == len(plan.splits) and all(map(_of_split, held_out, plan.splits))
    parts = list(held_out) if same else _hold_out(product, dataset, BY_NAME[new.algorithm], plan, training)
    rows = np.concatenate([part.rows for part in parts])
    own = _answers(parts)
    other = None if opponent is None else _of_champion(product, dataset, opponent, new, plan, own, rows, training)
    # Bands of the prediction take the mean of both models'.
    middle = own.prediction if other is None else (own.prediction + other.prediction) / 2
    evidence = Evidence(
        target=dataset.target[rows],
        challenger=own,
        champion=other,
        segments=segment_masks(product, dataset.features[rows], middle),
        facts=measure(product, dataset, challenger, training.seed),
        champion_latency_seconds=None if opponent is None else latency(opponent),
    )
    rules = Rules(product.policy.promotion, product.policy.quality.large_residual, new.golden_tolerance)
    checks, slices = judge(evidence, rules, training.seed)
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


def plan_splits(product: Product, dataset: Dataset, champion: Package | None, training: TrainSettings) -> Plan:
    """Which rows are fair to both."""
    if champion is not None and dataset.times is not None:
        splits = _forward(dataset.times, _moment(champion.manifest.created_at))
        count = sum(len(test) for _, test in splits)
        if count >= product.policy.promotion.min_rows:
            how = (
                f"{count} rows that came after the champion was made, in {len(splits)} blocks by time; the champion "
                "answers as it is, the new recipe is fitted on what came before each block"
            )
            return Plan("backtest", how, tuple(splits), as_it_is=True)
    rows = len(dataset.target)
    how = f"all {rows} rows, each held out once in {training.coverage_folds} folds; every recipe is fitted anew"
    return Plan("cross-validation", how, tuple(folds(rows, training.coverage_folds, training.seed)), as_it_is=False)


def measure(product: Product, dataset: Dataset, package: Package, seed: int) -> Facts:
    """Parity over all rows, latency, and the direction of the product's directed features.

    Parity is against the recipe fitted anew: it also shows that the package is what its recipe makes of these data.
    """
    manifest = package.manifest
    fill = np.array([feature.fill for feature in manifest.features])
    features = impute(dataset.features, fill)
    session = export.open_session(package.model)
    given = export.run(session, features).astype(np.float64)
    again = fit(BY_NAME[manifest.algorithm], features, dataset.target, seed).predict(features)
    steps = {}
    for name in product.policy.promotion.directions:
        column = product.feature_names.index(name)
        quantiles = manifest.features[column].quantiles
        moved = features.copy()
        moved[:, column] = np.minimum(moved[:, column] + quantiles[4] - quantiles[3], manifest.features[column].max)
        steps[name] = float((export.run(session, moved).astype(np.float64) - given).mean())
    return Facts(latency(package), float(np.abs(given - again).max()), steps)


def latency(package: Package) -> float:
    """Seconds of one-row calls: 99 % are faster, in the best of some rounds, as a busy machine only adds to it."""
    session = export.open_session(package.model)
    row = np.array([package.manifest.golden[0].row])
    taken = np.empty((ROUNDS, CALLS))
    for place in np.ndindex(taken.shape):
        start = time.perf_counter()
        export.run(session, row)
        taken[place] = time.perf_counter() - start
    return float(np.quantile(taken, 0.99, axis=1).min())


def _can_be_fitted(package: Package, dataset: Dataset) -> bool:
    candidate = BY_NAME.get(package.manifest.algorithm)
    return candidate is not None and candidate.suits(dataset)


def _obstacle(product: Product, champion: Package | None) -> str:
    if champion is not None and champion.manifest.schema_hash != product.schema_hash:
        return "it was made for another schema"
    return ""


def _forward(times: Times, made: np.datetime64) -> list[Split]:
    """Blocks of the rows after `made`, each with all rows before it; the first block is only learnt from."""
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


def _of_split(part: Part, split: Split) -> bool:
    return np.array_equal(part.rows, split[1])


def _hold_out(
    product: Product, dataset: Dataset, candidate: Candidate, plan: Plan, training: TrainSettings
) -> list[Part]:
    return hold_out(
        dataset,
        product,
        candidate,
        plan.splits,
        views=(thinned(MISSING_SHARE, training.seed),),
        inner_folds=training.coverage_folds,
        seed=training.seed,
        jobs=training.jobs,
        title="verdict",
    )


def _of_champion(
    product: Product,
    dataset: Dataset,
    champion: Package,
    new: Manifest,
    plan: Plan,
    own: Answers,
    rows: Index,
    training: TrainSettings,
) -> Answers:
    old = champion.manifest
    if plan.as_it_is:
        fill = np.array([feature.fill for feature in old.features])
        session = export.open_session(champion.model)
        sights = dataset.features[rows], thinned(MISSING_SHARE, training.seed)(dataset.features, rows)
        plain, gaps = (export.run(session, impute(sight, fill)).astype(np.float64) for sight in sights)
        return Answers(plain, plain - old.interval.low, plain + old.interval.high, gaps)
    if old.algorithm == new.algorithm:
        return own
    return _answers(_hold_out(product, dataset, BY_NAME[old.algorithm], plan, training))


def _answers(parts: list[Part]) -> Answers:
    plain, gaps = np.concatenate([part.predictions for part in parts], axis=1)
    low = np.concatenate([part.predictions[0] - part.widths.low for part in parts])
    high = np.concatenate([part.predictions[0] + part.widths.high for part in parts])
    return Answers(plain, low, high, gaps)


def _contestant(package: Package) -> ComparedModel:
    manifest = package.manifest
    return ComparedModel(
        manifest.version, package.sha256, manifest.algorithm, manifest.data.fingerprint, manifest.created_at
    )


def _moment(text: str) -> np.datetime64:
    return np.datetime64(read_time(text).replace(tzinfo=None), "us")
