"""Promote what passed the gate, roll back what fails, and show what served when.

Exit 0 done or nothing to do, 1 refused, 75 try again later (another run is at work, or something is down).
"""

import argparse
import getpass
import logging
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import msgspec

from beacon_core.data import ledger
from beacon_core.data.database import DatabaseUnavailableError, Engine, mapped_errors, migrate
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser, usage_name
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.locks import BusyError
from beacon_core.platform.pod import is_pod
from beacon_core.platform.product_file import load_product
from beacon_core.platform.retry import until_up
from beacon_core.platform.settings import Settings, load_settings
from beacon_promotion.controller.candidates import NoCandidateError, select_candidate
from beacon_promotion.controller.reconcile import Reconciler
from beacon_promotion.ledger.messages import format_change, format_history
from beacon_promotion.targets.base.target import PromotionTarget, ReleaseFailedError, TargetUnavailableError
from beacon_promotion.targets.kubernetes.values import read_values, write_values
from beacon_promotion.targets.laptop.target import Laptop

JOB = "promote"
DID_NOT_RUN = "promotion did not run, try again"
STARTERS = "beacon.inference"


class HistoryResult(msgspec.Struct, frozen=True):
    """The ledger of promotions."""

    entries: list[Entry]
    """Its newest rows, the newest first; each has the fields of the table `promotions`."""


class ServedResult(msgspec.Struct, frozen=True):
    """Which model served at a time, and why."""

    at: datetime
    """The time that was asked for."""
    serving: tuple[Pin, ...]
    """The models that may have answered: name, version, sha256."""
    since: datetime
    """Since when they served."""
    actor: str
    """Who or what changed it."""
    steps: list[Entry]
    """The run that changed it, the newest step first."""


@map_errors("promotion refused", DID_NOT_RUN, DID_NOT_RUN, level=logging.WARNING)
def main() -> int:
    """Run the command; a failure is one line and an exit status."""
    given = _arguments()
    # A run that gets SIGTERM leaves through the blocks that clean up after it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = load_settings()
        product = load_product(settings.product)
        engine = open_log(settings)
        if given.command in {"served", "history"}:
            return show(engine, product, given)
        if given.command == "values":
            return write_to_git(engine, product, given)
        reconciler = Reconciler(settings, product, target_of(settings), engine, log.info)
        if given.command == "first":
            return release_first(reconciler, given.wait)
        if given.command == "follow":
            return follow(reconciler, engine, settings)
        return run_once(reconciler, engine, given)
    except ReleaseFailedError as error:
        log.error("promotion failed: %s: %s", error.reason, message_of(error))
        results.fail(f"promotion failed: {error.reason}: {message_of(error)}", REFUSED)
        return REFUSED


def target_of(settings: Settings) -> PromotionTarget:
    """The promotion target: the cluster whose pod this is, else this machine."""
    if is_pod():
        # Only a pod loads the cluster's client.
        from beacon_core.platform.kubernetes import pod_access  # noqa: PLC0415
        from beacon_promotion.targets.kubernetes.deployment_target import DeploymentTarget  # noqa: PLC0415
        from beacon_promotion.targets.kubernetes.helm_target import HelmTarget  # noqa: PLC0415

        if settings.promotion_target == "deployment":
            return DeploymentTarget(settings, pod_access())
        return HelmTarget(settings, pod_access())
    # Only a laptop has the package that runs processes: an entry point offers it.
    (entry,) = entry_points(group=STARTERS, name="start")
    return Laptop(settings, partial(entry.load(), settings))


def run_once(reconciler: Reconciler, engine: Engine, given: argparse.Namespace) -> int:
    """Roll back, or run one reconcile pass; returns the exit status."""
    if given.command == "rollback":
        ended = reconciler.roll_back(given.person, given.reason or "by hand")
        log.info(ended.message)
        results.give(ended)
        return 0
    by_person = given.version != ""
    try:
        with mapped_errors():
            migrate(engine)
    except DatabaseUnavailableError as error:
        log.warning(
            "the database does not answer: %s", message_of(error)
        )  # what needs no database is done all the same
    try:
        ended_or_none = reconciler.reconcile(given.version, given.person if by_person else "", given.wait)
    except NoCandidateError as error:
        log.info("nothing to promote: %s", error)
        return REFUSED if by_person else 0
    if ended_or_none is not None and ended_or_none.outcome == "promoted" and given.watch:
        ended_or_none = reconciler.watch() or ended_or_none
    if ended_or_none is not None:
        results.give(ended_or_none)
    return REFUSED if by_person and ended_or_none is not None and ended_or_none.outcome != "promoted" else 0


