"""The second half of a run: the windows of each model version against its reference, and its figures."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Engine

from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment import performance, results
from beacon_drift_profiling.assessment.performance import Figure
from beacon_drift_profiling.assessment.results import Picture, Realised, Result
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, Counts, Finding, compare, confirmed
from beacon_drift_profiling.comparison.reference import Column
from beacon_drift_profiling.comparison.statistics import Floats, psi
from beacon_drift_profiling.profiling import shelf
from beacon_drift_profiling.profiling.packages import NoReference, Reference
from beacon_drift_profiling.profiling.shelf import Window
from beacon_drift_profiling.profiling.sums import ALL

LOOK_BACK = timedelta(days=366)
"""How late actuals may come and still be judged."""


class Assessment(msgspec.Struct, frozen=True):
    """One version judged. `earlier` are its alarms in the last runs; `pictures` its distributions, by column."""

    version: str
    results: list[Result]
    realised: list[Realised]
    pictures: dict[str, dict[str, Picture]]
    profiles: int


def assess(
    engine: Engine, product: Product, reference: Reference | NoReference, end: datetime, period: str
) -> Assessment:
    """Judge a version's windows before `end`."""
    version = reference.version
    grid = reference.grid if isinstance(reference, Reference) else ""
    days = tuple(sorted({*product.policy.drift.windows_days, *product.policy.quality.windows_days}))
    recent = shelf.windows(engine, version, grid, end, days)
    with engine.connect() as connection:
        until = _labels_end(engine, version, end, product)
        earlier = results.earlier_alarms(connection, period, version, product.policy.drift.confirm[1] - 1)
    labelled = recent if until == end else shelf.windows(engine, version, grid, until, days)
    realised = _realised(product, reference, recent, labelled)
    if isinstance(reference, NoReference):
        found = [_without_reference(reference, window) for window in recent]
        return Assessment(version, found, realised, {}, _merged(recent))
    found, pictures = [], {}
    for kinds, windows in ((("data", "prediction"), recent), (("target",), labelled)):
        chosen = [window for window in windows if window.days in product.policy.drift.windows_days]
        columns = [column for column in reference.columns if column.kind in kinds]
        seen = {column.name: _counts(column, chosen) for column in columns}
        for finding in compare(columns, seen, product.policy.drift):
            if finding.column.kind == "target" and finding.effect == NULL_RATE:
                continue  # a missing actual is late, not wrong
            found += _rows(finding, seen[finding.column.name], chosen, reference, product, earlier)
        for column in columns:
            pictures[column.name] = _pictures(column, seen[column.name], chosen)
    return Assessment(version, found, realised, pictures, _merged(recent))


def name_of(days: int) -> str:
    """Name a window as results do."""
    return f"{days}d"


def _merged(windows: Sequence[Window]) -> int:
    return max((window.profiles for window in windows), default=0)


def _labels_end(engine: Engine, version: str, end: datetime, product: Product) -> datetime:
    """Where the windows of realised figures end: earlier than `end` where actuals come so late that these are empty.

    It is the newest hour before which the shortest of these windows holds enough actuals; `end` if there is none.
    """
    length = timedelta(days=product.policy.quality.windows_days[0])
    with engine.connect() as connection:
        hours = shelf.hours_with_labels(connection, version, end, LOOK_BACK)
    for place, (hour, _) in enumerate(hours):
        last = end if place == 0 and hour >= end - length else hour + timedelta(hours=1)
        count = 0.0
        for other, labels in hours[place:]:
            if other < last - length or count >= product.policy.drift.min_labels:
                break
            count += labels
        if count >= product.policy.drift.min_labels:
            return last
    return end


def _counts(column: Column, windows: Sequence[Window]) -> Counts:
    """What the windows hold of a column, shape (windows,); hours with other bins were left out before."""
    rows, nulls, bins = [], [], []
    for window in windows:
        summary = None if window.profile is None else window.profile.columns().get(column.name)
        counts = None if summary is None else summary.bins
        if summary is None or counts is None:
            counts = np.zeros(len(column.counts))
        absent = 0 if summary is None else summary.nulls
        total = 0 if summary is None else summary.rows
        if column.kind == "target":
            total, absent = total - absent, 0
        rows.append(total)
        nulls.append(absent)
        bins.append(counts)
    return Counts(np.asarray(rows, dtype=float), np.asarray(nulls, dtype=float), np.asarray(bins, dtype=float))


