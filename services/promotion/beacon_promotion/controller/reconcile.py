"""A run of the job: one reconcile pass, a person's rollback, and the watch."""

import contextlib
import time
from collections.abc import Iterator

import msgspec

from beacon_core.data import approvals
from beacon_core.data.approvals import LENGTHS
from beacon_core.data.champion import champion
from beacon_core.data.database import DatabaseUnavailableError, Engine, mapped_errors
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.model_package.release import Release
from beacon_core.platform.locks import BusyError
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_promotion.analysis import watch
from beacon_promotion.controller.candidates import NoCandidateError, rejected, select_candidate
from beacon_promotion.controller.state_keys import INTENT, STOP
from beacon_promotion.controller.state_machine import Ended, Intent, Promoter
from beacon_promotion.ledger.writer import LedgerWriter, Reporter
from beacon_promotion.targets.base.target import PromotionTarget

GATE = "the gate"
LOCK_SECONDS = 180.0
POLL_SECONDS = 0.5
WATCH_EVERY_SECONDS = 10.0


class Reconciler:
    """Makes one target serve what the verdicts, the approvals and the watch decide."""

    def __init__(
        self, settings: Settings, product: Product, target: PromotionTarget, engine: Engine, report: Reporter
    ) -> None:
        self.settings, self.product, self.target, self.engine, self.report = settings, product, target, engine, report
        writer = LedgerWriter(engine, target.state, product.name, target.name, report)
        self.promoter = Promoter(target, writer, product, settings.api_key)

    def reconcile(self, version: str = "", actor: str = "", patience: float = 0.0) -> Ended | None:
        """One pass: recover, obey a rejection, watch, promote a candidate. None when there was nothing to do.

        Waits `patience` seconds for another run's end. Raises `BusyError`, `TargetUnavailableError`,
        `ReleaseFailedError`, `NoCandidateError`, and `DatabaseUnavailableError` after what needs no database.
        """
        with self._lock(patience):
            self.promoter.recover()
            self._reconcile_aliases()
            try:
                if self.target.releases_first and self.target.serving() is None:
                    self._release_first()
                return self._roll_back_rejected() or self.promoter.watch() or self._promote(version, actor)
            finally:
                self._reconcile_aliases()

    def release_first(self) -> str:
        """Let a model serve where none does; returns what serves, as a sentence.

        Raises `NoCandidateError` where there is no model yet, and what `reconcile` raises.
        """
        with mapped_errors():
            if champion(self.engine, self.product.name) is None:
                raise NoCandidateError("there is no model yet")  # asked each second: without the lock
        with self._lock(0.0):
            self.promoter.recover()
            release = self.target.serving()
            if release is None:
                release = self._release_first()
                self._reconcile_aliases()
            return f"version {release.model.version} serves"

    def watch(self) -> Ended | None:
        """Watch until the watch is over; returns how the rollback ended, if there was one."""
        while watch.read(self.target.state) is not None:
            time.sleep(WATCH_EVERY_SECONDS)
            try:
                with self.target.lock():
                    self.promoter.recover()
                    if (ended := self.promoter.watch()) is not None:
                        self._reconcile_aliases()
                        return ended
            except BusyError as error:
                self.report(message_of(error))
        return None

    def roll_back(self, person: str, reason: str) -> Ended:
        """Roll back the model that answers users now; needs neither database nor MLflow.

        Ends a promotion under way; where its candidate answers users, that is the model that is rolled back.
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
                    self.target.state.write(STOP, person.encode())
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
            return self._already_rolled_back(person, reason, trial)
        if trial is not None and not trial.seen:
            self.report(f"the trial of version {trial.after.version}, which no user saw, was ended")
        ended = self.promoter.roll_back(person, "by_hand", reason)
        if bad is not None:
            self._reject(bad.version, person, reason)
        self._reconcile_aliases()
        return ended

    def _already_rolled_back(self, person: str, reason: str, trial: Intent) -> Ended:
        """Report that the model to roll back no longer serves; another rollback would be one too many."""
        bad = trial.after if trial.seen else trial.before
        serves = self.promoter.good()[-1].version
        if bad is not None:
            self._reject(bad.version, person, reason)
            state = f"version {bad.version} answers nobody any more, version {serves} serves"
        else:
            state = f"version {serves} serves"
        self._reconcile_aliases()
        return Ended("rolled_back", "by_hand", f"{state}; to roll that one back, too, repeat the command")

    def _reject(self, version: str, person: str, reason: str) -> None:
        """Reject the model, if the database answers, so that it is not promoted again; the ledger has it, too."""
        try:
            with mapped_errors(), self.engine.begin() as connection:
                approvals.decide(connection, self.product.name, version, approvals.REJECTED, person, reason)
        except (DatabaseUnavailableError, BeaconError) as error:
            self.report(f"version {version} is not marked as rejected: {message_of(error)}")

    def _trial(self) -> Intent | None:
        """The promotion that is under way and not decided yet."""
        content = self.target.state.read(INTENT)
        intent = None if content is None else msgspec.json.decode(content, type=Intent)
        return intent if intent is not None and (intent.action, intent.stage) == ("promote", "trying") else None

    def _roll_back_rejected(self) -> Ended | None:
        """Roll back the model in service if a person rejected it and there is a way back."""
        release = self.target.serving()
        if release is None or not [pin for pin in self.promoter.good() if pin != release.model]:
            return None
        try:
            with mapped_errors(), self.engine.connect() as connection:
                rejection = rejected(connection, release.model)
        except DatabaseUnavailableError:
            return None  # the watch needs no database, and comes next
        return None if rejection is None else self.promoter.roll_back(rejection[0], "by_hand", rejection[1])

    def _release_first(self) -> Release:
        """Release the last good model, else the first one that the store names. No trial: there is no other one."""
        good = self.promoter.good()
        with mapped_errors():
            pin = good[-1] if good else champion(self.engine, self.product.name)
        if pin is None:
            raise NoCandidateError("there is no model yet")
        self.target.package(pin)
        self.target.release(pin)
        self.promoter.recover()  # which adopts it
        return Release(pin)

    def _promote(self, version: str, actor: str) -> Ended:
        release = self.target.serving()
        with mapped_errors(), self.engine.connect() as connection:
            candidate = select_candidate(connection, self.product, release.model if release else None, version)
        # Two names may be longer than the ledger's column; its evidence has them whole.
        return self.promoter.promote(candidate, (actor or candidate.approved_by or GATE)[: LENGTHS["person"]])

    def _reconcile_aliases(self) -> None:
        try:
            self.promoter.reconcile_aliases(self.settings.mlflow_address)
        except RegistryUnavailableError as error:
            self.report(f"the aliases are moved later: {message_of(error)}")
