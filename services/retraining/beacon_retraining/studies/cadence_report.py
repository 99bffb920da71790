"""The report of a cadence study: two tables and two plots."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from beacon_core.domain.product import Product
from beacon_retraining.studies.cadence import CadenceStudy, rolling

WINDOW_DAYS = 7
SHOWN = 6
"""Features drawn in the plot; the table has all."""
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "svg.hashsalt": "beacon", "legend.frameon": False,
}  # fmt: skip
COLOURS = ("#6b7280", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")


def tables(study: CadenceStudy, product: Product) -> str:
    """Markdown: each rule's error and retrainings, and each feature's use by the age of a never retrained model."""
    unit = product.target.unit
    worst = {run.rule.name: rolling(study.days, run.errors, WINDOW_DAYS)[1] for run in study.runs}
    never = study.runs[0].mae
    lines = [
        f"| retrained | MAE ({unit}) | of never | worst {WINDOW_DAYS} days | retrainings | on days |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {run.rule.name} | {run.mae:.3g} | {run.mae / never:.0%} "
        f"| {np.nanmax(worst[run.rule.name]):.3g} | {len(run.retrained)} | {_days(run.retrained)} |"
        for run in study.runs
    ]
    ages = [f"{number * study.period_days} to {(number + 1) * study.period_days}" for number in _periods(study)]
    lines += ["", f"| feature | {' | '.join(f'{age} days' for age in ages)} |", f"|{' --- |' * (len(ages) + 1)}"]
    lines += [
        f"| {study.features[column]} | {' | '.join(f'{value:.3g}' for value in study.usefulness[:, column])} |"
        for column in _by_use(study)
    ]
    return "\n".join(lines) + "\n"


def draw(study: CadenceStudy, product: Product, folder: Path) -> tuple[Path, Path]:
    """Write the rolling error of each rule, and the use of the features, as SVG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        return _draw_errors(study, product, folder), _draw_use(study, product, folder)


def _draw_errors(study: CadenceStudy, product: Product, folder: Path) -> Path:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for run, colour in zip(study.runs, COLOURS, strict=False):
        days, errors = rolling(study.days, run.errors, WINDOW_DAYS)
        axes.plot(days, errors, color=colour, linewidth=1.6, label=f"{run.rule.name}: {run.mae:.3g}")
    on_drift = next(run for run in study.runs if run.rule.on_drift)
    axes.plot(on_drift.retrained, [axes.get_ylim()[0]] * len(on_drift.retrained), "^", color=COLOURS[4], clip_on=False)
    axes.set(
        xlabel="days of the study (triangles: retrained on drift)",
        ylabel=f"MAE, last {WINDOW_DAYS} days ({product.target.unit})",
    )
    axes.legend(title="retrained: MAE of all days", loc="upper left")
    return _save(figure, folder / "cadence.svg")


def _draw_use(study: CadenceStudy, product: Product, folder: Path) -> Path:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    ages = (np.array(list(_periods(study))) + 0.5) * study.period_days
    for column, colour in zip(_by_use(study)[:SHOWN], COLOURS, strict=False):
        axes.plot(ages, study.usefulness[:, column], "o-", color=colour, linewidth=1.6, label=study.features[column])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="age of the model (days)", ylabel=f"rise of the MAE when shuffled ({product.target.unit})")
    axes.legend(ncols=3)
    return _save(figure, folder / "usefulness.svg")


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, metadata={"Date": None})
    return file


def _by_use(study: CadenceStudy) -> list[int]:
    """The features' columns, the most useful to the young model first."""
    return [int(column) for column in np.argsort(-study.usefulness[0])]


def _periods(study: CadenceStudy) -> range:
    return range(len(study.usefulness))


def _days(days: tuple[int, ...]) -> str:
    shown = ", ".join(str(day) for day in days[:8])
    return (shown + (", ..." if len(days) > 8 else "")) or "-"
