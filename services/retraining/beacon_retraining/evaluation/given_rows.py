"""Given rows: a model that was brought against the champion, both as they are, on labelled rows that came with it.

Neither is refitted: the one cannot be, and the other need not be. Rows that the champion was trained on prove nothing,
and are left out where it is known which they are.
"""

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_core.domain.verdict import Verdict
from beacon_core.model_package.manifest import Package
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.evaluation.evaluate import (
    EvaluationPlan,
    breaking_changes,
    breaking_check,
    incomparable_check,
    unchanged_predictions,
    verdict_on,
)
from beacon_retraining.evaluation.gate import Mask, ModelPredictions, PackageMeasurements
from beacon_retraining.evaluation.measurements import latency, steps_of
from beacon_retraining.training.splits import Index


class GivenRows(msgspec.Struct, frozen=True):
    """The rows, and what was measured of the challenger on them.

    `low` and `high` (rows) are its interval's ends where each row set no width; `known` (rows) are rows that the
    champion was trained on, None where nobody can tell. `parity` is the largest difference from the original model,
    in the target's unit, and `most_parity` its limit.
    """

    dataset: Dataset
    low: Matrix
    high: Matrix
    known: Mask | None
    parity: float
    most_parity: float


def evaluate_given(
    settings: Settings, product: Product, given: GivenRows, challenger: Package, champion: Package | None, seed: int
) -> Verdict:
    """The gate's verdict on a challenger that was not trained on the given rows."""
    dataset = given.dataset
    breaking = "" if champion is None else breaking_changes(champion.manifest.schema, product.schema)
    opponent = None if breaking else champion
    known = np.zeros(len(dataset.target), bool) if given.known is None else given.known
    rows, open_checks = np.flatnonzero(~known), []
    if breaking:
        open_checks.append(breaking_check(breaking))
    elif champion is not None and not len(rows):
        obstacle = "it was trained on all of the given rows: bring rows that are newer than it"
        open_checks.append(incomparable_check(champion, obstacle))
    if opponent is None or not len(rows):
        rows, opponent = np.arange(len(dataset.target)), None
    found = unchanged_predictions(product, dataset, challenger, rows, seed)
    measurements = PackageMeasurements(latency(challenger), given.parity, steps_of(product, dataset, challenger))
    return verdict_on(
        settings,
        product,
        dataset,
        EvaluationPlan("given rows", _how(given, rows, opponent), (), champion_unchanged=True),
        rows,
        challenger=(
            challenger,
            ModelPredictions(found.prediction, given.low[rows], given.high[rows], found.missing),
            measurements,
        ),
        champion=champion,
        champion_predictions=None
        if opponent is None
        else unchanged_predictions(product, dataset, opponent, rows, seed),
        open_checks=open_checks,
        parity=given.most_parity,
        seed=seed,
    )


def _how(given: GivenRows, rows: Index, opponent: Package | None) -> str:
    text = f"{len(rows)} given rows, which the challenger has not seen, as its owner says; no model is refitted"
    if opponent is None:
        return text
    if given.known is None:
        return f"{text}; whether the champion was trained on some of them is not known"
    left_out = int(given.known.sum())
    return f"{text}; {left_out} more were left out, since the champion was trained on them" if left_out else text
