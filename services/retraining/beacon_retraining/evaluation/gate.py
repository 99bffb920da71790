"""The gate: challenger against champion on the same rows. Pure: figures in, checks out.

The challenger must prove a smaller mean absolute error; every other check is a guard that it must not break. A
figure on the wrong side of its limit fails only when the paired bootstrap says that chance does not explain it, and is
inconclusive otherwise.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.policy import Promotion
from beacon_core.domain.verdict import GateCheck, Outcome, SegmentComparison
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.training.interval import interval_scores

DRAWS = 2000
CHUNK = 2_000_000  # weights drawn at once: 16 MB
KEPT_R2 = 0.9
"""A tenth of the values missing may cost a tenth of R2: for a model of R2 0.9 that is a ratio of 1.38.

Below R2 0.89 it allows less than the usual `max_missing_ratio`, and so changes nothing.
"""
MOST_CELLS = 20_000
"""Of more rows, so many cells of rows by chance are drawn in their place: their sums vary as much."""
KEYS = {
    "mae": "max_mae_ratio",
    "rmse": "max_rmse_ratio",
    "large_residuals": "max_large_residual_rise",
    "worst_segment": "max_segment_mae_ratio",
    "worst_slice": "max_segment_mae_ratio",
    "interval_score": "max_interval_score_ratio",
    "r2": "min_r2",
    "coverage": "min_coverage",
    "missing": "max_missing_ratio",
    "latency": "max_latency_seconds",
}
"""The key of policy.yaml that sets the limit of a check, below `promotion`."""
SCHEMA = "schema"
"""The name of the check that a champion of another, incompatible schema leaves open."""
Mask = NDArray[np.bool_]


class ModelPredictions(msgspec.Struct, frozen=True):
    """One model's predictions of the evaluated rows, each (rows,), with their interval.

    `missing` are its predictions where a tenth of the values were removed.
    """

    prediction: Matrix
    low: Matrix
    high: Matrix
    missing: Matrix


class PackageMeasurements(msgspec.Struct, frozen=True):
    """What was measured of a package itself.

    `latency_seconds`: 99 % of one-row calls take less of a core. `parity`: largest difference from scikit-learn over
    all rows.
    `steps`: mean change of the prediction when a feature rises by the distance from median to upper quartile.
    """

    latency_seconds: float
    parity: float
    steps: dict[str, float]


class GateInputs(msgspec.Struct, frozen=True):
    """The inputs of the gate; `segments` are slices of the rows, and `champion` is None for a first model.

    `weights` (rows) say how much each row counts; None: all alike. `found` are slices where the challenger looked worse
    on other rows than these. `coverage` is what the intervals promise.
    """

    target: Matrix
    challenger: ModelPredictions
    champion: ModelPredictions | None
    segments: Mapping[str, Mask]
    measurements: PackageMeasurements
    champion_latency_seconds: float | None = None
    weights: Matrix | None = None
    found: Mapping[str, Mask] = {}
    coverage: float = 0.9


class GateLimits(msgspec.Struct, frozen=True):
    """The limits: policy.yaml's, what counts as a large residual, and the manifest's tolerance of parity."""

    promotion: Promotion
    large_residual: float
    parity: float


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its bootstrap draws."""

    value: float
    draws: Matrix

    def between(self, confidence: float) -> tuple[float, float]:
        """The interval that holds the middle `confidence` of the draws."""
        low, high = np.nanquantile(self.draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


class Bootstrap:
    """The evaluated rows and their bootstrap: every figure is a function of sums over rows.

    Weights are Poisson, which is the bootstrap of rows without holding their number; one draw weighs both models' rows
    alike, and so pairs them.
    """

    def __init__(self, columns: Mapping[str, Matrix], seed: int = 0, draws: int = DRAWS) -> None:
        self.names = {name: number for number, name in enumerate(columns)}
        table = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
        self.whole = table.sum(axis=0)
        generator = np.random.default_rng(seed)
        if len(table) > MOST_CELLS:
            starts = np.linspace(0, len(table), MOST_CELLS, endpoint=False).astype(int)
            table = np.add.reduceat(table[generator.permutation(len(table))], starts)
        step = max(1, CHUNK // len(table))
        sizes = [min(step, draws - start) for start in range(0, draws, step)]
        self.sums = np.concatenate([generator.poisson(1.0, (size, len(table))).astype(float) @ table for size in sizes])

    def estimate(self, figure: Callable[..., Matrix], *names: str) -> Estimate:
        """`figure` of the sums of the named columns."""
        chosen = [self.names[name] for name in names]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = figure(*(self.whole[column] for column in chosen))
            return Estimate(float(value), np.asarray(figure(*(self.sums[:, column] for column in chosen))))


def judge(
    inputs: GateInputs, limits: GateLimits, seed: int = 0
) -> tuple[tuple[GateCheck, ...], tuple[SegmentComparison, ...]]:
    """Every check of the inputs, and the segments and slices that the checks of the worst ones compare."""
    promotion = limits.promotion
    rows = Bootstrap(_columns(inputs, limits.large_residual), seed)
    count = len(inputs.target)
    checks = [
        GateCheck("rows", "rows evaluated", "pass" if count >= promotion.min_rows else "inconclusive", count,
                  "at least", promotion.min_rows),
    ]  # fmt: skip
    slices: tuple[SegmentComparison, ...] = ()
    if inputs.champion is not None:
        checks += _comparison_checks(rows, promotion)
        for name, kind, masks in (
            ("worst_segment", "segment", inputs.segments),
            ("worst_slice", "slice found", inputs.found),
        ):
            compared = _slices(masks, rows, promotion)
            checks += [_worst(compared, promotion.max_segment_mae_ratio, name, kind)] if compared else []
            slices += compared
    checks += _own_checks(inputs, rows, promotion)
    checks += _package_checks(inputs, limits)
    return tuple(checks), slices


def conclude(checks: tuple[GateCheck, ...], *, first: bool) -> tuple[Outcome, str]:
    """The outcome of all checks and the reason in a sentence."""
    failed = [_failure(check) for check in checks if check.outcome == "fail"]
    open_ = [check.title for check in checks if check.outcome == "inconclusive"]
    if failed:
        return "fail", f"over the limit: {', '.join(failed)}"
    if breaking := next((check.title for check in checks if check.name == SCHEMA), None):
        return "inconclusive", breaking
    if open_:
        return "inconclusive", f"not shown: {', '.join(open_)}"
    return "pass", "a first model, within every limit" if first else "clearly better, and within every limit"


def _failure(check: GateCheck) -> str:
    """The figure that failed, beside its limit and the key that sets it."""
    key = f" (promotion.{KEYS[check.name]})" if check.name in KEYS else ""
    return f"{check.title} {check.number:.4g}, must be {check.rule} {check.limit:.4g}{key}"


def _columns(inputs: GateInputs, large: float) -> dict[str, Matrix]:
    """What is summed, row by row, each with the row's weight."""
    # About its mean: R2 does not depend on it, and the squares of a target far from zero lose all digits.
    target = inputs.target - inputs.target.mean()
    columns = {"one": np.ones(len(target)), "y": target, "yy": target**2}
    parts = {**inputs.segments, **inputs.found}
    for name, answers in (("new", inputs.challenger), ("old", inputs.champion)):
        if answers is None:
            continue
        error = np.abs(inputs.target - answers.prediction)
        inside = (answers.low <= inputs.target) & (inputs.target <= answers.high)
        columns[f"{name}.absolute"] = error
        columns[f"{name}.squared"] = error**2
        columns[f"{name}.large"] = (error > large).astype(np.float64)
        columns[f"{name}.inside"] = inside.astype(np.float64)
        columns[f"{name}.missing"] = (inputs.target - answers.missing) ** 2
        columns[f"{name}.score"] = interval_scores(inputs.target, answers.low, answers.high, inputs.coverage)
        for segment, mask in parts.items():
            columns[f"{name}.absolute.{segment}"] = error * mask
    if inputs.weights is not None:
        columns |= {f"rows.{segment}": mask.astype(np.float64) for segment, mask in parts.items()}
        columns = {name: values * inputs.weights for name, values in columns.items()}
    return columns


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    return above / below


def _root(above: Matrix, below: Matrix) -> Matrix:
    return np.sqrt(above / below)


def _rise(new: Matrix, old: Matrix, rows: Matrix) -> Matrix:
    return (new - old) / rows


def _r2(squared: Matrix, y: Matrix, yy: Matrix, rows: Matrix) -> Matrix:
    return 1 - squared / (yy - y**2 / rows)


def _variance(y: Matrix, yy: Matrix, rows: Matrix) -> Matrix:
    return yy / rows - (y / rows) ** 2


def _comparison_checks(rows: Bootstrap, promotion: Promotion) -> list[GateCheck]:
    def both(figure: Callable[..., Matrix], column: str) -> tuple[float, float]:
        new, old = (rows.estimate(figure, f"{name}.{column}", "one").value for name in ("new", "old"))
        return new, old

    mae = rows.estimate(_ratio, "new.absolute", "old.absolute")
    return [
        _proven(mae, promotion.max_mae_ratio, promotion.confidence, both(_ratio, "absolute")),
        _guard(
            "rmse", "RMSE, new / old", rows.estimate(_root, "new.squared", "old.squared"), "at most",
            promotion.max_rmse_ratio, promotion.confidence, both(_root, "squared"),
        ),
        _guard(
            "large_residuals", "rise of the share of large residuals",
            rows.estimate(_rise, "new.large", "old.large", "one"), "at most", promotion.max_large_residual_rise,
            promotion.confidence, both(_ratio, "large"),
        ),
        _guard(
            "interval_score", "score of the intervals, new / old", rows.estimate(_ratio, "new.score", "old.score"),
            "at most", promotion.max_interval_score_ratio, promotion.confidence, both(_ratio, "score"),
        ),
    ]  # fmt: skip


def _own_checks(inputs: GateInputs, rows: Bootstrap, promotion: Promotion) -> list[GateCheck]:
    """Checks that hold without a champion; its figure is shown where there is one."""

    def old(figure: Callable[..., Matrix], *columns: str) -> float | None:
        return None if inputs.champion is None else rows.estimate(figure, *columns).value

    r2 = rows.estimate(_r2, "new.squared", "y", "yy", "one")
    inside = rows.estimate(_ratio, "new.inside", "one")
    missing = rows.estimate(_root, "new.missing", "new.squared")
    old_r2, old_inside = old(_r2, "old.squared", "y", "yy", "one"), old(_ratio, "old.inside", "one")
    variance = rows.estimate(_variance, "y", "yy", "one").value
    new_gaps, old_gaps = rows.estimate(_root, "new.missing", "one").value, old(_root, "old.missing", "one")
    return [
        _excuse(
            _guard("r2", "R2", r2, "at least", promotion.min_r2, promotion.confidence, (r2.value, old_r2)),
            old_r2 is not None and r2.value >= old_r2,
        ),
        _excuse(
            _guard("coverage", "coverage of the interval", inside, "at least", promotion.min_coverage,
                   promotion.confidence, (inside.value, old_inside)),
            old_inside is not None and inside.value >= old_inside,
        ),
        _excuse(
            _guard("missing", "RMSE with a tenth of the values missing / with none", missing, "at most",
                   promotion.max_missing_ratio, promotion.confidence,
                   (missing.value, old(_root, "old.missing", "old.squared"))),
            old_gaps is not None and new_gaps <= old_gaps,
            1 - new_gaps**2 / variance >= KEPT_R2 * r2.value,
        ),
    ]  # fmt: skip


def _excuse(check: GateCheck, is_no_worse: bool, keeps_r2: bool = False) -> GateCheck:
    """Pass a guard that the champion breaks at least as badly: keeping the champion would gain nothing.

    And pass a model that `keeps_r2`: the error of a very exact one rises many times by a missing value, and is small.
    """
    if check.outcome == "pass" or not (is_no_worse or keeps_r2):
        return check
    reason = "no worse than the champion" if is_no_worse else f"{KEPT_R2:.0%} of its R2 are kept"
    return msgspec.structs.replace(check, outcome="pass", note=f"over the limit, and {reason}")


def _package_checks(inputs: GateInputs, limits: GateLimits) -> list[GateCheck]:
    """Figures without chance: they hold or they do not."""
    measurements, promotion = inputs.measurements, limits.promotion
    parity = measurements.parity <= limits.parity
    fast = measurements.latency_seconds <= promotion.max_latency_seconds
    checks = [
        GateCheck("parity", "largest difference of ONNX from the original", _exact(parity), measurements.parity,
                  "at most", limits.parity),
        GateCheck("latency", "processor seconds for one row, 99 % of calls", _exact(fast), measurements.latency_seconds,
                  "at most", promotion.max_latency_seconds, challenger=measurements.latency_seconds,
                  champion=inputs.champion_latency_seconds),
    ]  # fmt: skip
    for name, direction in promotion.directions.items():
        title = f"mean change of the prediction when {name} rises"
        step = measurements.steps[name]
        if direction == "up":
            checks.append(GateCheck(f"direction_{name}", title, _exact(step >= 0), step, "at least", 0.0))
        else:
            checks.append(GateCheck(f"direction_{name}", title, _exact(step <= 0), step, "at most", 0.0))
    return checks


def _exact(holds: bool) -> Outcome:
    return "pass" if holds else "fail"


def _slices(masks: Mapping[str, Mask], rows: Bootstrap, promotion: Promotion) -> tuple[SegmentComparison, ...]:
    """Those with enough rows, each with an interval that is corrected for their number (Bonferroni)."""
    sizes = {name: int(mask.sum()) for name, mask in masks.items()}
    chosen = [name for name, size in sizes.items() if size >= promotion.min_segment_rows]
    confidence = 1 - (1 - promotion.confidence) / max(1, len(chosen))
    made = []
    for name in chosen:
        columns = f"new.absolute.{name}", f"old.absolute.{name}"
        ratio = rows.estimate(_ratio, *columns)
        low, high = ratio.between(confidence)
        weighted = rows.names.get(f"rows.{name}")
        size = sizes[name] if weighted is None else float(rows.whole[weighted])
        new, old = (float(rows.whole[rows.names[column]]) / size for column in columns)
        made.append(SegmentComparison(name, sizes[name], new, old, ratio.value, low, high))
    return tuple(made)


def _worst(slices: tuple[SegmentComparison, ...], limit: float, check: str, kind: str) -> GateCheck:
    """The worst of a kind. Some of many small ones look worse by chance: only a clear rise counts."""
    clear = [part for part in slices if part.ratio > limit and part.low > 1]
    worst = max(clear or slices, key=lambda part: part.ratio)
    outcome: Outcome = "pass"
    if clear:
        outcome = "fail" if any(part.low > limit for part in clear) else "inconclusive"
    return GateCheck(
        check,
        f"MAE of the worst {kind} ({worst.name}), new / old",
        outcome,
        worst.ratio,
        "at most",
        limit,
        worst.low,
        worst.high,
        worst.challenger,
        worst.champion,
        f"{worst.rows} rows" + ("; over the limit by chance" if outcome == "pass" and worst.ratio > limit else ""),
    )


def _proven(ratio: Estimate, limit: float, confidence: float, both: tuple[float, float]) -> GateCheck:
    """The MAE: the whole interval has to lie below the limit."""
    low, high = ratio.between(confidence)
    outcome: Outcome = "pass" if high < limit else "fail" if low > limit else "inconclusive"
    note = "both models answer alike" if low == high == 1 else ""
    return GateCheck("mae", "MAE, new / old", outcome, ratio.value, "below", limit, low, high, *both, note)


def _guard(
    name: str,
    title: str,
    figure: Estimate,
    rule: Literal["at most", "at least"],
    limit: float,
    confidence: float,
    both: tuple[float, float | None],
) -> GateCheck:
    low, high = figure.between(confidence)
    kept = figure.value <= limit if rule == "at most" else figure.value >= limit
    broken = low > limit if rule == "at most" else high < limit
    outcome: Outcome = "pass" if kept else "fail" if broken else "inconclusive"
    return GateCheck(name, title, outcome, figure.value, rule, limit, low, high, *both)
