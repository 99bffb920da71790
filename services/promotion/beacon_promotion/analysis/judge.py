"""The judgement on a phase: measures and limits in, pass, fail or inconclusive out, with every figure beside its limit.

Pure. A check fails where the new model is worse than the limit allows, and never where the old model is as bad. A phase
with too few requests is inconclusive, unless a check failed.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from beacon_core.domain.ledger_entries import Reason
from beacon_core.domain.policy import Rollout
from beacon_promotion.analysis.measurements import Labels, Measures, Side

Verdict = Literal["pass", "fail", "inconclusive"]
LEAST_FAILURES = 3
"""Fewer failures than this are chance, whatever their share."""

TINY = 1e-9
MB = 1e6


class LimitCheck(msgspec.Struct, frozen=True):
    """One figure beside its limit, and the old model's; `reason` is the ledger's reason if it fails."""

    reason: Reason
    title: str
    outcome: Verdict
    number: float
    limit: float
    old: float | None = None


class PhaseResult(msgspec.Struct, frozen=True):
    """The judgement on a phase: the outcome, the first limit that broke, a sentence, and every check."""

    outcome: Verdict
    reason: Reason | None
    sentence: str
    checks: tuple[LimitCheck, ...]


def judge(measures: Measures, limits: Rollout, slo_seconds: float) -> PhaseResult:
    """Judge one phase; `slo_seconds` is the limit of a first model's p99.

    The checks stand in the order in which they explain a failure best.
    """
    checks = tuple(_checks(measures, limits, slo_seconds))
    for outcome in ("fail", "inconclusive"):
        broken = next((check for check in checks if check.outcome == outcome), None)
        if broken is not None:
            return PhaseResult(broken.outcome, broken.reason, _sentence(broken), checks)
    requests = f"{measures.new.requests} requests"
    beside = "a first model" if measures.old is None else f"beside version {measures.old.pin.version}"
    return PhaseResult("pass", None, f"within every limit: {requests}, {beside}", checks)


def _checks(measures: Measures, limits: Rollout, slo_seconds: float) -> Iterator[LimitCheck]:
    new, old = measures.new, measures.old
    if measures.instances:
        others = sum(pin != new.pin for pin in measures.instances)
        yield _at_most("version_skew", "instances that serve another model", others, 0)
    if measures.golden is not None:
        yield _at_most("golden_mismatch", "golden requests with a wrong answer", measures.golden.wrong, 0)
    yield from _failures(new, old, limits)
    if new.memory is not None and old is not None and old.memory:
        allowed = max(limits.max_memory_ratio * old.memory, old.memory + limits.min_memory_rise_mb * MB)
        yield _at_most("memory", "resident memory in MB", new.memory / MB, allowed / MB, old.memory / MB)
    if (found := _latency(new, old, limits, slo_seconds)) is not None:
        yield found
    yield from _answers(measures, limits)
    if (known := measures.labels) is not None and known.old and known.rows >= limits.min_labels:
        yield _at_most(
            "realised_error",
            "mean absolute error, new / old",
            _ratio(known.new, known.old),
            limits.max_error_ratio,
            known.old,
        )
    few = min(new.requests, old.requests if old is not None else new.requests)
    outcome: Verdict = "pass" if few >= limits.min_requests else "inconclusive"
    yield LimitCheck("too_few_samples", "requests", outcome, few, limits.min_requests)


def _failures(new: Side, old: Side | None, limits: Rollout) -> Iterator[LimitCheck]:
    """Failures are counted against no fewer requests than a phase needs: a few of a few prove nothing."""
    rows = max(new.requests, limits.min_requests, 1)
    before = 0.0 if old is None else old.failures / max(old.requests, limits.min_requests, 1)
    limit = limits.max_failure_share + before
    for reason, title, count in (
        ("not_finite", "share of answers that are not finite", new.not_finite),
        ("error_rate", "share of requests that failed", new.failures),
    ):
        outcome: Verdict = "fail" if count >= LEAST_FAILURES and count / rows > limit else "pass"
        yield LimitCheck(reason, title, outcome, count / rows, limit, before)  # type: ignore[arg-type]


def _latency(new: Side, old: Side | None, limits: Rollout, slo_seconds: float) -> LimitCheck | None:
    """N of M windows must be slow: a busy moment of the machine is not the model's."""
    needed, of = limits.windows
    if len(new.p99) < of:
        return None
    if old is None:
        allowed = [slo_seconds] * len(new.p99)
    elif len(old.p99) < len(new.p99):
        return None
    else:
        allowed = [max(limits.max_p99_ratio * was, was + limits.min_p99_rise_seconds) for was in old.p99]
    slow = sum(now > most for now, most in zip(new.p99, allowed, strict=False))
    outcome: Verdict = "fail" if slow * of >= needed * len(new.p99) else "pass"
    usual = None if old is None else _middle(old.p99)
    return LimitCheck("latency", "p99 in seconds", outcome, _middle(new.p99), _middle(tuple(allowed)), usual)


def _answers(measures: Measures, limits: Rollout) -> Iterator[LimitCheck]:
    """The distribution of the answers against the old model's; of a first model only that it has one."""
    new, old = measures.new, measures.old
    enough = new.requests >= limits.min_requests
    if new.spread is not None and enough:
        was = None if old is None else old.spread
        least = 0.0 if was is None else limits.min_spread_ratio * was
        collapsed = new.spread <= least and (was is None or new.spread < was)
        outcome: Verdict = "fail" if collapsed else "pass"
        yield LimitCheck("output_collapse", "standard deviation of the answers", outcome, new.spread, least, was)
    if old is None or not enough:
        return
    if measures.agreement is not None and measures.pairs >= limits.min_requests:
        outcome = "pass" if measures.agreement >= limits.min_agreement else "fail"
        yield LimitCheck(
            "output_disagreement",
            "correlation with the old model's answers",
            outcome,
            measures.agreement,
            limits.min_agreement,
        )
    if new.out_of_range is not None and old.out_of_range is not None:
        rise = new.out_of_range - old.out_of_range
        yield _at_most("out_of_range", "rise of the share out of range", rise, limits.max_out_of_range_rise)
    if new.mean is not None and old.mean is not None:
        scale = max(abs(old.mean), old.spread or 0.0)
        shift = _ratio(abs(new.mean - old.mean), scale)
        found = _at_most(
            "output_shift", "shift of the mean answer / the old one", shift, limits.max_mean_shift, old.mean
        )
        # Where the truth is known and the new model is nearer to it, its distance from the old one is no fault.
        yield msgspec.structs.replace(found, outcome="pass") if _nearer(measures.labels, limits) else found


def _nearer(known: Labels | None, limits: Rollout) -> bool:
    return known is not None and known.old is not None and known.rows >= limits.min_labels and known.new < known.old


def _at_most(reason: Reason, title: str, number: float, limit: float, old: float | None = None) -> LimitCheck:
    return LimitCheck(reason, title, "pass" if number <= limit else "fail", number, limit, old)


def _ratio(above: float, below: float) -> float:
    """A ratio that stays a number when there is nearly nothing below."""
    return above / max(below, TINY)


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


def _sentence(check: LimitCheck) -> str:
    beside = "" if check.old is None else f" (the old model: {check.old:.4g})"
    return f"{check.title}: {check.number:.4g}, the limit is {check.limit:.4g}{beside}"
