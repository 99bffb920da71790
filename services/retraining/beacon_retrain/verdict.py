"""The verdict: whether a new model may replace the one in service, with every figure beside its limit."""

from typing import Literal

import msgspec
from sqlalchemy import Engine, insert, select

from beacon_core.domain.times import read_time
from beacon_core.store import verdicts

Outcome = Literal["pass", "fail", "inconclusive"]


class Check(msgspec.Struct, frozen=True):
    """One figure beside its limit; `low` to `high` is the confidence interval of `number`, where there is one.

    `challenger` and `champion` are what each of them shows, and `number` is what is held to the limit.
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


class Slice(msgspec.Struct, frozen=True):
    """A segment's mean absolute errors and their ratio; its confidence interval is corrected for their number."""

    name: str
    rows: int
    challenger: float
    champion: float
    ratio: float
    low: float
    high: float


class Contestant(msgspec.Struct, frozen=True):
    """A model of the comparison: its package and the data that it was trained on."""

    version: str
    sha256: str
    algorithm: str
    data_fingerprint: str
    created_at: str


class Verdict(msgspec.Struct, frozen=True):
    """What was compared, on which rows, and what came of it. `moment` is UTC, ISO 8601."""

    product: str
    outcome: Outcome
    reason: str
    checks: tuple[Check, ...]
    slices: tuple[Slice, ...]
    method: Literal["backtest", "cross-validation", "none"]
    how: str
    rows: int
    confidence: float
    data_fingerprint: str
    challenger: Contestant
    champion: Contestant | None
    revision: str
    moment: str


def encode(verdict: Verdict) -> bytes:
    """The verdict as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2)


def decode(content: bytes | str) -> Verdict:
    """The verdict of `encode`; raises msgspec.ValidationError."""
    return msgspec.json.decode(content, type=Verdict)


def record(engine: Engine, verdict: Verdict) -> int:
    """Append the verdict to the store; returns its number."""
    row = {
        "moment": read_time(verdict.moment),
        "product": verdict.product,
        "version": verdict.challenger.version,
        "sha256": verdict.challenger.sha256,
        "champion_version": verdict.champion.version if verdict.champion else None,
        "outcome": verdict.outcome,
        "data_fingerprint": verdict.data_fingerprint,
        "verdict": msgspec.to_builtins(verdict),
    }
    with engine.begin() as connection:
        (number,) = connection.execute(insert(verdicts).values(row)).inserted_primary_key or (0,)
    return int(number)


def versions(engine: Engine, product: str) -> list[str]:
    """Every version that was ever judged."""
    with engine.connect() as connection:
        return list(connection.execute(select(verdicts.c.version).where(verdicts.c.product == product)).scalars())


def newest(engine: Engine, product: str, version: str, sha256: str = "") -> Verdict | None:
    """The last verdict on a model version (of that package digest, where one is given), or None."""
    wanted = select(verdicts.c.verdict).where(verdicts.c.product == product, verdicts.c.version == version)
    if sha256:
        wanted = wanted.where(verdicts.c.sha256 == sha256)
    with engine.connect() as connection:
        found = connection.execute(wanted.order_by(verdicts.c.id.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else msgspec.convert(found, Verdict)
