"""The model card's words on intervals, segments and slices: what they cover, and where the model is worst."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_core.model_package.manifest import Manifest
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.packaging.figures import figure
from beacon_retraining.training.crossval import FoldPredictions
from beacon_retraining.training.slices import find_slices
from beacon_retraining.training.spread import Kind
from beacon_retraining.training.train import TrainedModel

Z = 1.96
"""A 95 % interval, in standard errors."""
LEAST_ROWS, LEAST_SHARE = 25, 0.02
"""Rows of a slice in each half, at least."""
WORDS: dict[Kind, str] = {
    "constant": "the same for every row",
    "prediction": "the prediction itself, so that it is as wide as the prediction is high",
    "trees": "what small trees of the features say of the error",
    "prediction and trees": "the prediction, times what small trees of the features say of the relative error",
}
MISSED = "On average over all rows; where errors are larger, more targets miss it."
NOTHING_WORSE = "A small tree of the absolute errors found no slice that errs more than the rest."
HEAD = "| segment | rows | MAE | mean error | in the interval | mean width |\n| --- | --- | --- | --- | --- | --- |"


class HeldOutRows(NamedTuple):
    """Held-out rows, each column (rows,): target less prediction, whether the interval holds it, its width, weights."""

    error: Matrix
    inside: NDArray[np.bool_]
    width: Matrix
    weights: Matrix

    def mean(self, values: Matrix, mask: NDArray[np.bool_]) -> float:
        """The weighted mean over some rows."""
        return float(np.average(values[mask], weights=self.weights[mask]))


def interval_text(trained: TrainedModel, manifest: Manifest) -> str:
    """How wide the interval is, how it was made, and why it follows the row or does not."""
    interval, found = manifest.interval, trained.interval
    unit = manifest.schema.target.unit
    ends = f"prediction - {figure(interval.low)} to prediction + {figure(interval.high)}{f' ({unit})' if unit else ''}"
    kept = found.spread.is_constant
    lines = [
        f"From {ends}, {WORDS['constant']}."
        if kept
        else f"From {ends} in a row of mean spread, and as much wider or narrower as its spread is larger or smaller.",
        f"Method: {interval.method}.",
        f"It promises {interval.coverage:.0%}; measured {interval.measured_coverage:.1%}, on rows that set neither the "
        "model nor the interval (nested cross-validation).",
    ]
    if not kept:
        lines.insert(1, f"The spread is {WORDS[found.spread.kind]}.")
    even = found.scores["constant"]
    others = [f"{kind} {score / even:.1%}" for kind, score in found.scores.items() if even and kind != "constant"]
    if others:
        lines.append(
            f"By Winkler's score (narrow, and with few targets outside; less is better) of one width for all rows, on "
            f"rows that no fit of the spread saw: {', '.join(others)}."
        )
    return "\n".join([*lines, MISSED] if kept else lines)


def slices_text(product: Product, dataset: Dataset, parts: Sequence[FoldPredictions]) -> str:
    """Error, bias and coverage of all held-out rows, of each segment, and of the worst slice."""
    numbers = np.concatenate([part.rows for part in parts])
    predictions = np.concatenate([part.predictions[0] for part in parts])
    target = dataset.target[numbers]
    rows = HeldOutRows(
        target - predictions,
        np.concatenate([part.covered(dataset.target[part.rows]) for part in parts]),
        np.concatenate([part.high - part.low for part in parts]),
        dataset.row_weights[numbers],
    )
    everything = np.ones(len(numbers), dtype=bool)
    masks = {"all": everything} | segment_masks(product, dataset.features[numbers], predictions)
    table = [_row(name, rows, mask) for name, mask in masks.items() if rows.weights[mask].any()]
    least = max(LEAST_ROWS, int(LEAST_SHARE * len(numbers)))
    worst = find_slices(dataset, numbers, np.abs(rows.error), least=least, most=1, seed=0)
    unit = dataset.schema.target.unit
    in_unit = f", in {unit}" if unit else ""
    told = _worst(worst[0].name, worst[0].rows, rows) if worst else [NOTHING_WORSE]
    head = f"Over rows that were held out (cross-validation){in_unit}. The mean error is actual less prediction."
    return "\n".join([head, "", HEAD, *table, "", *told])


def _row(name: str, rows: HeldOutRows, mask: NDArray[np.bool_]) -> str:
    mae, bias = rows.mean(np.abs(rows.error), mask), rows.mean(rows.error, mask)
    inside, width = rows.mean(rows.inside.astype(np.float64), mask), rows.mean(rows.width, mask)
    safe = name.replace("|", "\\|")
    return f"| {safe} | {int(mask.sum())} | {figure(mae)} | {figure(bias)} | {inside:.1%} | {figure(width)} |"


def _worst(name: str, mask: NDArray[np.bool_], rows: HeldOutRows) -> Iterator[str]:
    """What holds of the worst slice on the rows that did not find it."""
    error = np.abs(rows.error)
    own, every = rows.mean(error, mask), rows.mean(error, np.ones(len(error), dtype=bool))
    half = Z * float(error[mask].std()) / np.sqrt(mask.sum())
    yield f"The worst slice that a small tree of the absolute errors found: **{name}**."
    inside = rows.mean(rows.inside.astype(np.float64), mask)
    yield (
        f"On {int(mask.sum())} rows that did not find it, its MAE is {figure(own)} +- {figure(half)}, "
        f"{own / every:.2f} times that of all rows; the mean error is {figure(rows.mean(rows.error, mask))}, "
        f"and the interval holds {inside:.1%}."
    )
    if own - half <= every:
        yield "That is within what chance explains."
