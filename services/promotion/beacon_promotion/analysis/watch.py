"""The watch after a promotion: the same checks go on for a while, and a breach rolls back by itself.

One pass is short and holds the lock; the watch itself is a note, so that any run goes on with it.
"""

import logging
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.actuals import before_newest, labelled
from beacon_core.data.tables import predictions
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_promotion.analysis import scrape
from beacon_promotion.analysis.measurements import Labels, Measures, Side
from beacon_promotion.analysis.phases import golden_of
from beacon_promotion.analysis.scrape import Counts
from beacon_promotion.targets.base.target import Notes, Target

log = logging.getLogger(__name__)

NOTE = "watch"
PAST = timedelta(days=30)
"""What the old model's error is taken from: the time before it was replaced."""
MANY = 100_000
"""Of more actuals than this only the newest are looked at: they show the error as well, and in bounded time."""


class Watch(msgspec.Struct, frozen=True):
    """What is watched: since when and until when, what each instance had counted at the last pass, and the windows.

    `usual` is what the old model's instances had counted when it was replaced.
    """

    run: str
    before: Pin | None
    pin: Pin
    since: datetime
    until: datetime
    usual: Counts
    marks: dict[str, Counts]
    windows: tuple[Counts, ...] = ()


def begin(target: Target, run: str, before: Pin | None, pin: Pin, marks: dict[str, Counts], seconds: float) -> None:
    """Begin to watch `pin`; `marks` are the counts of the instances just before the release."""
    now = clock.now()
    usual = scrape.together(list(marks.values()))
    kept = Watch(run, before, pin, now, now + timedelta(seconds=seconds), usual, marks)
    target.notes.write(NOTE, msgspec.json.encode(kept))


def read(notes: Notes) -> Watch | None:
    """The watch that goes on, or None."""
    content = notes.read(NOTE)
    return None if content is None else msgspec.json.decode(content, type=Watch)


def marks_of(target: Target) -> dict[str, Counts]:
    """What every instance has counted up to now."""
    found = {instance.name: scrape.read(instance) for instance in target.instances()}
    return {name: counts for name, counts in found.items() if counts is not None}


def look(target: Target, product: Product, engine: Engine, watch: Watch, api_key: str) -> Measures:
    """One pass: golden requests of every instance, what they counted since the release, and the realised error."""
    manifest = target.package(watch.pin).manifest
    instances, golden = golden_of(target, manifest, api_key)
    now = marks_of(target)
    window = scrape.together([scrape.since(counts, watch.marks.get(name)) for name, counts in now.items()])
    watch = msgspec.structs.replace(watch, marks=watch.marks | now, windows=(*watch.windows, window))
    target.notes.write(NOTE, msgspec.json.encode(watch))
    new = msgspec.structs.replace(scrape.side(watch.pin, watch.windows), memory=None)
    return Measures(
        new=new,
        old=_usual(watch, product, len(new.p99)),
        golden=golden,
        labels=_labels(engine, watch, manifest.expected_absolute_error),
        instances=tuple(instance.pin for instance in instances if instance.pin is not None),
    )


def _usual(watch: Watch, product: Product, windows: int) -> Side | None:
    """The old model on its own traffic, where there was enough of it.

    Its answers are not compared: what users ask may change meanwhile, and the same requests were compared in the dark.
    """
    if watch.before is None or watch.usual.requests < product.policy.rollout.min_requests:
        return None
    side = scrape.side(watch.before, [watch.usual])
    return msgspec.structs.replace(side, p99=side.p99 * windows, memory=None, mean=None, out_of_range=None)


def _labels(engine: Engine, watch: Watch, expected: float) -> Labels | None:
    """The realised error since the release, against the larger of what training promised and the old model had."""
    try:
        rows, error = realised_error(engine, watch.pin, watch.since)
        if not rows:
            return None
        was = 0.0
        if watch.before is not None:
            _, was = realised_error(engine, watch.before, watch.since - PAST, watch.since)
    except (SQLAlchemyError, OSError) as fault:
        log.warning("the store does not answer: the realised error is not judged", extra={"error": message_of(fault)})
        return None
    return Labels(rows, error, max(expected, was))


def realised_error(engine: Engine, pin: Pin, since: datetime, until: datetime | None = None) -> tuple[int, float]:
    """How many predictions of a model have an actual, and the mean absolute error on them."""
    with engine.connect() as connection:
        after = before_newest(connection, MANY)
        found = labelled(predictions.c.prediction, model_version=pin.version, since=since, until=until, after=after)
        mean_error = func.avg(func.abs(found.c.prediction - found.c.value))
        rows, mean = connection.execute(select(func.count(), mean_error).select_from(found)).one()
    return int(rows), float(mean or 0.0)
