"""The verdict: whether a new model may replace the one in service, with every figure beside its limit."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Outcome = Literal["pass", "fail", "inconclusive"]
SCHEMA_CHECK = "schema"
"""The gate's check that is inconclusive where the schema has a breaking change."""


class GateCheck(msgspec.Struct, frozen=True):
    """One figure beside its limit; `low` to `high` is the confidence interval of `number`, where there is one.

    `challenger` and `champion` are the figures of the two models, and `number` is what is compared with the limit.
    """

    name: str
    title: str
    outcome: Outcome
    number: float
    rule: Literal["at most", "below", "at least"]
    limit: float
    low: float | None = None
    high: float | None = None
    challenger: float | None = None
    champion: float | None = None
    note: str = ""


class SegmentComparison(msgspec.Struct, frozen=True):
    """A segment's mean absolute errors and their ratio; its confidence interval is corrected for their number."""

    name: str
    rows: int
    challenger: float
    champion: float
    ratio: float
    low: float
    high: float


class ComparedModel(msgspec.Struct, frozen=True):
    """A model of the comparison: its package and the data that it was trained on."""

    version: str
    sha256: str
    algorithm: str
    data_fingerprint: str
    created_at: str


class Verdict(msgspec.Struct, frozen=True):
    """What was compared, on which rows, and the outcome. `moment` is UTC, ISO 8601."""

    product: str
    outcome: Outcome
    reason: str
    checks: tuple[GateCheck, ...]
    slices: tuple[SegmentComparison, ...]
    method: Literal["backtest", "cross-validation", "given rows", "none"]
    how: str
    rows: int
    confidence: float
    data_fingerprint: str
    challenger: ComparedModel
    champion: ComparedModel | None
    revision: str
    moment: str


def may_be_approved(outcome: str, checks: Sequence[tuple[str, str]]) -> bool:
    """Whether a person may approve a model; `checks` are the names and outcomes of the gate's checks.

    One that passed, and one of a breaking change of the schema: the two models cannot be compared, and no check failed.
    """
    return outcome == "pass" or needs_approval(outcome, checks)


def needs_approval(outcome: str, checks: Sequence[tuple[str, str]]) -> bool:
    """Whether only a person can let a model into service, since its schema has a breaking change."""
    if outcome != "inconclusive" or any(result == "fail" for _, result in checks):
        return False
    return (SCHEMA_CHECK, "inconclusive") in checks


def encode(verdict: Verdict) -> bytes:
    """The verdict as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2)


def decode(content: bytes | str) -> Verdict:
    """Read what `encode` wrote; raises msgspec.ValidationError."""
    return msgspec.json.decode(content, type=Verdict)
