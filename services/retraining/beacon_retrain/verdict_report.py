"""The verdict, readable: a table of every figure beside its limit, and a plot of the new errors against the old."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from beacon_retrain.verdict import Check, Verdict

STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "svg.hashsalt": "beacon",
}  # fmt: skip
COLOURS = {"pass": "#009e73", "inconclusive": "#e69f00", "fail": "#d55e00"}
RATIOS = ("mae", "rmse")


def table(verdict: Verdict) -> str:
    """Markdown."""
    old = verdict.champion
    against = f"version {old.version} ({old.algorithm})" if old else "no champion"
    new = verdict.challenger
    percent = f"{verdict.confidence:.0%}"
    lines = [
        f"# Verdict on {verdict.product} version {new.version}: {verdict.outcome}",
        "",
        f"{verdict.reason[:1].upper()}{verdict.reason[1:]}. Version {new.version} ({new.algorithm}) against {against}, "
        f"by {verdict.method}: {verdict.how}.",
        "",
        f"| check | outcome | figure | limit | {percent} interval | challenger | champion | note |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(check) for check in verdict.checks]
    if verdict.slices:
        lines += ["", "| segment | rows | MAE challenger | MAE champion | ratio | interval |", "| --- |" + " --- |" * 5]
        lines += [
            f"| {part.name} | {part.rows} | {part.challenger:.2f} | {part.champion:.2f} | {part.ratio:.3f} "
            f"| {part.low:.3f} to {part.high:.3f} |"
            for part in verdict.slices
        ]
    lines += ["", f"Data {verdict.data_fingerprint[:12]}, code {verdict.revision}, {verdict.moment}."]
    return "\n".join(lines) + "\n"


def plot(verdict: Verdict, file: Path) -> None:
    """Write ratios new / old with their intervals as SVG: of all rows and of each segment; below 1 is better."""
    points = [
        (check.title, check.number, check.low, check.high, check.outcome)
        for check in verdict.checks
        if check.name in RATIOS and check.low is not None and check.high is not None
    ]
    points += [
        (f"MAE, {part.name} ({part.rows} rows)", part.ratio, part.low, part.high, "pass" if part.low <= 1 else "fail")
        for part in verdict.slices
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.4 + 0.3 * len(points)), layout="constrained")
        axes = figure.subplots()
        for place, (_title, value, low, high, outcome) in enumerate(reversed(points)):
            axes.plot([low, high], [place, place], color=COLOURS[outcome], linewidth=2)
            axes.plot(value, place, "o", color=COLOURS[outcome])
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(points)), [point[0] for point in reversed(points)])
        axes.set_xlabel(
            "new / old: left of the line the challenger is better" if points else "no champion to compare with"
        )
        axes.set_title(f"Version {verdict.challenger.version}: {verdict.outcome}", loc="left")
        figure.savefig(file, format="svg", metadata={"Date": None})


def _row(check: Check) -> str:
    interval = "" if check.low is None or check.high is None else f"{check.low:.4g} to {check.high:.4g}"
    challenger, champion = ("" if value is None else f"{value:.4g}" for value in (check.challenger, check.champion))
    return (
        f"| {check.title} | {check.outcome} | {check.number:.4g} | {check.rule} {check.limit:g} | {interval} "
        f"| {challenger} | {champion} | {check.note} |"
    )
