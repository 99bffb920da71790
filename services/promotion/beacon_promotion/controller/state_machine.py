"""The state machine: recover -> check -> dark -> shadow -> canary -> release -> verify -> kept, or back again.

What is under way is in the state store as `intent` before anything changes, so that the next run ends what a killed run
began: a model that was not yet verified is rolled back, one that was is kept, and a rollback is completed.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, mapped_errors
from beacon_core.domain.ledger_entries import Action, Reason
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.schema import is_breaking
from beacon_core.model_package.release import Release, ReleaseError
from beacon_core.observability.tracing import span
from beacon_core.platform import clock
from beacon_promotion.analysis import phases, watch
from beacon_promotion.analysis.judge import PhaseResult, judge
from beacon_promotion.analysis.measurements import Labels, Measures
from beacon_promotion.analysis.phases import PhaseOptions
from beacon_promotion.controller import aliases
from beacon_promotion.controller.aliases import Aliases
from beacon_promotion.controller.candidates import Candidate, rejected
from beacon_promotion.controller.state_keys import GOOD, INTENT, STOP
from beacon_promotion.ledger.writer import LedgerWriter, Run
from beacon_promotion.targets.base.target import PromotionTarget, ReleaseFailedError

MOST_GOOD = 12
"""How many models rollbacks can reach, one after the other; a target keeps what it needs for so many."""
NOT_COMPARED = (
    "the schema has a breaking change: each model gets requests of its own schema; their answers and errors are not "
    "compared, and no user's request is shared by shadow or canary"
)
UNPROVEN = frozenset({"too_few_samples", "by_hand", "interrupted", "target_down"})
"""Reasons that are no evidence against a model: the run ends as kept, and not as refused."""


class Intent(msgspec.Struct, frozen=True):
    """The run under way. `stage`: `trying` may be rolled back, `keeping` is decided and only has to be written.

    `seen`: `after` answers some users, or all.
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
    """promoted, rolled_back, kept (nothing speaks for the candidate) or refused."""
    reason: Reason | None
    """Why it was not promoted; null where it was."""
    message: str
    """The same as a sentence."""


