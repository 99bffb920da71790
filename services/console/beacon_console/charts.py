"""Pictures as inline SVG: no script, no request, colours from the page's own style sheet.

A chart stretches to its column, so it holds no text; its axes' labels are HTML around it (templates/charts.html).
Hovering a point shows its title, which a screen reader reads, too.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from beacon_console.distributions import ShownBin

WIDTH = 600
"""Units across a chart; its height is in the same units, and both are stretched."""


class ChartPoint(NamedTuple):
    """One point on a chart: `at` from 0 (left) to 1, `value` or None where it is missing, `title` for hovering."""

    at: float
    value: float | None
    title: str
    low: float | None = None
    high: float | None = None


class Axis(NamedTuple):
    """The vertical axis: what its bottom and top stand for."""

    bottom: float
    top: float

    def height(self, value: float) -> float:
        """From 0 (bottom) to 1; a value beyond the axis stays at its end."""
        if self.top <= self.bottom:
            return 0.0
        return min(max((value - self.bottom) / (self.top - self.bottom), 0.0), 1.0)


def axis_of(points: Sequence[ChartPoint], limit: float | None = None, *, from_zero: bool = True) -> Axis:
    """Return the axis that shows every point and the limit."""
    values = [value for point in points for value in (point.value, point.low, point.high) if value is not None]
    values = [value for value in [*values, limit] if value is not None and math.isfinite(value)]
    if not values:
        return Axis(0.0, 1.0)
    top, bottom = max(values), min(values)
    if from_zero:
        bottom = min(bottom, 0.0)
    return Axis(bottom, top if top > bottom else bottom + 1.0)


def columns(points: Sequence[ChartPoint], axis: Axis, name: str, height: int = 120) -> Markup:
    """Draw one column per point, side by side over the whole width."""
    step = WIDTH / max(len(points), 1)
    parts = []
    for index, point in enumerate(points):
        size = max(axis.height(point.value) * height, 1.5) if point.value else 0.0
        left = index * step
        parts.append(
            Markup(
                '<g class="spot"><title>{}</title><rect class="hit" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
            ).format(point.title, left, step, height)
            + Markup('<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>').format(
                left + step * 0.1, height - size, step * 0.8, size
            )
        )
    return drawing(name, height, Markup().join(parts))


def pairs(bins: Sequence[ShownBin], name: str, height: int = 140) -> Markup:
    """Draw two columns per bin, training's beside the window's; the bin that holds a value has a mark below."""
    step = WIDTH / max(len(bins), 1)
    top = max([*(each.then for each in bins), *(each.now for each in bins), 1e-9])
    parts = []
    for place, each in enumerate(bins):
        left = place * step
        parts.append(
            Markup(
                '<g class="spot"><title>{}</title><rect class="hit{}" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
            ).format(_bin_title(each), " here" if each.here else "", left, step, height)
        )
        for kind, share, at in (("known", each.then, 0.1), ("column", each.now, 0.5)):
            size = max(share / top * height, 1.5) if share else 0.0
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                    kind, left + step * at, height - size, step * 0.4, size
                )
            )
        parts.append(Markup("</g>"))
    return drawing(name, height, Markup().join(parts))


def place(bins: Sequence[ShownBin], name: str) -> Markup:
    """Draw training's columns small, for a table's row, and the one that holds a value in another colour."""
    width, height = 160, 24
    step, top = width / max(len(bins), 1), max([each.then for each in bins], default=0.0) or 1.0
    parts = [
        Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            "fill bad" if each.here and not each.then else "fill" if each.here else "known",
            at * step + 1,
            height - size,
            max(step - 2, 1.0),
            size,
        )
        for at, each in enumerate(bins)
        for size in [max(each.then / top * height, 3.0 if each.here else 1.0)]
    ]
    return Markup(
        '<svg class="gauge place" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(width, height, name, name, Markup().join(parts))


def _bin_title(each: ShownBin) -> str:
    here = ", here is this value" if each.here else ""
    return f"{each.label}: {each.now:.1%} now, {each.then:.1%} in training{here}"


def line(points: Sequence[ChartPoint], axis: Axis, name: str, limit: float | None = None, height: int = 120) -> Markup:
    """Draw a line through the points, with the band of `low` to `high` behind it and the limit across.

    Where a value is missing the line breaks.
    """
    parts = [_band(points, axis, height)]
    if limit is not None:
        level = height * (1 - axis.height(limit))
        parts.append(Markup('<line class="limit" x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(WIDTH, level, level))
    for run in _runs(points):
        path = " ".join(f"{point.at * WIDTH:.1f},{height * (1 - axis.height(point.value or 0.0)):.1f}" for point in run)
        # A lone point has no line; a round cap makes it a dot.
        shape = path if len(run) > 1 else f"{path} {path}"
        parts.append(Markup('<polyline class="{}" points="{}"/>').format("line" if len(run) > 1 else "dot", shape))
    parts.append(_hits(points, axis, height, limit))
    return drawing(name, height, Markup().join(parts))


def gauge(value: float, limit: float, name: str, *, bad: bool) -> Markup:
    """Draw a score as a bar against its limit, which stands at two fifths of the width."""
    width, height = 200, 14
    at = width * 2 / 5
    size = 0.0 if not math.isfinite(value) or limit <= 0 else min(max(value / limit, 0.0), width / at) * at
    return Markup(
        '<svg class="gauge" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><title>{}</title>'
        '<rect class="rail" width="{}" height="4" y="5" rx="2"/>'
        '<rect class="{}" width="{:.1f}" height="4" y="5" rx="2"/>'
        '<line class="limit" x1="{:.1f}" x2="{:.1f}" y1="0" y2="14"/></svg>'
    ).format(width, height, name, name, width, "fill bad" if bad else "fill", size, at, at)


def contribution(value: float, axis: Axis, name: str) -> Markup:
    """Draw what is added as a bar to the right of 0, and what is taken away to the left."""
    width, height = 200, 14
    zero, end = axis.height(0.0) * width, axis.height(value) * width
    return Markup(
        '<svg class="gauge" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><title>{}</title>'
        '<rect class="{}" x="{:.1f}" width="{:.1f}" height="10" y="2" rx="1"/>'
        '<line class="limit" x1="{:.1f}" x2="{:.1f}" y1="0" y2="14"/></svg>'
    ).format(
        width,
        height,
        name,
        name,
        "less" if value < 0 else "fill",
        min(zero, end),
        max(abs(end - zero), 0.5 if value else 0.0),
        zero,
        zero,
    )


def spark(values: Sequence[float | None], limit: float | None, name: str) -> Markup:
    """Draw a small line with its limit, for a table's row."""
    last = max(len(values) - 1, 1)
    points = [ChartPoint(index / last, value, "") for index, value in enumerate(values)]
    axis = axis_of(points, limit)
    height = 28
    parts = []
    if limit is not None:
        level = height * (1 - axis.height(limit))
        parts.append(Markup('<line class="limit" x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(WIDTH, level, level))
    for run in _runs(points):
        places = [f"{point.at * WIDTH:.1f},{height * (1 - axis.height(point.value or 0.0)):.1f}" for point in run]
        parts.append(
            Markup('<polyline class="line" points="{}"/>').format(" ".join(places * (3 - min(len(places), 2))))
        )
    return drawing(name, height, Markup().join(parts), kind="chart spark")


def drawing(name: str, height: int, inside: Markup, kind: str = "chart") -> Markup:
    """Frame shapes as a picture that a screen reader names."""
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(kind, WIDTH, height, name, inside)


def _runs(points: Sequence[ChartPoint]) -> list[list[ChartPoint]]:
    """Cut the points where a value is missing."""
    runs: list[list[ChartPoint]] = [[]]
    for point in points:
        if point.value is None or not math.isfinite(point.value):
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _band(points: Sequence[ChartPoint], axis: Axis, height: int) -> Markup:
    known = [point for point in points if point.low is not None and point.high is not None and point.value is not None]
    if len(known) < 2:
        return Markup()
    upper = [f"{point.at * WIDTH:.1f},{height * (1 - axis.height(point.high or 0.0)):.1f}" for point in known]
    lower = [f"{point.at * WIDTH:.1f},{height * (1 - axis.height(point.low or 0.0)):.1f}" for point in reversed(known)]
    return Markup('<polygon class="band" points="{}"/>').format(" ".join(upper + lower))


def _hits(points: Sequence[ChartPoint], axis: Axis, height: int, limit: float | None) -> Markup:
    """Invisible strips, one per point, that show its title and a dot while the pointer is over them."""
    places = [point.at * WIDTH for point in points]
    parts = []
    for index, (at, point) in enumerate(zip(places, points, strict=True)):
        if point.value is None or not math.isfinite(point.value):
            continue
        left = (places[index - 1] + at) / 2 if index else 0.0
        right = (at + places[index + 1]) / 2 if index + 1 < len(points) else float(WIDTH)
        level = height * (1 - axis.height(point.value))
        over = " bad" if limit is not None and point.value > limit else ""
        parts.append(
            Markup(
                '<g class="spot"><title>{}</title><rect class="hit" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
                '<polyline class="dot{}" points="{:.1f},{:.1f} {:.1f},{:.1f}"/></g>'
            ).format(point.title, left, max(right - left, 1.0), height, over, at, level, at, level)
        )
    return Markup().join(parts)