def release_first(reconciler: Reconciler, seconds: float) -> int:
    """Release the first model as soon as the store names one, unless a model serves; returns the exit status."""
    up = (NoCandidateError, BusyError, TargetUnavailableError, DatabaseUnavailableError)
    log.info(until_up(reconciler.release_first, seconds, up))
    return 0


def follow(reconciler: Reconciler, engine: Engine, settings: Settings) -> int:
    """Run one reconcile pass after the other, for ever; a failure that repeats is logged once."""
    last, migrated = "", False
    while True:
        try:
            if not migrated:
                with mapped_errors():
                    migrate(engine)
                migrated = True
            reconciler.reconcile()
        except (NoCandidateError, BusyError) as quiet:
            last, before = str(quiet), last
            if last != before:
                log.info(last)
        except (ReleaseFailedError, TargetUnavailableError, DatabaseUnavailableError, OSError) as error:
            last, before = message_of(error), last
            if last != before:
                log.warning("try again: %s", last)
        except Exception:  # noqa: BLE001 - a bug here must not end the other processes of `make run`
            log.exception("this pass failed")
        time.sleep(settings.promote_every_seconds)


def write_to_git(engine: Engine, product: Product, given: argparse.Namespace) -> int:
    """Write the candidate into a values file; its one line of output is a commit's message."""
    migrate(engine)
    before = read_values(given.file)
    try:
        with engine.connect() as connection:
            candidate = select_candidate(connection, product, before, given.version)
    except NoCandidateError as error:
        print(f"nothing to promote: {error}", file=sys.stderr)
        return 0
    write_values(given.file, candidate.pin)
    by = f", approved by {candidate.approved_by}" if candidate.approved_by else ""
    results.say(
        f"Serve {product.name} version {candidate.pin.version} (verdict {candidate.verdict}{by}): {candidate.reason}"
    )
    return 0


def show(engine: Engine, product: Product, given: argparse.Namespace) -> int:
    """Print what served at a time and why, or the newest rows of the ledger; returns the exit status."""
    migrate(engine)
    with engine.connect() as connection:
        if given.command == "history":
            entries = ledger.history(connection, product.name, given.most)
            results.give(HistoryResult(entries))
            results.say(format_history(entries))
            return 0
        moment = given.at or clock.now()
        entry = ledger.served_at(connection, product.name, moment)
        if entry is None:
            results.say(f"the ledger has nothing from before {moment.isoformat()}")
            return REFUSED
        change = ledger.change_of(connection, entry)
        steps = ledger.history(connection, product.name, 1000, change.run)
        results.give(ServedResult(moment, entry.serving, change.moment, change.actor, steps))
        results.say(format_change(moment, entry, change, steps))
    return 0


def _arguments() -> argparse.Namespace:
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = partial(commands.add_parser, prog=usage_name())
    run = add("run", help="one pass: recover, watch, promote")
    run.add_argument("--version", default="", help="the version that a person wants; default: the newest verdict's")
    run.add_argument("--person", default=getpass.getuser(), help="default: who is logged in")
    run.add_argument("--wait", type=float, default=0.0, help="seconds to wait for another run's end")
    run.add_argument("--watch", action="store_true", help="stay for the watch after a promotion")
    first = add("first", help="release the first model, once there is one")
    first.add_argument("--wait", type=float, default=0.0, help="seconds to wait for it")
    add("follow", help="one pass after the other, as a laptop does")
    back = add("rollback", help="back to the last good model")
    back.add_argument("--reason", default="", help="for the ledger")
    back.add_argument("--person", default=getpass.getuser(), help="default: who is logged in")
    values = add("values", help="write what passed the gate into a values file, for git")
    values.add_argument("file", type=Path, help="the values file of the charts")
    values.add_argument("--version", default="", help="this one; default: the newest verdict's")
    served = add("served", help="what served at a time, and why")
    served.add_argument("--at", type=_moment, default=None, help="ISO 8601, UTC where it has no zone; default: now")
    history = add("history", help="the ledger, the newest rows first")
    history.add_argument("--most", type=int, default=50, help="rows at most (default: 50)")
    return parser.parse_args()


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return read_time(text, UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run() -> int:
    """Run as a process of its own."""
    return run_job(JOB, main)
