"""The verdicts in the store: appended, never changed."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, insert, select

from beacon_core.data.tables import verdicts
from beacon_core.domain.pins import Pin
from beacon_core.domain.times import read_time
from beacon_core.domain.verdict import Verdict, may_be_approved, needs_approval


class RecordedVerdict(NamedTuple):
    """A row of the verdicts; `verdict` is the whole of it, as the gate wrote it."""

    id: int
    moment: datetime
    version: str
    sha256: str
    champion_version: str | None
    outcome: str
    verdict: dict[str, Any]

    @property
    def reason(self) -> str:
        """The gate's reason, one sentence."""
        return str(self.verdict.get("reason", ""))

    @property
    def needs_approval(self) -> bool:
        """Whether only a person can let the model into service."""
        return needs_approval(self.outcome, check_outcomes(self.verdict))

    @property
    def may_be_approved(self) -> bool:
        """Whether a person may approve the model."""
        return may_be_approved(self.outcome, check_outcomes(self.verdict))


def check_outcomes(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """The name and the outcome of each check of a verdict, as the column `verdict` has it."""
    return [(str(check.get("name")), str(check.get("outcome"))) for check in verdict.get("checks", ())]


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


def pins(connection: Connection, product: str) -> list[Pin]:
    """Every package that was ever judged, each once, the oldest verdict first."""
    query = select(verdicts.c.version, verdicts.c.sha256).where(verdicts.c.product == product).order_by(verdicts.c.id)
    return list(dict.fromkeys(Pin(product, version, sha256) for version, sha256 in connection.execute(query)))


def newest(engine: Engine, product: str, version: str, sha256: str = "") -> Verdict | None:
    """The last verdict on a model version (of that package digest, where one is given), or None."""
    wanted = select(verdicts.c.verdict).where(verdicts.c.product == product, verdicts.c.version == version)
    if sha256:
        wanted = wanted.where(verdicts.c.sha256 == sha256)
    with engine.connect() as connection:
        found = connection.execute(wanted.order_by(verdicts.c.id.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else msgspec.convert(found, Verdict)


def history(connection: Connection, product: str, most: int, version: str | None = None) -> list[RecordedVerdict]:
    """List the newest verdicts, the newest first; of one version or of all."""
    query = select(*[verdicts.c[name] for name in RecordedVerdict._fields]).where(verdicts.c.product == product)
    if version is not None:
        query = query.where(verdicts.c.version == version)
    return [RecordedVerdict(*row) for row in connection.execute(query.order_by(verdicts.c.id.desc()).limit(most))]