class Promoter:
    """Promotes and rolls back on one target; every method is called by the holder of its lock."""

    def __init__(self, target: PromotionTarget, writer: LedgerWriter, product: Product, api_key: str = "") -> None:
        self.target, self.writer, self.product, self.api_key = target, writer, product, api_key
        self.state = target.state
        self._known: Labels | None = None  # the candidate's errors, once the dark phase knows them

    def recover(self) -> None:
        """End what an earlier run left half done, and adopt a release that somebody else made."""
        for sentence in self.target.recover():
            self.writer.report(f"recovered: {sentence}")
        self._restore_damaged_release()
        if (intent := self._intent()) is not None:
            self._finish(intent)
        self.state.write(STOP, None)
        self._adopt()
        self.writer.ship()

    def promote(self, candidate: Candidate, actor: str) -> Ended:
        """Try the candidate, phase by phase; whatever happens, one model serves at the end and the ledger says why."""
        release = self.target.serving()
        old, new = None if release is None else release.model, candidate.pin
        run = Run(self.writer, "promote", actor, old, new)
        self._known = None
        serving = () if old is None else (old,)
        evidence = {"verdict": candidate.verdict, "approved_by": candidate.approved_by}
        run.row("begin", "begun", serving, f"version {new.version}: {candidate.reason}", evidence=evidence)
        try:
            manifest = self.target.package(new).manifest
            if is_breaking(manifest.schema, self.product.schema):
                text = f"version {new.version} was trained on another schema than product.yaml has now; retrain"
                raise ReleaseFailedError("schema_mismatch", text)
            self.target.check(old, new)
            breaking = old is not None and is_breaking(self.target.package(old).manifest.schema, manifest.schema)
        except ReleaseFailedError as error:
            run.row("check", "fail", serving, str(error), error.reason)
            return self._end_rejected(run, serving, "refused", error.reason, str(error))
        run.row("check", "pass", serving, "the package is whole, and there is a way back")
        options = PhaseOptions(
            target=self.target,
            product=self.product,
            engine=self.writer.engine,
            old=old,
            new=new,
            manifest=manifest,
            stop=self._rollback_requested,
            api_key=self.api_key,
            breaking=breaking,
        )
        if breaking:
            run.row("dark", "begun", serving, NOT_COMPARED)
        self._intend(Intent(run.name, "promote", actor, old, new))
        try:
            for name, phase in PHASES:
                if (ended := self._phase(run, options, name, phase)) is not None:
                    return ended
            return self._release(run, options)
        except ReleaseFailedError as error:
            return self._revert(run, old, error.reason, str(error))

    def roll_back(self, actor: str, reason: Reason, message: str, action: Action = "roll_back") -> Ended:
        """Go back to the last good model; needs the target alone.

        Raises `ReleaseFailedError` when there is no way back.
        """
        release = self.target.serving()
        bad = None if release is None else release.model
        good = [pin for pin in self.good() if pin != bad]
        if not good:
            raise ReleaseFailedError("no_way_back", "there is no earlier good model to go back to")
        return self._roll_back(Run(self.writer, action, actor, bad, good[-1]), good[-1], reason, message)

    def watch(self) -> Ended | None:
        """One pass of the watch over the newest promotion; how it ended, if it did."""
        watched, release = watch.read(self.state), self.target.serving()
        if watched is None:
            return None
        if release is None or release.model != watched.pin:
            self.state.write(watch.KEY, None)
            return None
        measures = watch.measure(self.target, self.product, self.writer.engine, watched, self.api_key)
        result = self._judge(measures)
        over = clock.now() >= watched.until
        if result.outcome != "fail" and not over:
            return None
        run = Run(self.writer, "watch", "the watch", watched.before, watched.pin, watched.run)
        evidence = _evidence(measures, result)
        run.row("watch", result.outcome, (watched.pin,), result.sentence, result.reason, evidence)
        if result.outcome == "fail":
            return self.roll_back("the watch", result.reason or "error_rate", result.sentence, "watch")
        self.state.write(watch.KEY, None)
        return None

    def good(self) -> list[Pin]:
        """The models that were good enough to be kept, in the order of their release; the last one is in service."""
        content = self.state.read(GOOD)
        return [] if content is None else msgspec.json.decode(content, type=list[Pin])

    def reconcile_aliases(self, address: str) -> None:
        """Move the aliases that wait in the outbox; raises `RegistryUnavailableError`."""
        if (moved := aliases.reconcile(self.state, address)) is not None:
            self.writer.report(f"aliases: champion {moved.champion}, previous {moved.previous or 'none'}")

    def _restore_damaged_release(self) -> None:
        """Restore the last good model where the target's release can no longer be read."""
        try:
            self.target.serving()
        except ReleaseError as error:
            good = self.good()
            if not good:
                raise ReleaseFailedError("no_way_back", f"{error}; no good model is known") from error
            self.target.restore(good[-1])
            version = good[-1].version
            self.writer.report(f"recovered: the release file was damaged, version {version} is released again")

    def _phase(
        self, run: Run, options: PhaseOptions, name: PhaseName, phase: Callable[[PhaseOptions], Measures | None]
    ) -> Ended | None:
        """Run and judge one phase; None where the candidate may go on."""
        serving = () if options.old is None else (options.old,)
        seen = name == "canary" and self.target.splits and options.old is not None and not options.breaking
        if seen:
            self._mark_seen(run, options)
            run.row("canary", "begun", (*serving, options.new), "the candidate answers a share of the users")
        try:
            with span(name, {"beacon.version": options.new.version}):
                measures = phase(options)
        except ReleaseFailedError as error:
            run.row(name, "fail", serving, str(error), error.reason)
            return self._revert(run, options.old, error.reason, str(error), seen=seen)
        if (objection := self._objection(options.new)) is not None:
            return self._revert(run, options.old, "by_hand", objection, seen=seen)
        if measures is None:
            if seen:
                run.row("canary", "inconclusive", serving, "no user sent a request", "too_few_samples")
            return None
        self._known = measures.labels or self._known
        measures = msgspec.structs.replace(measures, labels=self._known)
        result = self._judge(measures)
        run.row(name, result.outcome, serving, result.sentence, result.reason, _evidence(measures, result))
        # Users may send too few requests to judge by: the dark phase had enough of its own.
        if result.outcome == "pass" or (result.outcome == "inconclusive" and name != "dark"):
            return None
        return self._revert(run, options.old, result.reason, result.sentence, seen=seen)

    def _release(self, run: Run, options: PhaseOptions) -> Ended:
        new, both = options.new, tuple(pin for pin in (options.old, options.new) if pin is not None)
        marks = watch.marks_of(self.target)
        self._mark_seen(run, options)
        run.row("release", "begun", both, f"version {new.version} goes to every instance")
        with span("release", {"beacon.version": new.version}):
            self.target.release(new)
        run.row("release", "pass", (new,), f"every instance serves version {new.version}")
        with span("verify", {"beacon.version": new.version}):
            measures = phases.verify(options)
        result = self._judge(measures, few_are_enough=True)
        sentence = result.sentence
        if result.outcome == "pass":
            count = len(measures.instances)
            instances = "1 instance" if count == 1 else f"{count} instances"
            sentence = f"{measures.new.requests} golden requests right on {instances}"
        run.row("verify", result.outcome, (new,), sentence, result.reason, _evidence(measures, result))
        if result.outcome != "pass":
            return self._revert(run, options.old, result.reason, sentence)
        if (objection := self._objection(new)) is not None:
            return self._revert(run, options.old, "by_hand", objection)
        watch.begin(self.target, run.name, options.old, new, marks, self.product.policy.rollout.watch_seconds)
        message = f"version {new.version} serves"
        self._intend(Intent(run.name, "promote", run.actor, options.old, new, "keeping", None, message))
        return self._keep(run, new, message)

    def _judge(self, measures: Measures, *, few_are_enough: bool = False) -> PhaseResult:
        limits = self.product.policy.rollout
        if few_are_enough:
            limits = msgspec.structs.replace(limits, min_requests=0)
        return judge(measures, limits, self.product.policy.serving.latency_slo_seconds)

    def _keep(self, run: Run, new: Pin, message: str) -> Ended:
        good = [*[pin for pin in self.good() if pin != new], new][-MOST_GOOD:]
        self._save_good(good)
        run.row("end", "promoted", (new,), message)
        self.state.write(INTENT, None)
        return Ended("promoted", None, message)

    def _revert(self, run: Run, old: Pin | None, reason: Reason | None, message: str, *, seen: bool = False) -> Ended:
        """End a trial: the old model serves alone, as it did before. `seen`: the candidate answered users."""
        release = self.target.serving()
        if old is not None and release is not None and release != Release(model=old):
            seen = seen or release.model != old
            run.row("release", "fail", (old, release.model), f"back to version {old.version}: {message}", reason)
            self.target.restore(old)
        elif old is None and release is not None:
            message = f"{message}; it is the first model, and there is no other one to serve"
        serving = old or (release.model if release is not None else None)
        outcome: EndName = "rolled_back" if seen else "kept" if reason in UNPROVEN else "refused"
        return self._end_rejected(run, () if serving is None else (serving,), outcome, reason, message)

    def _end_rejected(
        self, run: Run, serving: tuple[Pin, ...], outcome: EndName, reason: Reason | None, message: str
    ) -> Ended:
        watched = watch.read(self.state)
        if watched is not None and watched.pin == run.after:
            self.state.write(watch.KEY, None)
        run.row("end", outcome, serving, message, reason)
        self.state.write(INTENT, None)
        return Ended(outcome, reason, message)

    def _roll_back(self, run: Run, good: Pin, reason: Reason, message: str) -> Ended:
        bad = run.before
        self._intend(Intent(run.name, run.action, run.actor, bad, good, "trying", reason, message))
        both = tuple(pin for pin in (bad, good) if pin is not None)
        run.row("release", "begun", both, f"back to version {good.version}: {message}", reason)
        self.target.restore(good)
        known = self.good()
        self._save_good(known[: known.index(good) + 1] if good in known else [*known, good])
        self.state.write(watch.KEY, None)
        run.row("end", "rolled_back", (good,), message, reason)
        self.state.write(INTENT, None)
        return Ended("rolled_back", reason, f"version {good.version} serves again: {message}")

    def _save_good(self, good: list[Pin]) -> None:
        """Save the good models, and put the aliases into the outbox."""
        self.state.write(GOOD, msgspec.json.encode(good))
        previous = good[-2].version if len(good) > 1 else None
        aliases.enqueue(self.state, Aliases(self.product.name, good[-1].version, previous))

    def _finish(self, intent: Intent) -> None:
        """End an earlier run's work."""
        run = Run(self.writer, intent.action, intent.actor, intent.before, intent.after, intent.run)
        if intent.action != "promote":
            self._roll_back(run, intent.after, intent.reason or "interrupted", intent.message)
        elif intent.stage == "keeping":
            self._keep(run, intent.after, intent.message)
        else:
            self._revert(run, intent.before, "interrupted", "the run that promoted it died; it is tried again")

    def _adopt(self) -> None:
        """Take a model that no promotion released, and that serves, as the newest good model."""
        release, good = self.target.serving(), self.good()
        if release is None or (good and good[-1] == release.model):
            return
        model = release.model
        run = Run(self.writer, "adopt", "somebody else", good[-1] if good else None, model)
        run.row("adopt", "pass", (model,), f"version {model.version} serves, and no promotion put it there")
        self._save_good([*[pin for pin in good if pin != model], model][-MOST_GOOD:])

    def _intent(self) -> Intent | None:
        content = self.state.read(INTENT)
        return None if content is None else msgspec.json.decode(content, type=Intent)

    def _intend(self, intent: Intent) -> None:
        self.state.write(INTENT, msgspec.json.encode(intent))

    def _mark_seen(self, run: Run, options: PhaseOptions) -> None:
        """Note that the candidate answers users from now on."""
        self._intend(Intent(run.name, "promote", run.actor, options.old, options.new, seen=True))

    def _rollback_requested(self) -> bool:
        return self.state.read(STOP) is not None

    def _objection(self, pin: Pin) -> str | None:
        """The rollback that a person requested, or the rejection, during the trial; None if nobody objects."""
        if (person := self.state.read(STOP)) is not None:
            return f"{person.decode()} requested a rollback meanwhile"
        try:
            with mapped_errors(), self.writer.engine.connect() as connection:
                rejection = rejected(connection, pin)
        except DatabaseUnavailableError:
            return None
        return None if rejection is None else f"{rejection[0]} rejected it meanwhile: {rejection[1]}"


PHASES: tuple[tuple[PhaseName, Callable[[PhaseOptions], Measures | None]], ...] = (
    ("dark", phases.dark),
    ("shadow", phases.shadow),
    ("canary", phases.canary),
)


def _evidence(measures: Measures, result: PhaseResult) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(
        {"checks": result.checks, "measures": msgspec.structs.replace(measures, instances=())}
    )
    return found
