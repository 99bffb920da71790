"""A run of the job: one pass over all there is to do, the wish of a person to go back, and the watch."""

import contextlib
import time
from collections.abc import Iterator

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data import approvals
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform.locks import BusyError
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_promotion.analysis import watch
from beacon_promotion.controller.candidates import choose, rejected
from beacon_promotion.controller.state_machine import Ended, Intent, Promoter
from beacon_promotion.ledger.book import Book, Tell
from beacon_promotion.targets.base.note_names import INTENT, STOP
from beacon_promotion.targets.base.target import Target

GATE = "the gate"
LOCK_SECONDS = 180.0
POLL_SECONDS = 0.5
WATCH_EVERY_SECONDS = 10.0


class Runs:
    """The job on one target."""

    def __init__(self, settings: Settings, product: Product, target: Target, engine: Engine, tell: Tell) -> None:
        self.settings, self.product, self.target, self.engine, self.tell = settings, product, target, engine, tell
        book = Book(engine, target.notes, product.name, target.name, tell)
        self.promoter = Promoter(target, book, product, settings.api_key)

    def once(self, version: str = "", actor: str = "", patience: float = 0.0) -> Ended | None:
        """All there is to do now: recover, a person's rejection, the watch, a candidate. None when nothing was.

        Waits `patience` seconds for another run's end. Raises `BusyError`, `TargetUnavailableError`,
        `ReleaseFailedError`, `NoCandidateError`, and SQLAlchemyError for a store that is down, by when everything that
        needs no store is done.
        """
        with self._lock(patience):
            self.promoter.recover()
            self._settle()
            try:
                return self._taken_back() or self.promoter.watch() or self._promoted(version, actor)
            finally:
                self._settle()

    def watch(self) -> Ended | None:
        """Watch until the watch is over; how it ended, if it rolled back."""
        while watch.read(self.target.notes) is not None:
            time.sleep(WATCH_EVERY_SECONDS)
            try:
                with self.target.lock():
                    self.promoter.recover()
                    if (ended := self.promoter.watch()) is not None:
                        self._settle()
                        return ended
            except BusyError as error:
                self.tell(message_of(error))
        return None

    def roll_back(self, person: str, reason: str) -> Ended:
        """Go back from the model that answers users now; needs neither store nor MLflow.

        A promotion under way is ended; where its candidate answers users, that is what to go back from.
        Raises `BusyError` when the run at work does not end in time, `TargetUnavailableError`, `ReleaseFailedError`.
        """
        trial: Intent | None = None
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            trial = trial or self._trial()  # as it was when the person asked
            try:
                with self.target.lock():
                    return self._roll_back(person, reason, trial)
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                if trial is not None:
                    self.target.notes.write(STOP, person.encode())
            time.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _lock(self, patience: float) -> Iterator[None]:
        deadline = time.monotonic() + patience
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(self.target.lock())
                    break
                except BusyError:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(POLL_SECONDS)
            yield

    def _roll_back(self, person: str, reason: str, trial: Intent | None) -> Ended:
        self.promoter.recover()
        release = self.target.serving()
        bad = None if release is None else release.model
        if trial is not None and (trial.after == bad) != trial.seen:
            return self._left(person, reason, trial)
        if trial is not None and not trial.seen:
            self.tell(f"the trial of version {trial.after.version}, which no user saw, was ended")
        ended = self.promoter.roll_back(person, "by_hand", reason)
        if bad is not None:
            self._reject(bad.version, person, reason)
        self._settle()
        return ended

    def _left(self, person: str, reason: str, trial: Intent) -> Ended:
        """What a person wanted to go back from does not serve any more; another rollback would be one too many."""
        bad = trial.after if trial.seen else trial.before
        serves = self.promoter.good()[-1].version
        if bad is not None:
            self._reject(bad.version, person, reason)
            told = f"version {bad.version} answers nobody any more, version {serves} serves"
        else:
            told = f"version {serves} serves"
        self._settle()
        return Ended("rolled_back", "by_hand", f"{told}; to go back from that one, too, ask again")

    def _reject(self, version: str, person: str, reason: str) -> None:
        """Keep the model from coming back by itself, where the store answers; the ledger says it, too."""
        try:
            with self.engine.begin() as connection:
                approvals.decide(connection, self.product.name, version, approvals.REJECTED, person, reason)
        except (SQLAlchemyError, OSError, BeaconError) as error:
            self.tell(f"version {version} is not marked as rejected: {message_of(error)}")

    def _trial(self) -> Intent | None:
        """The promotion that is under way and not decided yet."""
        content = self.target.notes.read(INTENT)
        intent = None if content is None else msgspec.json.decode(content, type=Intent)
        return intent if intent is not None and (intent.action, intent.stage) == ("promote", "trying") else None

    def _taken_back(self) -> Ended | None:
        """Roll back what a person rejected while it serves, where there is a way back."""
        release = self.target.serving()
        if release is None or not [pin for pin in self.promoter.good() if pin != release.model]:
            return None
        try:
            with self.engine.connect() as connection:
                word = rejected(connection, release.model)
        except (SQLAlchemyError, OSError):
            return None  # the watch needs no store, and comes next
        return None if word is None else self.promoter.roll_back(word[0], "by_hand", word[1])

    def _promoted(self, version: str, actor: str) -> Ended:
        release = self.target.serving()
        with self.engine.connect() as connection:
            candidate = choose(connection, self.product, release.model if release else None, version)
        return self.promoter.promote(candidate, actor or candidate.approved_by or GATE)

    def _settle(self) -> None:
        try:
            self.promoter.settle(self.settings.mlflow_address)
        except RegistryUnavailableError as error:
            self.tell(f"the aliases are moved later: {message_of(error)}")
