"""The pages' pictures: facts of the store as points on a chart."""

from collections.abc import Callable, Sequence
from datetime import UTC

from markupsafe import Markup

from beacon_console import charts
from beacon_console.charts import Axis, ChartPoint
from beacon_console.distributions import ShownBin
from beacon_console.formats import number, share, signed
from beacon_console.inference_api import ShownContribution, ShownExplanation
from beacon_core.data.drift_results import EffectPoint, PerformanceFigure
from beacon_core.data.prediction_log.traffic import HourlyTraffic
from beacon_core.domain.precision import with_unit
from beacon_core.domain.times import read_time


def traffic(hours: Sequence[HourlyTraffic]) -> tuple[Markup, Axis]:
    """Predictions per hour."""
    last = max(len(hours) - 1, 1)
    points = [
        ChartPoint(index / last, hour.predictions, f"{hour.start:%H:%M}: {number(hour.predictions)} predictions")
        for index, hour in enumerate(hours)
    ]
    axis = charts.axis_of(points)
    total = number(sum(hour.predictions for hour in hours))
    return charts.columns(points, axis, f"Predictions per hour over the last day, {total} in all"), axis


def error(figures: Sequence[PerformanceFigure], limit: float | None, name: str, unit: str) -> tuple[Markup, Axis]:
    """A performance figure over the runs, with its confidence band and its limit."""
    times = [read_time(figure.period, UTC) for figure in figures]
    span = max((times[-1] - times[0]).total_seconds(), 1.0) if times else 1.0
    points = [
        ChartPoint(
            (time - times[0]).total_seconds() / span,
            figure.value,
            f"{time:%Y-%m-%d %H:%M}: {with_unit(number(figure.value), unit)}, "
            f"{number(figure.low)} to {number(figure.high)} over {number(figure.rows)} actuals",
            figure.low,
            figure.high,
        )
        for time, figure in zip(times, figures, strict=True)
    ]
    axis = charts.axis_of(points, limit)
    return charts.line(points, axis, name, limit), axis


def score(value: float | None, limit: float | None, name: str, *, bad: bool) -> Markup:
    """A drift score against its threshold."""
    if value is None or limit is None:
        return Markup('<span class="soft">not known</span>')
    return charts.gauge(value, limit, f"{name}: {number(value)}, threshold {number(limit)}", bad=bad)


def trend(scores: Sequence[float | None], limit: float | None, name: str) -> Markup:
    """A drift score over the runs."""
    if len([value for value in scores if value is not None]) < 2:
        return Markup()
    return charts.spark(scores, limit, name)


def distribution(bins: Sequence[ShownBin], name: str) -> Markup:
    """A column's shares in training beside those of a window."""
    return charts.pairs(bins, f"Distribution of {name}, now beside training")


def place(bins: Sequence[ShownBin], name: str) -> Markup:
    """Where a value lies in training's distribution."""
    here = next((each for each in bins if each.here), None)
    if here is None:
        return Markup()
    return charts.place(bins, f"{name} lies in {here.label}, with {share(here.then)} of training")


def effect_trend(points: Sequence[EffectPoint], name: str) -> tuple[Markup, Axis]:
    """A drift score over the runs, with its newest threshold."""
    times = [read_time(point.period, UTC) for point in points]
    span = max((times[-1] - times[0]).total_seconds(), 1.0)
    shown = [
        ChartPoint(
            (time - times[0]).total_seconds() / span,
            point.score,
            f"{time:%Y-%m-%d %H:%M}: {number(point.score)}, threshold {number(point.threshold)}",
        )
        for time, point in zip(times, points, strict=True)
    ]
    axis = charts.axis_of(shown, points[-1].threshold)
    return charts.line(shown, axis, name, points[-1].threshold), axis


def contributions(explained: ShownExplanation) -> Callable[[ShownContribution], Markup]:
    """The bar of each contribution, all on one axis from the largest that takes away to the largest that adds."""
    sizes = [each.contribution for each in explained.contributions]
    axis = Axis(min(*sizes, 0.0, 0.0), max(*sizes, 0.0, 0.0))
    return lambda each: charts.contribution(
        each.contribution, axis, f"{each.feature}: {with_unit(signed(each.contribution), explained.unit)}"
    )


def interval(low: float, prediction: float, high: float, actual: float | None, unit: str) -> Markup:
    """A prediction within its interval, and the actual, if there is one."""
    ends = [low, high, prediction, *([] if actual is None else [actual])]
    margin = (max(ends) - min(ends)) * 0.06 or 1.0
    axis = Axis(min(ends) - margin, max(ends) + margin)
    places = {
        name: axis.height(value) * charts.WIDTH for name, value in (("low", low), ("high", high), ("at", prediction))
    }
    name = f"Prediction {with_unit(number(prediction), unit)}, interval {number(low)} to {number(high)}"
    parts = [
        Markup('<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="20" y2="20"/>').format(**places),
        Markup('<polyline class="dot" points="{at:.1f},20 {at:.1f},20"/>').format(**places),
    ]
    if actual is not None:
        at = axis.height(actual) * charts.WIDTH
        name += f", actual {number(actual)}"
        parts.append(Markup('<line class="actual" x1="{0:.1f}" x2="{0:.1f}" y1="6" y2="34"/>').format(at))
    return charts.drawing(name, 40, Markup().join(parts))
