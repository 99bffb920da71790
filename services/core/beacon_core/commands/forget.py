"""Erase an entity, or predictions, from all that Beacon keeps.

Exit 0 erased (or counted, with --dry-run, or erased before), 1 refused or nothing was found, 75 try again: what was
erased stays so, and a repeat goes on with the rest.
"""

import getpass
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from importlib.metadata import entry_points

import msgspec
from msgspec.structs import replace

from beacon_core.data import erasure, profiles, removals
from beacon_core.data.database import Engine, migrate
from beacon_core.data.erasure import ErasedPlace, Eraser, Subject
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.removals import Removal
from beacon_core.data.run_lock import only_one
from beacon_core.domain.entity_key import EntityKeyError, key_text, parse_key
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.ids import is_client_id, new_id
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import report_error, run_command, status_of
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

JOB = "forget"
GROUP = "beacon.erasers"
PLACES = ("spool", "features", "training-sets", "registry")
"""Where rows lie beside the store's tables, each with an eraser of the package that writes there."""
OPEN = timedelta(days=90)
"""An erasure that did not end is gone on with for so long."""
MOST_IDS = 1000
LONGEST_NAME = 64


class ForgetError(Exception):
    """The request cannot be done as it is; the message names the argument and the rule."""

    exit_status = REFUSED


class ForgetResult(msgspec.Struct, frozen=True):
    """What went, and what did not."""

    removed: dict[str, int]
    """Rows by place; with `--dry-run` those that would go."""
    remains: dict[str, list[str]]
    """What cannot be removed, by place."""
    failed: dict[str, str]
    """The places whose eraser failed, and why: a repeat goes on with them."""
    is_dry_run: bool
    """Whether rows were only counted."""


class Found:
    """What the erasers removed, what remains, and what failed."""

    def __init__(self) -> None:
        self.removed: dict[str, int] = {}
        self.remains: dict[str, list[str]] = {}
        self.failed: dict[str, tuple[str, int]] = {}

    def add(self, name: str, eraser: Callable[[], ErasedPlace]) -> None:
        """Run an eraser; an error of a kind that is expected lets the others go on."""
        try:
            place = eraser()
        except Exception as error:
            if (status := status_of(error)) is None:
                raise
            self.failed[name] = message_of(error), status
            return
        self.removed |= place.removed
        self.remains |= place.remains

    @property
    def rows(self) -> int:
        return sum(self.removed.values())


def main(settings: Settings) -> int:
    """Erase, and say what went and what cannot go."""
    given = _parser().parse_args()
    product = load_product(settings.product)
    subject = _subject(product, given.entity, given.prediction)
    _check_words(subject, given.reason, given.person)
    engine = open_log(settings)
    migrate(engine)
    with ExitStack() as locks:
        if not given.dry_run:
            _lock(locks, engine, settings)
        open_run, before = _earlier(engine, product, subject)
        found = _erase_all(settings, product, engine, subject, dry_run=True)
        if given.dry_run:
            return _show(found, "would go", is_dry_run=True)
        if not found.rows and not found.failed and open_run is None:
            return _not_found(before)
        run = open_run or new_id()
        if open_run is None:
            names = {
                "entity": removals.digests_of([subject.entity] if subject.entity is not None else [], run),
                "ids": removals.digests_of(subject.ids, run),
            }
            row = Removal(run, clock.now(), product.name, "erasure", "begun", given.person, given.reason, names)
            with engine.begin() as connection:
                removals.append(connection, row)
        with recorded(engine, JOB, run, "erase") as record:
            found = _erase_all(settings, product, engine, subject, dry_run=False)
            record.rows, record.details = found.rows, found.removed
        if not found.failed:
            with engine.begin() as connection:
                row = Removal(run, clock.now(), product.name, "erasure", "done", given.person, given.reason)
                row = replace(row, removed=found.removed, remains=found.remains)
                removals.append(connection, row)
    return _show(found, "erased")


def _parser() -> CommandParser:
    parser = CommandParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--entity", help="the key: the value of its column, or a JSON list of several")
    what.add_argument("--prediction", action="append", metavar="ID", help="a prediction's id; may be repeated")
    parser.add_argument("--reason", required=True, help="why, for the audit trail; it must not name the entity")
    parser.add_argument("--person", default=getpass.getuser(), help="who asks for it; default: you")
    parser.add_argument("--dry-run", action="store_true", help="only count what would go")
    return parser