def _rows(
    finding: Finding,
    seen: Counts,
    windows: Sequence[Window],
    reference: Reference,
    product: Product,
    earlier: Sequence[set[results.Key]],
) -> list[Result]:
    rows = []
    for place, window in enumerate(windows):
        column, name = finding.column, name_of(window.days)
        key = (name, column.kind, column.name, finding.effect)
        alarm, enough = bool(finding.alarm[place]), bool(finding.enough[place])
        history = np.asarray([*(key in alarms for alarms in reversed(earlier)), alarm])
        rows.append(
            Result(
                window=name,
                model_version=reference.version,
                kind=column.kind,
                feature=column.name,
                effect=finding.effect,
                state=results.DRIFT if alarm else results.OK if enough else results.FEW_ROWS,
                score=float(finding.score[place]),
                p_value=float(finding.p_value[place]),
                threshold=float(finding.threshold[place]),
                rows=int(finding.rows[place]),
                alarm=alarm,
                confirmed=bool(confirmed(history, product.policy.drift)[-1]),
                details=_details(finding, place, seen, window, reference, product),
            )
        )
    return rows


def _details(
    finding: Finding, place: int, seen: Counts, window: Window, reference: Reference, product: Product
) -> dict[str, Any]:
    column = finding.column
    details: dict[str, Any] = {
        "test": finding.test,
        "statistic": float(finding.statistic[place]),
        "reference_rows": column.known,
        "until": window.end.isoformat(),
    }
    if column.kind == "data":
        details |= {"key": column.name in product.key_features, "importance": reference.importances.get(column.name)}
    summary = None if window.profile is None else window.profile.columns().get(column.name)
    if finding.effect != DISTANCE or summary is None:
        return details
    details["psi"] = float(psi(column.body(seen.bins[place]), column.body(np.asarray(column.counts))))
    if summary.infinite:
        details["infinite"] = summary.infinite
    if not column.categorical and summary.known:
        details["median"] = median(column, seen.bins[place])
        details["reference_median"] = median(column, np.asarray(column.counts))
    return details


def median(column: Column, counts: Floats) -> float:
    """Half of the values (bins,) lie below it, as far as the bins tell, to three digits.

    The profile's sketch would be nearer, but it is randomized: the same rows must give the same results.
    """
    below = np.concatenate([[0.0], np.cumsum(column.body(counts))])
    return float(f"{np.interp(below[-1] / 2, below, column.edges):.3g}")


def _pictures(column: Column, seen: Counts, windows: Sequence[Window]) -> dict[str, Picture]:
    reference = np.asarray(column.counts)
    return {
        name_of(window.days): Picture(
            _labels(column),
            tuple((reference / max(reference.sum(), 1)).tolist()),
            tuple((seen.bins[place] / max(seen.bins[place].sum(), 1)).tolist()),
        )
        for place, window in enumerate(windows)
    }


def _labels(column: Column) -> tuple[str, ...]:
    if column.categorical:
        return (*(f"{value:g}" for value in column.edges), "other")
    edges = [f"{value:.3g}" for value in column.edges]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)] or [edges[0]]
    return (f"below {edges[0]}", *inner, f"above {edges[-1]}")[: len(column.counts)]


def _realised(
    product: Product, reference: Reference | NoReference, recent: Sequence[Window], labelled: Sequence[Window]
) -> list[Realised]:
    """Figures of the traffic up to now, and of the actuals up to where they have come."""
    parts = []
    known = labelled[-1].segments if labelled else {}
    for now, then in zip(recent, labelled, strict=True):
        if now.days not in product.policy.quality.windows_days:
            continue
        found = _of_traffic(now.segments)
        if isinstance(reference, Reference):
            found.append(performance.estimate(now.segments, known, reference.manifest, product))
        if now.segments.get(ALL, {}).get("rows"):
            parts.append(Realised(name_of(now.days), reference.version, now.end, found))
        errors = [figure for figure in performance.figures(then.segments) if figure.metric in performance.OF_ACTUALS]
        if errors:
            parts.append(Realised(name_of(then.days), reference.version, then.end, errors))
    return parts


def _of_traffic(segments: Mapping[str, dict[str, float]]) -> list[Figure]:
    overall = {name: sums for name, sums in segments.items() if name == ALL}
    return [figure for figure in performance.figures(overall) if figure.metric in performance.OF_TRAFFIC]


def _without_reference(reference: NoReference, window: Window) -> Result:
    rows = int(window.segments.get(ALL, {}).get("rows", 0))
    return Result(
        window=name_of(window.days),
        model_version=reference.version,
        kind="data",
        feature="",
        effect="",
        state=results.NO_REFERENCE,
        score=None,
        p_value=None,
        threshold=None,
        rows=rows,
        alarm=False,
        confirmed=False,
        details={"reason": reference.reason},
    )
