"""The ledger writer: each row goes into the outbox of the target's state store, and from there into the database.

So no row is lost to a database that is down or to a run that is killed: the next row or run ships the outbox.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from beacon_core.data import ledger
from beacon_core.data.database import DatabaseUnavailableError, Engine
from beacon_core.domain.ids import new_ids
from beacon_core.domain.ledger_entries import Action, Entry, Outcome, Reason, Step
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.platform import clock
from beacon_promotion.targets.base.target import StateStore

log = logging.getLogger(__name__)

OUTBOX = "ledger"
_decode = msgspec.json.Decoder(list[Entry]).decode
Reporter = Callable[[str], None]


class LedgerWriter:
    """Writes the ledger of one product and target; `report` gets each row in one line."""

    def __init__(self, engine: Engine, state: StateStore, product: str, target: str, report: Reporter) -> None:
        self.engine, self.state, self.product, self.target, self.report = engine, state, product, target, report

    def ship(self) -> bool:
        """Write the outbox into the database; False while that does not answer."""
        waiting = self._outbox()
        if not waiting:
            return True
        try:
            ledger.append_all(self.engine, waiting)
        except DatabaseUnavailableError as error:
            log.warning(
                "the ledger's rows stay in the outbox until the database answers", extra={"error": message_of(error)}
            )
            return False
        self.state.write(OUTBOX, None)
        return True

    def write(self, entry: Entry) -> None:
        """Write a row."""
        self.state.write(OUTBOX, msgspec.json.encode([*self._outbox(), entry]))
        self.ship()

    def _outbox(self) -> list[Entry]:
        content = self.state.read(OUTBOX)
        return [] if content is None else _decode(content)


class Run:
    """One run's rows: what is the same in all of them."""

    def __init__(
        self, writer: LedgerWriter, action: Action, actor: str, before: Pin | None, after: Pin | None, name: str = ""
    ) -> None:
        self.writer, self.action, self.actor = writer, action, actor
        self.before, self.after = before, after
        self.name = name or new_ids(1)[0]

    def row(
        self,
        step: Step,
        outcome: Outcome,
        serving: tuple[Pin, ...],
        message: str,
        reason: Reason | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> Entry:
        """Write one row and report it; a run has one row per step and outcome, however often it is written."""
        entry = Entry(
            key=f"{self.name}/{step}/{outcome}",
            run=self.name,
            moment=clock.now(),
            product=self.writer.product,
            target=self.writer.target,
            actor=self.actor,
            action=self.action,
            step=step,
            outcome=outcome,
            reason=reason,
            message=message,
            before=self.before,
            after=self.after,
            serving=serving,
            evidence=evidence,
        )
        self.writer.write(entry)
        self.writer.report(f"{step:<8}{outcome}: {message}")
        return entry
