"""The state machine: recover -> check -> dark -> shadow -> canary -> release -> verify -> kept, or back again.

What is under way is in the note `intent` before anything changes, so that a run that died is ended by the next one: a
model that was not yet verified is taken back, one that was is kept, and a rollback is brought to its end.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.domain.ledger_entries import Action, Reason
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.release import Release
from beacon_core.observability.tracing import span
from beacon_core.platform import clock
from beacon_promotion.analysis import phases, watch
from beacon_promotion.analysis.judge import Finding, judge
from beacon_promotion.analysis.measurements import Labels, Measures
from beacon_promotion.analysis.phases import Order
from beacon_promotion.controller import registry
from beacon_promotion.controller.candidates import Candidate, rejected
from beacon_promotion.controller.registry import Aliases
from beacon_promotion.ledger.book import Book, Run
from beacon_promotion.targets.base.note_names import GOOD, INTENT, STOP
from beacon_promotion.targets.base.target import ReleaseFailedError, Target

MOST_GOOD = 12
"""Models that can be gone back to, one after the other; a target keeps what it needs for so many."""
UNPROVEN = frozenset({"too_few_samples", "by_hand", "interrupted", "target_down"})
"""Reasons that say nothing against a model: it is kept out for now, and not refused."""


class Intent(msgspec.Struct, frozen=True):
    """What is under way. `stage`: `trying` may be taken back, `keeping` is decided and only has to be written.

    `seen`: users are answered by `after`, some of them or all.
    """

    run: str
    action: Action
    actor: str
    before: Pin | None
    after: Pin
    stage: Literal["trying", "keeping"] = "trying"
    reason: Reason | None = None
    message: str = ""
    seen: bool = False


EndName = Literal["promoted", "rolled_back", "kept", "refused"]
PhaseName = Literal["dark", "shadow", "canary"]


class Ended(msgspec.Struct, frozen=True):
    """How a run ended."""

    outcome: EndName
    reason: Reason | None
    message: str


class Promoter:
    """Promotes and takes back on one target; every method is called by the holder of its lock."""

    def __init__(self, target: Target, book: Book, product: Product, api_key: str = "") -> None:
        self.target, self.book, self.product, self.api_key = target, book, product, api_key
        self.notes = target.notes
        self._known: Labels | None = None  # what the truth says of the candidate, once the dark phase has asked

    def recover(self) -> None:
        """End what an earlier run left half done, and take note of a release that somebody else made."""
        mended = self.target.recover()
        for sentence in mended:
            self.book.tell(f"recovered: {sentence}")
        if (intent := self._intent()) is not None:
            self._end_of(intent)
        self.notes.write(STOP, None)
        self._adopt()
        self.book.ship()

    def promote(self, candidate: Candidate, actor: str) -> Ended:
        """Try the candidate, phase by phase; whatever happens, one model serves at the end and the ledger says why."""
        release = self.target.serving()
        old, new = None if release is None else release.model, candidate.pin
        run = Run(self.book, "promote", actor, old, new)
        self._known = None
        serving = () if old is None else (old,)
        evidence = {"verdict": candidate.verdict, "approved_by": candidate.approved_by}
        run.row("begin", "begun", serving, f"version {new.version}: {candidate.reason}", evidence=evidence)
        try:
            manifest = self.target.package(new).manifest
            if manifest.schema_hash != self.product.schema_hash:
                raise ReleaseFailedError("schema_mismatch", f"version {new.version} was trained on another schema")
            self.target.check(old, new)
        except ReleaseFailedError as error:
            run.row("check", "fail", serving, str(error), error.reason)
            return self._kept_out(run, serving, "refused", error.reason, str(error))
        run.row("check", "pass", serving, "the package is whole, and there is a way back")
        order = Order(self.target, self.product, self.book.engine, old, new, manifest, self._wanted_back, self.api_key)
        self._intend(Intent(run.name, "promote", actor, old, new))
        try:
            for name, phase in PHASES:
                if (ended := self._phase(run, order, name, phase)) is not None:
                    return ended
            return self._release(run, order)
        except ReleaseFailedError as error:
            return self._back(run, old, error.reason, str(error))

    def roll_back(self, actor: str, reason: Reason, message: str, action: Action = "roll_back") -> Ended:
        """Go back to the last good model; needs the target alone.

        Raises `ReleaseFailedError` when there is no way back.
        """
        release = self.target.serving()
        bad = None if release is None else release.model
        good = [pin for pin in self.good() if pin != bad]
        if not good:
            raise ReleaseFailedError("no_way_back", "there is no earlier good model to go back to")
        return self._roll_back(Run(self.book, action, actor, bad, good[-1]), good[-1], reason, message)

    def watch(self) -> Ended | None:
        """One pass of the watch over the newest promotion; how it ended, if it did."""
        watched, release = watch.read(self.notes), self.target.serving()
        if watched is None:
            return None
        if release is None or release.model != watched.pin:
            self.notes.write(watch.NOTE, None)
            return None
        measures = watch.look(self.target, self.product, self.book.engine, watched, self.api_key)
        finding = self._judge(measures)
        over = clock.now() >= watched.until
        if finding.outcome != "fail" and not over:
            return None
        run = Run(self.book, "watch", "the watch", watched.before, watched.pin, watched.run)
        evidence = _evidence(measures, finding)
        run.row("watch", finding.outcome, (watched.pin,), finding.sentence, finding.reason, evidence)
        if finding.outcome == "fail":
            return self.roll_back("the watch", finding.reason or "error_rate", finding.sentence, "watch")
        self.notes.write(watch.NOTE, None)
        return None

    def good(self) -> list[Pin]:
        """The models that were good enough to be kept, in order; the last one is in service."""
        content = self.notes.read(GOOD)
        return [] if content is None else msgspec.json.decode(content, type=list[Pin])

    def settle(self, address: str) -> None:
        """Move the aliases that are owed; raises `RegistryUnavailableError`."""
        if (moved := registry.settle(self.notes, address)) is not None:
            self.book.tell(f"aliases: champion {moved.champion}, previous {moved.previous or 'none'}")

    def _phase(
        self, run: Run, order: Order, name: PhaseName, phase: Callable[[Order], Measures | None]
    ) -> Ended | None:
        """One phase; None where the candidate may go on."""
        serving = () if order.old is None else (order.old,)
        seen = name == "canary" and self.target.splits and order.old is not None
        if seen:
            self._shown(run, order)
            run.row("canary", "begun", (*serving, order.new), "the candidate answers a share of the users")
        try:
            with span(name, {"beacon.version": order.new.version}):
                measures = phase(order)
        except ReleaseFailedError as error:
            run.row(name, "fail", serving, str(error), error.reason)
            return self._back(run, order.old, error.reason, str(error), seen=seen)
        if (word := self._objection(order.new)) is not None:
            return self._back(run, order.old, "by_hand", word, seen=seen)
        if measures is None:
            if seen:
                run.row("canary", "inconclusive", serving, "no user asked", "too_few_samples")
            return None
        self._known = measures.labels or self._known
        measures = msgspec.structs.replace(measures, labels=self._known)
        finding = self._judge(measures)
        run.row(name, finding.outcome, serving, finding.sentence, finding.reason, _evidence(measures, finding))
        # The users' requests may be too few to say anything: what was asked in the dark has said it already.
        if finding.outcome == "pass" or (finding.outcome == "inconclusive" and name != "dark"):
            return None
        return self._back(run, order.old, finding.reason, finding.sentence, seen=seen)

    def _release(self, run: Run, order: Order) -> Ended:
        new, both = order.new, tuple(pin for pin in (order.old, order.new) if pin is not None)
        marks = watch.marks_of(self.target)
        self._shown(run, order)
        run.row("release", "begun", both, f"version {new.version} goes to every instance")
        with span("release", {"beacon.version": new.version}):
            self.target.release(new)
        run.row("release", "pass", (new,), f"every instance serves version {new.version}")
        with span("verify", {"beacon.version": new.version}):
            measures = phases.verify(order)
        finding = self._judge(measures, few_are_enough=True)
        told = finding.sentence
        if finding.outcome == "pass":
            told = f"{measures.new.requests} golden requests right on {len(measures.instances)} instances"
        run.row("verify", finding.outcome, (new,), told, finding.reason, _evidence(measures, finding))
        if finding.outcome != "pass":
            return self._back(run, order.old, finding.reason, told)
        if (word := self._objection(new)) is not None:
            return self._back(run, order.old, "by_hand", word)
        watch.begin(self.target, run.name, order.old, new, marks, self.product.policy.rollout.watch_seconds)
        message = f"version {new.version} serves"
        self._intend(Intent(run.name, "promote", run.actor, order.old, new, "keeping", None, message))
        return self._keep(run, new, message)

    def _judge(self, measures: Measures, *, few_are_enough: bool = False) -> Finding:
        limits = self.product.policy.rollout
        if few_are_enough:
            limits = msgspec.structs.replace(limits, min_requests=0)
        return judge(measures, limits, self.product.policy.serving.latency_slo_seconds)

    def _keep(self, run: Run, new: Pin, message: str) -> Ended:
        good = [*[pin for pin in self.good() if pin != new], new][-MOST_GOOD:]
        self._close(good)
        run.row("end", "promoted", (new,), message)
        self.notes.write(INTENT, None)
        return Ended("promoted", None, message)

    def _back(self, run: Run, old: Pin | None, reason: Reason | None, message: str, *, seen: bool = False) -> Ended:
        """End a try: the old model serves alone, as it did before. `seen`: users were answered by the candidate."""
        release = self.target.serving()
        if old is not None and release is not None and release != Release(model=old):
            seen = seen or release.model != old
            run.row("release", "fail", (old, release.model), f"back to version {old.version}: {message}", reason)
            self.target.restore(old)
        elif old is None and release is not None:
            message = f"{message}; it is the first model, and there is no other one to serve"
        serving = old or (release.model if release is not None else None)
        outcome: EndName = "rolled_back" if seen else "kept" if reason in UNPROVEN else "refused"
        return self._kept_out(run, () if serving is None else (serving,), outcome, reason, message)

    def _kept_out(
        self, run: Run, serving: tuple[Pin, ...], outcome: EndName, reason: Reason | None, message: str
    ) -> Ended:
        watched = watch.read(self.notes)
        if watched is not None and watched.pin == run.after:
            self.notes.write(watch.NOTE, None)
        run.row("end", outcome, serving, message, reason)
        self.notes.write(INTENT, None)
        return Ended(outcome, reason, message)

    def _roll_back(self, run: Run, good: Pin, reason: Reason, message: str) -> Ended:
        bad = run.before
        self._intend(Intent(run.name, run.action, run.actor, bad, good, "trying", reason, message))
        both = tuple(pin for pin in (bad, good) if pin is not None)
        run.row("release", "begun", both, f"back to version {good.version}: {message}", reason)
        self.target.restore(good)
        known = self.good()
        self._close(known[: known.index(good) + 1] if good in known else [*known, good])
        self.notes.write(watch.NOTE, None)
        run.row("end", "rolled_back", (good,), message, reason)
        self.notes.write(INTENT, None)
        return Ended("rolled_back", reason, f"version {good.version} serves again: {message}")

    def _close(self, good: list[Pin]) -> None:
        """Write down what is good now, and where the aliases have to go."""
        self.notes.write(GOOD, msgspec.json.encode(good))
        previous = good[-2].version if len(good) > 1 else None
        registry.owe(self.notes, Aliases(self.product.name, good[-1].version, previous))

    def _end_of(self, intent: Intent) -> None:
        """End an earlier run's work."""
        run = Run(self.book, intent.action, intent.actor, intent.before, intent.after, intent.run)
        if intent.action != "promote":
            self._roll_back(run, intent.after, intent.reason or "interrupted", intent.message)
        elif intent.stage == "keeping":
            self._keep(run, intent.after, intent.message)
        else:
            self._back(run, intent.before, "interrupted", "the run that promoted it died; it is tried again")

    def _adopt(self) -> None:
        """What serves and was not put there by a promotion is taken as the good model of the moment."""
        release, good = self.target.serving(), self.good()
        if release is None or (good and good[-1] == release.model):
            return
        model = release.model
        run = Run(self.book, "adopt", "somebody else", good[-1] if good else None, model)
        run.row("adopt", "pass", (model,), f"version {model.version} serves, and no promotion put it there")
        self._close([*[pin for pin in good if pin != model], model][-MOST_GOOD:])

    def _intent(self) -> Intent | None:
        content = self.notes.read(INTENT)
        return None if content is None else msgspec.json.decode(content, type=Intent)

    def _intend(self, intent: Intent) -> None:
        self.notes.write(INTENT, msgspec.json.encode(intent))

    def _shown(self, run: Run, order: Order) -> None:
        """Note that users are answered by the candidate from now on."""
        self._intend(Intent(run.name, "promote", run.actor, order.old, order.new, seen=True))

    def _wanted_back(self) -> bool:
        return self.notes.read(STOP) is not None

    def _objection(self, pin: Pin) -> str | None:
        """What a person has said meanwhile against going on with the candidate."""
        if (person := self.notes.read(STOP)) is not None:
            return f"{person.decode()} asked for a rollback meanwhile"
        try:
            with self.book.engine.connect() as connection:
                word = rejected(connection, pin)
        except (SQLAlchemyError, OSError):
            return None
        return None if word is None else f"{word[0]} rejected it meanwhile: {word[1]}"


PHASES: tuple[tuple[PhaseName, Callable[[Order], Measures | None]], ...] = (
    ("dark", phases.dark),
    ("shadow", phases.shadow),
    ("canary", phases.canary),
)


def _evidence(measures: Measures, finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(
        {"checks": finding.checks, "measures": msgspec.structs.replace(measures, instances=())}
    )
    return found
