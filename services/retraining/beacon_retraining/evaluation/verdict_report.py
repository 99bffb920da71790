"""The report of a verdict: a table of every figure beside its limit, and a plot of the new errors against the old."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from beacon_core.domain.verdict import GateCheck, Outcome, SegmentComparison, Verdict

STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "svg.hashsalt": "beacon",
}  # fmt: skip
COLOURS = {"pass": "#009e73", "inconclusive": "#e69f00", "fail": "#d55e00"}
RATIOS = ("mae", "rmse")
SIGNS = {"at most": "≤", "below": "<", "at least": "≥"}


class Point(NamedTuple):
    """A ratio in the plot, its interval, and the outcome that gives its colour."""

    title: str
    value: float
    low: float
    high: float
    outcome: Outcome


def table(verdict: Verdict) -> str:
    """The verdict as Markdown: a table of checks, and one of segments."""
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
            f"| {part.name} | {part.rows} | {part.challenger:.4g} | {part.champion:.4g} | {part.ratio:.3f} "
            f"| {part.low:.3f} to {part.high:.3f} |"
            for part in verdict.slices
        ]
    lines += ["", f"Data {verdict.data_fingerprint[:12]}, code {verdict.revision}, {verdict.moment}."]
    return "\n".join(lines) + "\n"


def plot(verdict: Verdict, file: Path) -> None:
    """Write ratios with their intervals as SVG: errors new / old, or figures / limits where nothing was compared."""
    points, meaning = _errors(verdict), "new / old: left of the line the challenger is better"
    if not points:
        points = _figures(verdict)
        meaning = "figure / limit"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.4 + 0.3 * len(points)), layout="constrained")
        axes = figure.subplots()
        for place, point in enumerate(reversed(points)):
            axes.plot([point.low, point.high], [place, place], color=COLOURS[point.outcome], linewidth=2)
            axes.plot(point.value, place, "o", color=COLOURS[point.outcome])
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(points)), [point.title for point in reversed(points)])
        axes.set_xlabel(meaning)
        axes.set_title(f"Version {verdict.challenger.version}: {verdict.outcome}", loc="left")
        figure.savefig(file, format="svg", metadata={"Date": None})


def _errors(verdict: Verdict) -> list[Point]:
    """The errors new / old, of all rows and of each segment."""
    points = [
        Point(check.title, check.number, check.low, check.high, check.outcome)
        for check in verdict.checks
        if check.name in RATIOS and check.low is not None and check.high is not None
    ]
    return points + [
        Point(f"MAE, {part.name} ({part.rows} rows)", part.ratio, part.low, part.high, _of_slice(part))
        for part in verdict.slices
    ]


def _of_slice(part: SegmentComparison) -> Outcome:
    return "pass" if part.low <= 1 else "fail"


def _figures(verdict: Verdict) -> list[Point]:
    """Every figure / its limit; a limit of zero has no ratio."""
    return [
        Point(
            f"{check.title}: {check.number:.3g} {SIGNS[check.rule]} {check.limit:g}",
            check.number / check.limit,
            (check.number if check.low is None else check.low) / check.limit,
            (check.number if check.high is None else check.high) / check.limit,
            check.outcome,
        )
        for check in verdict.checks
        if check.limit
    ]


def _row(check: GateCheck) -> str:
    interval = "" if check.low is None or check.high is None else f"{check.low:.4g} to {check.high:.4g}"
    challenger, champion = ("" if value is None else f"{value:.4g}" for value in (check.challenger, check.champion))
    return (
        f"| {check.title} | {check.outcome} | {check.number:.4g} | {check.rule} {check.limit:g} | {interval} "
        f"| {challenger} | {champion} | {check.note} |"
    )
