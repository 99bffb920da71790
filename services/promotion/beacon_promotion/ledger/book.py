"""Writing the ledger: every row first into the target's notes, then into the store, where it answers.

So no row is lost to a store that is down or to a run that is killed: what is owed is shipped by the next row or run.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data import ledger
from beacon_core.domain.ids import new_ids
from beacon_core.domain.ledger_entries import Action, Entry, Outcome, Reason, Step
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.platform import clock
from beacon_promotion.targets.base.target import Notes

log = logging.getLogger(__name__)

OWED = "ledger"
_decode = msgspec.json.Decoder(list[Entry]).decode
Tell = Callable[[str], None]


class Book:
    """The ledger of one product and target."""

    def __init__(self, engine: Engine, notes: Notes, product: str, target: str, tell: Tell) -> None:
        self.engine, self.notes, self.product, self.target, self.tell = engine, notes, product, target, tell

    def ship(self) -> bool:
        """Bring what is owed to the store; False while the store does not answer."""
        owed = self._owed()
        if not owed:
            return True
        try:
            with self.engine.begin() as connection:
                for entry in owed:
                    ledger.append(connection, entry)
        except (SQLAlchemyError, OSError) as error:
            log.warning("the ledger's rows are kept until the store answers", extra={"error": message_of(error)})
            return False
        self.notes.write(OWED, None)
        return True

    def keep(self, entry: Entry) -> None:
        """Write a row."""
        self.notes.write(OWED, msgspec.json.encode([*self._owed(), entry]))
        self.ship()

    def _owed(self) -> list[Entry]:
        owed = self.notes.read(OWED)
        return [] if owed is None else _decode(owed)


class Run:
    """One run's rows: what is the same in all of them, and their numbers."""

    def __init__(
        self, book: Book, action: Action, actor: str, before: Pin | None, after: Pin | None, name: str = ""
    ) -> None:
        self.book, self.action, self.actor = book, action, actor
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
        """Write one row and say it; of a step and outcome there is one a run, however often it is written."""
        entry = Entry(
            key=f"{self.name}/{step}/{outcome}",
            run=self.name,
            moment=clock.now(),
            product=self.book.product,
            target=self.book.target,
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
        self.book.keep(entry)
        self.book.tell(f"{step:<8}{outcome}: {message}")
        return entry
