"""The gate: challenger against champion on the same rows. Pure: figures in, checks out.

The challenger has to prove one thing, a smaller mean absolute error; every other check is a guard that it must not
break. A figure on the wrong side of its limit fails only when the paired bootstrap says that chance does not explain
it, and is inconclusive otherwise.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.policy import Promotion
from beacon_core.domain.verdict import GateCheck, Outcome, SegmentComparison
from beacon_retraining.data.dataset import Matrix

DRAWS = 2000
CHUNK = 2_000_000  # weights drawn at once: 16 MB
Mask = NDArray[np.bool_]


class Answers(msgspec.Struct, frozen=True):
    """One model's answers to the evaluated rows, shape (rows,): with their interval, and with values taken away."""

    prediction: Matrix
    low: Matrix
    high: Matrix
    missing: Matrix


class Facts(msgspec.Struct, frozen=True):
    """What was measured of a package itself.

    `latency_seconds`: 99 % of one-row calls are faster. `parity`: largest difference from scikit-learn over all rows.
    `steps`: mean change of the prediction when a feature rises by the distance from median to upper quartile.
    """

    latency_seconds: float
    parity: float
    steps: dict[str, float]


class Evidence(msgspec.Struct, frozen=True):
    """All that the gate looks at; `segments` are slices of the rows, and `champion` is None for a first model."""

    target: Matrix
    challenger: Answers
    champion: Answers | None
    segments: Mapping[str, Mask]
    facts: Facts
    champion_latency_seconds: float | None = None


class Rules(msgspec.Struct, frozen=True):
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


class Resampled:
    """The evaluated rows and their bootstrap: every figure is a function of sums over rows.

    Weights are Poisson, which is the bootstrap of rows without holding their number; one draw weighs both models' rows
    alike, and so pairs them.
    """

    def __init__(self, columns: Mapping[str, Matrix], seed: int = 0, draws: int = DRAWS) -> None:
        self.names = {name: number for number, name in enumerate(columns)}
        table = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
        self.whole = table.sum(axis=0)
        generator = np.random.default_rng(seed)
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
    evidence: Evidence, rules: Rules, seed: int = 0
) -> tuple[tuple[GateCheck, ...], tuple[SegmentComparison, ...]]:
    """Every check of the evidence, and the slices behind the one of the worst segment."""
    limits = rules.promotion
    rows = Resampled(_columns(evidence, rules.large_residual), seed)
    count = len(evidence.target)
    checks = [
        GateCheck("rows", "rows evaluated", "pass" if count >= limits.min_rows else "inconclusive", count, "at least",
              limits.min_rows),
    ]  # fmt: skip
    slices: tuple[SegmentComparison, ...] = ()
    if evidence.champion is not None:
        slices = _slices(evidence, rows, limits)
        checks += _against_champion(rows, limits)
        checks += [_worst(slices, limits.max_segment_mae_ratio)] if slices else []
    checks += _of_itself(evidence, rows, limits)
    checks += _of_package(evidence, rules)
    return tuple(checks), slices


def conclude(checks: tuple[GateCheck, ...], *, first: bool) -> tuple[Outcome, str]:
    """The outcome of all checks and the reason in a sentence."""
    failed = [check.title for check in checks if check.outcome == "fail"]
    open_ = [check.title for check in checks if check.outcome == "inconclusive"]
    if failed:
        return "fail", f"over the limit: {', '.join(failed)}"
    if open_:
        return "inconclusive", f"not shown: {', '.join(open_)}"
    return "pass", "a first model, within every limit" if first else "clearly better, and within every limit"


def _columns(evidence: Evidence, large: float) -> dict[str, Matrix]:
    """What is summed, row by row."""
    target = evidence.target
    columns = {"one": np.ones(len(target)), "y": target, "yy": target**2}
    for name, answers in (("new", evidence.challenger), ("old", evidence.champion)):
        if answers is None:
            continue
        error = np.abs(target - answers.prediction)
        columns[f"{name}.absolute"] = error
        columns[f"{name}.squared"] = error**2
        columns[f"{name}.large"] = (error > large).astype(np.float64)
        columns[f"{name}.inside"] = ((answers.low <= target) & (target <= answers.high)).astype(np.float64)
        columns[f"{name}.missing"] = (target - answers.missing) ** 2
        for segment, mask in evidence.segments.items():
            columns[f"{name}.absolute.{segment}"] = error * mask
    return columns


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    return above / below


def _root(above: Matrix, below: Matrix) -> Matrix:
    return np.sqrt(above / below)


def _rise(new: Matrix, old: Matrix, rows: Matrix) -> Matrix:
    return (new - old) / rows


def _r2(squared: Matrix, y: Matrix, yy: Matrix, rows: Matrix) -> Matrix:
    return 1 - squared / (yy - y**2 / rows)