def _subject(product: Product, entity: str | None, ids: list[str] | None) -> Subject:
    if ids is not None:
        wrong = next((name for name in ids if not is_client_id(name)), None)
        if wrong is not None:
            raise ForgetError(f"--prediction: {wrong[:LONGEST_NAME]!r} is no id of a prediction")
        if len(ids) > MOST_IDS:
            raise ForgetError(f"--prediction: {len(ids)} ids, {MOST_IDS} at most")
        return Subject(ids=tuple(dict.fromkeys(ids)))
    if product.entity is None:
        raise ForgetError(f"--entity: {product.name} has no entity; --prediction erases by id")
    try:
        return Subject(entity=key_text(parse_key(product.entity, entity or "")))
    except EntityKeyError as error:
        raise ForgetError(f"--entity: of {product.name}, {error}") from error


def _check_words(subject: Subject, reason: str, person: str) -> None:
    """Refuse words that would keep the subject's name in the audit trail."""
    if not reason.strip():
        raise ForgetError("--reason: must not be empty")
    if not 1 <= len(person) <= LONGEST_NAME:
        raise ForgetError(f"--person: must be 1 to {LONGEST_NAME} characters")
    names = subject.ids if subject.entity is None else (subject.entity,)
    for option, text in (("--reason", reason), ("--person", person)):
        if any(re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text) for name in names):
            raise ForgetError(f"{option}: must not name what is to be erased: it is kept for ever")


def _lock(locks: ExitStack, engine: Engine, settings: Settings) -> None:
    """Hold off other erasures, and drift, which would keep profiles of rows that it has read already."""
    folder = settings.home / "run"
    locks.enter_context(only_one(engine, folder, JOB, "another erasure is at work"))
    locks.enter_context(only_one(engine, folder, profiles.LOCK, "drift profiling is at work"))


def _earlier(engine: Engine, product: Product, subject: Subject) -> tuple[str | None, Removal | None]:
    """The run of an erasure of the subject that did not end, and the last one that did."""
    with engine.connect() as connection:
        begun = list(removals.erasures_since(connection, product.name, clock.now() - OPEN))
        ended = {row.run: row for row in removals.newest(connection) if row.outcome == "done"}
    names = subject.ids if subject.entity is None else (subject.entity,)
    kind = "ids" if subject.entity is None else "entity"
    same = [row for row in begun if row.subject.get(kind) == removals.digests_of(names, row.run)]
    return (
        next((row.run for row in same if row.run not in ended), None),
        next((ended[row.run] for row in reversed(same) if row.run in ended), None),
    )


def erasers() -> Iterator[tuple[str, Eraser | None]]:
    """The eraser of each place, the spool's first: what is not logged yet is not logged any more.

    None for a place that this environment has not the packages for.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in dict.fromkeys((*PLACES, *sorted(found))):
        try:
            yield name, found[name].load() if name in found else None
        except ModuleNotFoundError:
            yield name, None


def _erase_all(settings: Settings, product: Product, engine: Engine, subject: Subject, *, dry_run: bool) -> Found:
    found = Found()
    for name, eraser in erasers():
        if eraser is None:
            found.remains[name] = ["cannot be reached from this environment"]
        else:
            found.add(name, partial(eraser, settings, product, engine, subject, dry_run=dry_run))
    found.add("prediction log", partial(_erase_rows, engine, subject, dry_run))
    return found


def _erase_rows(engine: Engine, subject: Subject, dry_run: bool) -> ErasedPlace:
    if dry_run:
        rows = erasure.count(engine, subject)
    else:
        rows = erasure.erase(engine, subject)
        erasure.compact(engine)
    return ErasedPlace({"predictions": rows.predictions, "actuals": rows.actuals, "profiles": rows.profiles})


def _show(found: Found, verb: str, *, is_dry_run: bool = False) -> int:
    failed = {name: message for name, (message, _) in found.failed.items()}
    results.give(ForgetResult(found.removed, found.remains, failed, is_dry_run))
    for name, count in found.removed.items():
        if count:
            results.say(f"{name}: {count} {verb}")
    for name, lines in found.remains.items():
        for line in lines:
            results.say(f"remains: {name}: {line}")
    for name, (message, _status) in found.failed.items():
        report_error(JOB, ForgetError(f"{name}: {message}"))
    if not found.rows and not found.failed:
        results.say(f"nothing {verb}")
    statuses = {status for _, status in found.failed.values()}
    if statuses:
        return REFUSED if REFUSED in statuses else TRY_AGAIN
    return 0


def _not_found(before: Removal | None) -> int:
    if before is not None:
        results.say(f"was erased before, on {before.moment.isoformat()} (run {before.run}); nothing of it came back")
        return 0
    raise ForgetError("nothing was found: no row of it is in any place")


def run() -> int:
    """Erase an entity, or predictions, from all that Beacon keeps."""
    return run_command(JOB, main)
