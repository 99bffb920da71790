"""Intervals on fresh rows: coverage of all and of segments, width and score, beside intervals of one width.

Every row is predicted and given its interval by a model and a spread that were fitted and calibrated on other rows, as
the pipeline's own assessment does it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from any_table.proposed import propose
from any_table.tables import Table
from retraining.base import base_dataset

from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.interval import interval_scores
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.slices import Mask
from beacon_retraining.training.train import TrainedModel, train
from intervals.tables import own_tables

SEGMENT_ROWS = 200
THIRDS = (1 / 3, 2 / 3)
PAGE = ROOT / "docs" / "reference" / "interval-study.md"
START, END = "<!-- figures: written by `make interval-study` -->", "<!-- end of the figures -->"
HEAD = (
    "| table | rows | model | spread | coverage | with one width | worst segment | with one width "
    "| mean width / one width | score / one width |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


class Held(NamedTuple):
    """Fresh rows of a table: numbers, targets, predictions and both kinds of intervals, each (rows,)."""

    rows: Matrix
    target: Matrix
    prediction: Matrix
    low: Matrix
    high: Matrix
    even_low: Matrix
    even_high: Matrix


def main() -> None:
    """Measure the tables and write the page's figures."""
    parser = argparse.ArgumentParser(prog="make interval-study", description=__doc__)
    parser.add_argument("--file", type=Path, action="append", default=[], help="a table as CSV, as often as you like")
    parser.add_argument("--target", action="append", default=[], help="the column to predict, for each file")
    parser.add_argument("--time", action="append", default=[], help="the column of times, for each file; - for none")
    parser.add_argument("--only-files", action="store_true", help="no tables of the study's own; writes no page")
    given = parser.parse_args()
    if len(given.file) != len(given.target) or len(given.time) not in {0, len(given.file)}:
        parser.error("--file, --target and --time: one each for every table")
    times = ["" if own == "-" else own for own in given.time] or [""] * len(given.file)
    mine = [Table(file.stem, file.resolve(), *rest) for file, *rest in _of_each(given.file, given.target, times)]
    lines = [HEAD]
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="beacon-intervals-") as folder:
        for name, product in _products(mine, Path(folder), only_files=given.only_files):
            lines.append(_line(name, product))
            print(lines[-1], flush=True)
    if not given.only_files:
        _write(lines)


def _of_each(files: list[Path], targets: list[str], times: list[str]) -> list[tuple[Path, str, str, str]]:
    return [(file, target, "", moment) for file, target, moment in zip(files, targets, times, strict=True)]


def _products(mine: list[Table], folder: Path, *, only_files: bool) -> Iterator[tuple[str, Product]]:
    """The products of the checkout and those that `beacon new` proposes for tables."""
    if not only_files:
        for file in sorted([ROOT / "feature_repo" / "product.yaml", *(ROOT / "products").glob("*/product.yaml")]):
            product = load_product(file)
            yield product.name, product
    (folder / "tables").mkdir()
    own = [] if only_files else list(own_tables(folder / "tables"))
    for number, table in enumerate([*own, *mine]):
        yield table.name, propose(table._replace(name=f"table-{number}"), folder)


def _line(name: str, product: Product) -> str:
    """A row of the table of figures."""
    began = time.perf_counter()
    dataset = base_dataset(product)
    settings = TrainSettings(folds=5, repeats=1, jobs=os.cpu_count() or 1)
    trained = train(dataset, product, settings)
    held, coverage = _held(dataset, trained), product.training.interval_coverage
    weights = dataset.row_weights[held.rows.astype(int)]
    inside = (held.low <= held.target) & (held.target <= held.high)
    even = (held.even_low <= held.target) & (held.target <= held.even_high)
    kinds = sorted({part.kind for part in trained.assessment.held_out})
    masks = _segments(product, dataset, held)
    worst, even_worst = (_worst(found, masks, weights, coverage) for found in (inside, even))
    score = np.average(interval_scores(held.target, held.low, held.high, coverage), weights=weights)
    even_score = np.average(interval_scores(held.target, held.even_low, held.even_high, coverage), weights=weights)
    width = np.average(held.high - held.low, weights=weights)
    even_width = np.average(held.even_high - held.even_low, weights=weights)
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return (
        f"| {name} | {len(held.target)} | {trained.algorithm} | {', '.join(kinds)} "
        f"| {np.average(inside, weights=weights):.1%} | {np.average(even, weights=weights):.1%} "
        f"| {worst} | {even_worst} | {width / even_width:.2f} | {score / even_score:.2f} |"
    )


def _held(dataset: Dataset, trained: TrainedModel) -> Held:
    parts = trained.assessment.held_out
    columns = [
        (
            part.rows,
            dataset.target[part.rows],
            part.predictions[0],
            part.low,
            part.high,
            part.predictions[0] - part.even.low,
            part.predictions[0] + part.even.high,
        )
        for part in parts
    ]
    return Held(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _segments(product: Product, dataset: Dataset, held: Held) -> dict[str, Mask]:
    """The product's segments, thirds of the prediction and of every measurement, with enough rows."""
    features = dataset.features[held.rows.astype(int)]
    masks = dict(segment_masks(product, features, held.prediction))
    measured = {
        feature.name: features[:, place] for place, feature in enumerate(dataset.schema.features) if feature.is_measured
    }
    for name, values in {"prediction": held.prediction, **measured}.items():
        low, high = np.nanquantile(values, THIRDS)
        masks |= {
            f"low {name}": values <= low,
            f"middle {name}": (values > low) & (values <= high),
            f"high {name}": values > high,
        }
    return {name: mask for name, mask in masks.items() if mask.sum() >= SEGMENT_ROWS}


def _worst(inside: Mask, masks: dict[str, Mask], weights: Matrix, coverage: float) -> str:
    """The segment whose coverage is farthest from the promised one."""
    if not masks:
        return "none"
    found = {name: float(np.average(inside[mask], weights=weights[mask])) for name, mask in masks.items()}
    worst = max(found, key=lambda name: abs(found[name] - coverage))
    return f"{found[worst]:.1%} ({worst.replace('|', ' ')}; {len(masks)} segments)"


def _write(lines: list[str]) -> None:
    """Put the figures between the page's marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    moment = f"Figures of {datetime.now(UTC):%Y-%m-%d}."
    PAGE.write_text("\n".join([before + START, "", moment, "", *lines, "", END]) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