def _against_champion(rows: Resampled, limits: Promotion) -> list[GateCheck]:
    def both(figure: Callable[..., Matrix], column: str) -> tuple[float, float]:
        new, old = (rows.estimate(figure, f"{name}.{column}", "one").value for name in ("new", "old"))
        return new, old

    mae = rows.estimate(_ratio, "new.absolute", "old.absolute")
    return [
        _proof(mae, limits.max_mae_ratio, limits.confidence, both(_ratio, "absolute")),
        _guard(
            "rmse", "RMSE, new / old", rows.estimate(_root, "new.squared", "old.squared"), "at most",
            limits.max_rmse_ratio, limits.confidence, both(_root, "squared"),
        ),
        _guard(
            "large_residuals", "rise of the share of large residuals",
            rows.estimate(_rise, "new.large", "old.large", "one"), "at most", limits.max_large_residual_rise,
            limits.confidence, both(_ratio, "large"),
        ),
    ]  # fmt: skip


def _of_itself(evidence: Evidence, rows: Resampled, limits: Promotion) -> list[GateCheck]:
    """Checks that hold without a champion; its figure is shown where there is one."""

    def old(figure: Callable[..., Matrix], *columns: str) -> float | None:
        return None if evidence.champion is None else rows.estimate(figure, *columns).value

    r2 = rows.estimate(_r2, "new.squared", "y", "yy", "one")
    inside = rows.estimate(_ratio, "new.inside", "one")
    missing = rows.estimate(_root, "new.missing", "new.squared")
    old_r2, old_inside = old(_r2, "old.squared", "y", "yy", "one"), old(_ratio, "old.inside", "one")
    new_gaps, old_gaps = rows.estimate(_root, "new.missing", "one").value, old(_root, "old.missing", "one")
    return [
        _excused(
            _guard("r2", "R2", r2, "at least", limits.min_r2, limits.confidence, (r2.value, old_r2)),
            old_r2 is not None and r2.value >= old_r2,
        ),
        _excused(
            _guard("coverage", "coverage of the interval", inside, "at least", limits.min_coverage, limits.confidence,
                   (inside.value, old_inside)),
            old_inside is not None and inside.value >= old_inside,
        ),
        _excused(
            _guard("missing", "RMSE with a tenth of the values missing / with none", missing, "at most",
                   limits.max_missing_ratio, limits.confidence,
                   (missing.value, old(_root, "old.missing", "old.squared"))),
            old_gaps is not None and new_gaps <= old_gaps,
        ),
    ]  # fmt: skip


def _excused(check: GateCheck, no_worse: bool) -> GateCheck:
    """A guard that the champion breaks as badly is no reason to keep the champion."""
    if check.outcome == "pass" or not no_worse:
        return check
    return msgspec.structs.replace(check, outcome="pass", note="over the limit, and no worse than the champion")


def _of_package(evidence: Evidence, rules: Rules) -> list[GateCheck]:
    """Figures without chance: they hold or they do not."""
    facts, limits = evidence.facts, rules.promotion
    parity = facts.parity <= rules.parity
    fast = facts.latency_seconds <= limits.max_latency_seconds
    checks = [
        GateCheck("parity", "largest difference of ONNX from scikit-learn", _exact(parity), facts.parity, "at most",
              rules.parity),
        GateCheck("latency", "seconds for one row, 99 % of calls", _exact(fast), facts.latency_seconds, "at most",
              limits.max_latency_seconds, challenger=facts.latency_seconds,
              champion=evidence.champion_latency_seconds),
    ]  # fmt: skip
    for name, direction in limits.directions.items():
        title = f"mean change of the prediction when {name} rises"
        step = facts.steps[name]
        if direction == "up":
            checks.append(GateCheck(f"direction_{name}", title, _exact(step >= 0), step, "at least", 0.0))
        else:
            checks.append(GateCheck(f"direction_{name}", title, _exact(step <= 0), step, "at most", 0.0))
    return checks


def _exact(holds: bool) -> Outcome:
    return "pass" if holds else "fail"


def _slices(evidence: Evidence, rows: Resampled, limits: Promotion) -> tuple[SegmentComparison, ...]:
    """The segments that have enough rows; many are looked at, so each one's interval is wider (Bonferroni)."""
    sizes = {name: int(mask.sum()) for name, mask in evidence.segments.items()}
    chosen = [name for name, size in sizes.items() if size >= limits.min_segment_rows]
    confidence = 1 - (1 - limits.confidence) / max(1, len(chosen))
    made = []
    for name in chosen:
        columns = f"new.absolute.{name}", f"old.absolute.{name}"
        ratio = rows.estimate(_ratio, *columns)
        low, high = ratio.between(confidence)
        new, old = (float(rows.whole[rows.names[column]]) / sizes[name] for column in columns)
        made.append(SegmentComparison(name, sizes[name], new, old, ratio.value, low, high))
    return tuple(made)


def _worst(slices: tuple[SegmentComparison, ...], limit: float) -> GateCheck:
    """The worst segment. Of many small ones some look worse by chance: only a clear rise counts against the new."""
    clear = [part for part in slices if part.ratio > limit and part.low > 1]
    worst = max(clear or slices, key=lambda part: part.ratio)
    outcome: Outcome = "pass"
    if clear:
        outcome = "fail" if any(part.low > limit for part in clear) else "inconclusive"
    return GateCheck(
        "worst_segment",
        f"MAE of the worst segment ({worst.name}), new / old",
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


def _proof(ratio: Estimate, limit: float, confidence: float, both: tuple[float, float]) -> GateCheck:
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
