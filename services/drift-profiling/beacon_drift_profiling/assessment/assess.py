"""The second half of a run: the windows of each model version against its reference, and its figures."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from beacon_core.data import drift_results, profiles
from beacon_core.data.database import Engine
from beacon_core.data.drift_results import ColumnDistribution, DriftResult, Figure, RealisedFigures, window_name
from beacon_core.domain.precision import compact
from beacon_core.domain.product import Product
from beacon_core.domain.text import text_code
from beacon_drift_profiling.assessment import one_client, performance
from beacon_drift_profiling.comparison.compare import (
    DISTANCE,
    NULL_RATE,
    UNSEEN,
    BinCounts,
    DriftFinding,
    compare,
    confirmed,
)
from beacon_drift_profiling.comparison.reference import REST, ReferenceColumn
from beacon_drift_profiling.comparison.statistics import Floats, psi
from beacon_drift_profiling.profiling.aggregates import ALL
from beacon_drift_profiling.profiling.packages import NoReference, Reference
from beacon_drift_profiling.profiling.profile import Summary
from beacon_drift_profiling.profiling.windows import Window, windows

LOOK_BACK = timedelta(days=366)
"""How late actuals may come and still be judged."""


MOST_UNSEEN = 3
"""So many unseen levels are named."""


class VersionAssessment(msgspec.Struct, frozen=True):
    """One version judged; `distributions` by column and window, `profiles` the most that a window merged.

    `error_client` is the client whose actuals alone make the error of the shortest window as high as it is.
    """

    version: str
    results: list[DriftResult]
    realised: list[RealisedFigures]
    distributions: dict[str, dict[str, ColumnDistribution]]
    profiles: int
    error_client: str | None = None


def assess(
    engine: Engine, product: Product, reference: Reference | NoReference, end: datetime, period: str
) -> VersionAssessment:
    """Judge a version's windows before `end`."""
    version = reference.version
    bins_digest = reference.bins_digest if isinstance(reference, Reference) else ""
    days = tuple(sorted({*product.policy.drift.windows_days, *product.policy.quality.windows_days}))
    recent = windows(engine, version, bins_digest, end, days)
    with engine.connect() as connection:
        until = _labels_end(engine, version, end, product)
        earlier = drift_results.earlier_alarms(connection, period, version, product.policy.drift.confirm[1] - 1)
    labelled = recent if until == end else windows(engine, version, bins_digest, until, days)
    realised = _realised(product, reference, recent, labelled)
    if isinstance(reference, NoReference):
        found = [_without_reference(reference, window) for window in recent]
        return VersionAssessment(version, found, realised, {}, _merged(recent))
    of_kind = {"data": recent, "prediction": recent, "target": labelled}
    lengths = product.policy.drift.windows_days
    chosen = {kind: [window for window in some if window.days in lengths] for kind, some in of_kind.items()}
    seen = {column.name: _counts(column, chosen[column.kind]) for column in reference.columns}
    found = []
    # All at once: the false alarms of a month are bounded over all columns together.
    for finding in compare(reference.columns, seen, [window.days for window in chosen["data"]], product.policy.drift):
        kind, name = finding.column.kind, finding.column.name
        if kind == "target" and finding.effect == NULL_RATE:
            continue  # a missing actual is late, not wrong
        found += _rows(finding, seen[name], chosen[kind], reference, product, earlier)
    distributions = {
        column.name: _distributions(column, seen[column.name], chosen[column.kind])
        for column in reference.columns
        if column.counts
    }
    error_client = one_client.of_error(
        next(window for window in labelled if window.days == product.policy.quality.windows_days[0]),
        product.policy.drift.max_mae_ratio * reference.manifest.expected_absolute_error,
        product.policy.drift.min_labels,
    )
    return VersionAssessment(version, found, realised, distributions, _merged(recent), error_client)


def _merged(windows: Sequence[Window]) -> int:
    return max((window.profiles for window in windows), default=0)


def _labels_end(engine: Engine, version: str, end: datetime, product: Product) -> datetime:
    """Where the windows of realised figures end: earlier than `end` where actuals come so late that these are empty.

    It is the newest hour before which the shortest of these windows holds enough actuals; `end` if there is none.
    """
    length = timedelta(days=product.policy.quality.windows_days[0])
    with engine.connect() as connection:
        hours = profiles.hours_with_labels(connection, version, end, LOOK_BACK)
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


def _counts(column: ReferenceColumn, windows: Sequence[Window]) -> BinCounts:
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
    return BinCounts(np.asarray(rows, dtype=float), np.asarray(nulls, dtype=float), np.asarray(bins, dtype=float))


