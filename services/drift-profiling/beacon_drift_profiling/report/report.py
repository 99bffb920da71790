"""The report: one self-contained HTML page per run. What changed, how sure that is, what to do; then every figure."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from beacon_core.data import drift_results
from beacon_core.data.drift_results import DriftResult, Figure, RealisedFigures
from beacon_core.domain.precision import significant, with_unit
from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment.messages import ADVICE
from beacon_drift_profiling.assessment.performance import ESTIMATE, TITLES
from beacon_drift_profiling.assessment.results import RunResults, ratio, worst_first
from beacon_drift_profiling.comparison.compare import DISTANCE
from beacon_drift_profiling.report import charts
from beacon_drift_profiling.report.style import PAGE
from beacon_drift_profiling.retraining_requests.trigger import RequestOutcome

NOTHING = "-"
Trends = Mapping[str, drift_results.EffectTrends]
HEADLINES = {
    drift_results.OK: "Nothing has changed that matters.",
    drift_results.DRIFT: "The data that the model gets have changed.",
    drift_results.ERROR: "The model's error is above its limit.",
    drift_results.WAITING: "There are too few rows to judge.",
}


def page(run: RunResults, product: Product, trends: Trends, request: RequestOutcome) -> str:
    """Build the page."""
    mine = [result for result in run.results if result.model_version == run.serving]
    content = {
        "title": escape(f"Drift of {product.title}, {run.period[:16].replace('T', ' ')} UTC"),
        "state": run.state,
        "headline": HEADLINES[run.state],
        "facts": _facts(run, request),
        "messages": _messages(run, mine, product),
        "cards": "".join(_card(name, of_column, run, trends) for name, of_column in _columns(mine, product)),
        "figures": _figures(run.realised, run.serving, product),
        "table": _table(mine),
        "others": _others(run),
    }
    return Template(PAGE).substitute(content)


def _facts(run: RunResults, request: RequestOutcome) -> str:
    serving = "no model answered yet" if run.serving is None else f"model version {run.serving}"
    facts = [serving, f"{run.rows:,} rows in the longest window".replace(",", " "), f"retraining: {request.why}"]
    return escape(" · ".join(facts))


def _messages(run: RunResults, mine: Sequence[DriftResult], product: Product) -> str:
    """List what is confirmed, what to do about it, and what is an alarm for the first time."""
    items = [f"<li>{escape(text)}</li>" for text in run.messages]
    effects = dict.fromkeys(result.effect for result in worst_first(mine) if result.confirmed)
    advice = [f"<li>{escape(ADVICE[effect])}</li>" for effect in effects]
    fresh = [result for result in worst_first(mine) if result.alarm and not result.confirmed]
    seen = f"<ul>{''.join(items)}</ul>" if items else ""
    needed, runs = product.policy.drift.confirm
    if fresh:
        names = ", ".join(dict.fromkeys(f"{result.feature} ({result.window})" for result in fresh))
        seen += f"<p>Not yet confirmed (that takes {needed} alarms of {runs} runs): {escape(names)}.</p>"
    if run.state == drift_results.WAITING:
        least = product.policy.drift.min_rows
        seen += f"<p>A window is judged from {least} rows on. Until then the figures below are only shown.</p>"
    if run.state == drift_results.ERROR:
        advice.append("<li>Retrain on the newest actuals; if the gate keeps the old model, look for what changed.</li>")
    return seen + (f"<h3>What to do</h3><ul>{''.join(advice)}</ul>" if advice else "")


def _columns(mine: Sequence[DriftResult], product: Product) -> list[tuple[str, list[DriftResult]]]:
    """List the columns, the worst first; among the quiet ones the key features come first."""
    by_name: dict[str, list[DriftResult]] = {}
    for result in mine:
        if result.feature:
            by_name.setdefault(result.feature, []).append(result)

    def badness(item: tuple[str, list[DriftResult]]) -> tuple[bool, bool, bool, float]:
        name, found = item
        worst = worst_first(found)[0]
        return not worst.confirmed, not worst.alarm, name not in product.key_features, -ratio(worst)

    return sorted(by_name.items(), key=badness)


def _card(name: str, found: Sequence[DriftResult], run: RunResults, trends: Trends) -> str:
    worst = worst_first([result for result in found if result.state != drift_results.FEW_ROWS] or found)[0]
    window = worst.window
    distance = next((result for result in found if (result.window, result.effect) == (window, DISTANCE)), worst)
    score, limit = worst.score or 0.0, worst.threshold or 0.0
    points = [*trends.get(window, {}).get((name, worst.effect), []), (run.period, worst.score, worst.threshold)]
    distribution = run.distributions.get(name, {}).get(window)
    state = "confirmed" if worst.confirmed else worst.state
    key = " · key feature" if worst.details.get("key") else ""
    sub = f"{worst.effect.replace('_', ' ')} {score:.3f}, threshold {limit:.3f} · {window}, {distance.rows} rows{key}"
    chart = charts.distribution_chart(distribution) if distribution is not None else ""
    return (
        f'<article class="{state}"><h3>{escape(name)}<span class="tag">{state.replace("_", " ")}</span></h3>'
        f"<p>{escape(sub)}</p>{chart}{charts.trend_chart(points)}</article>"
    )


def _figures(realised: Sequence[RealisedFigures], serving: str | None, product: Product) -> str:
    """The figures over all rows; those of the segments folded away below."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for part in realised:
        if part.model_version != serving:
            continue
        until = part.until.strftime("%Y-%m-%d %H:%M")
        for figure in part.figures:
            value, interval = _formatted(figure, product)
            cells = [TITLES[figure.metric], escape(figure.segment or "all"), part.window]
            cells += [value, interval, str(figure.rows), until]
            found[figure.segment != ""].append(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>")
    if not any(found.values()):
        return "<p>No rows yet.</p>"
    names = ("figure", "segment", "window", "value", "95 % interval", "rows", "until")
    head = f"<tr><th>{'</th><th>'.join(names)}</th></tr>"
    whole, segments = (f'<div class="wide"><table>{head}{"".join(rows)}</table></div>' for rows in found.values())
    return whole + (f"<details><summary>By segment</summary>{segments}</details>" if found[True] else "")


def _formatted(figure: Figure, product: Product) -> tuple[str, str]:
    def one(value: float | None) -> str:
        if value is None:
            return NOTHING
        if figure.metric.endswith("share") or figure.metric.endswith("coverage"):
            return f"{value:.1%}"
        if figure.metric.endswith("seconds"):
            return f"{value / 86400:.1f} d" if value >= 86400 else f"{value / 3600:.1f} h"
        return significant(value)

    unit = product.target.unit if figure.metric in {"mae", "rmse", "bias", ESTIMATE} else ""
    interval = NOTHING if figure.low is None else f"{one(figure.low)} to {one(figure.high)}"
    return escape(with_unit(one(figure.value), unit)), interval


def _table(mine: Sequence[DriftResult]) -> str:
    rows = []
    for result in worst_first([result for result in mine if result.feature]):
        state = "confirmed" if result.confirmed else result.state.replace("_", " ")
        p_value = NOTHING if result.p_value is None else f"{result.p_value:.2g}"
        rows.append(
            f"<tr><td>{escape(result.feature)}</td><td>{result.effect.replace('_', ' ')}</td><td>{result.window}</td>"
            f"<td>{result.score or 0:.3f}</td><td>{result.threshold or 0:.3f}</td><td>{p_value}</td>"
            f"<td>{result.rows}</td><td>{state}</td></tr>"
        )
    head = (
        "<th>column</th><th>effect</th><th>window</th><th>score</th><th>threshold</th><th>p</th><th>rows</th><th></th>"
    )
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _others(run: RunResults) -> str:
    """Describe other versions, and those that cannot be compared."""
    sentences = []
    for version, facts in run.summary["versions"].items():
        if facts["reference"] != "ok":
            sentences.append(f"Version {version} cannot be compared: {facts['reference']}.")
        elif version != run.serving:
            found = ", ".join(facts["confirmed"]) or "nothing confirmed"
            sentences.append(f"Version {version} also answered ({facts['rows']} rows): {found}.")
    return "".join(f"<p>{escape(text)}</p>" for text in sentences)