def _rows(
    finding: DriftFinding,
    seen: BinCounts,
    windows: Sequence[Window],
    reference: Reference,
    product: Product,
    earlier: Sequence[set[drift_results.ResultKey]],
) -> list[DriftResult]:
    rows = []
    for place, window in enumerate(windows):
        column, name = finding.column, window_name(window.days)
        key = (name, column.kind, column.name, finding.effect)
        alarm, enough = bool(finding.alarm[place]), bool(finding.enough[place])
        history = np.asarray([*(key in alarms for alarms in reversed(earlier)), alarm])
        sure = bool(confirmed(history, product.policy.drift)[-1])
        details = _details(finding, place, seen, window, reference, product)
        if sure and column.kind == "data" and finding.effect != NULL_RATE:
            client = one_client.of_effect(finding, place, seen, windows, product.policy.drift)
            details |= {} if client is None else {"client": client}
        rows.append(
            DriftResult(
                window=name,
                model_version=reference.version,
                kind=column.kind,
                feature=column.name,
                effect=finding.effect,
                state=drift_results.DRIFT if alarm else drift_results.OK if enough else drift_results.FEW_ROWS,
                score=float(finding.score[place]),
                p_value=float(finding.p_value[place]),
                threshold=float(finding.threshold[place]),
                rows=int(finding.rows[place]),
                alarm=alarm,
                confirmed=sure,
                details=details,
            )
        )
    return rows


def _details(
    finding: DriftFinding, place: int, seen: BinCounts, window: Window, reference: Reference, product: Product
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
    if finding.effect == UNSEEN and summary is not None and column.is_text and finding.alarm[place]:
        details["unseen"] = unseen_levels(column, summary)
    if finding.effect != DISTANCE or summary is None:
        return details
    details["psi"] = float(psi(column.body(seen.bins[place]), column.body(np.asarray(column.counts))))
    if summary.infinite:
        details["infinite"] = summary.infinite
    if not column.categorical and summary.known:
        details["median"] = median(column, seen.bins[place])
        details["reference_median"] = median(column, np.asarray(column.counts))
    return details


def unseen_levels(column: ReferenceColumn, summary: Summary) -> list[str]:
    """The most frequent texts of a window that training never saw, each with its share of the values."""
    reference = np.asarray(column.counts)
    known = {edge for edge, count in zip(column.edges, reference, strict=False) if count}
    known.update(column.bins.rest)
    found = [(text, count) for text, count in summary.levels().items() if text_code(text) not in known]
    return [f"{text} {count / max(summary.known, 1):.1%}" for text, count in found[:MOST_UNSEEN]]


def median(column: ReferenceColumn, counts: Floats) -> float:
    """Half of the values (bins,) lie below it, as far as the bins tell, to three digits.

    The profile's sketch would be nearer, but it is randomized: the same rows must give the same results.
    """
    below = np.concatenate([[0.0], np.cumsum(column.body(counts))])
    return float(f"{np.interp(below[-1] / 2, below, column.edges):.3g}")


def _distributions(
    column: ReferenceColumn, seen: BinCounts, windows: Sequence[Window]
) -> dict[str, ColumnDistribution]:
    order = _bin_order(column)
    labels = bin_labels(column)
    return {
        window_name(window.days): ColumnDistribution(
            tuple(labels[place] for place in order),
            _shares(np.asarray(column.counts)[order]),
            _shares(seen.bins[place][order]),
            edges=() if column.categorical else column.edges,
            rows=int(seen.rows[place]),
            nulls=int(seen.nulls[place]),
            reference_rows=column.rows,
            reference_nulls=column.nulls,
        )
        for place, window in enumerate(windows)
    }


def _shares(counts: Floats) -> tuple[float, ...]:
    return tuple((counts / max(counts.sum(), 1)).tolist())


def _bin_order(column: ReferenceColumn) -> list[int]:
    """The order in which bins are shown: as they are, but texts by their frequency, with those of others at the end."""
    places = list(range(len(column.counts)))
    if not column.is_text:
        return places
    last = {place for place, edge in enumerate(column.edges) if edge == REST} | {len(column.edges)}
    return sorted(places, key=lambda place: (place in last, place if place in last else -column.counts[place]))


def bin_labels(column: ReferenceColumn) -> tuple[str, ...]:
    """Names of the bins of a distribution, with edges to three digits."""
    if column.categorical:
        return (*column.labels, "unseen")
    edges = [compact(value) for value in column.edges]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)] or [edges[0]]
    return (f"below {edges[0]}", *inner, f"above {edges[-1]}")[: len(column.counts)]


def _realised(
    product: Product, reference: Reference | NoReference, recent: Sequence[Window], labelled: Sequence[Window]
) -> list[RealisedFigures]:
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
            parts.append(RealisedFigures(window_name(now.days), reference.version, now.end, found))
        errors = [figure for figure in performance.figures(then.segments) if figure.metric in performance.OF_ACTUALS]
        if errors:
            parts.append(RealisedFigures(window_name(then.days), reference.version, then.end, errors))
    return parts


def _of_traffic(segments: Mapping[str, dict[str, float]]) -> list[Figure]:
    overall = {name: aggregates for name, aggregates in segments.items() if name == ALL}
    return [figure for figure in performance.figures(overall) if figure.metric in performance.OF_TRAFFIC]


def _without_reference(reference: NoReference, window: Window) -> DriftResult:
    rows = int(window.segments.get(ALL, {}).get("rows", 0))
    return DriftResult(
        window=window_name(window.days),
        model_version=reference.version,
        kind="data",
        feature="",
        effect="",
        state=drift_results.NO_REFERENCE,
        score=None,
        p_value=None,
        threshold=None,
        rows=rows,
        alarm=False,
        confirmed=False,
        details={"reason": reference.reason},
    )
