"""The watch after a promotion: the same checks go on for a while, and a breach rolls back automatically.

One pass is short and holds the lock; the watch itself lies in the state store, so that any run continues it.
"""

import logging
from datetime import datetime, timedelta

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, Engine
from beacon_core.data.prediction_log.promotion_evidence import realised_error
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.policy import Evidence
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_core.platform import clock
from beacon_promotion.analysis import scrape
from beacon_promotion.analysis.measurements import Labels, Measures, Side
from beacon_promotion.analysis.phases import golden_of
from beacon_promotion.analysis.scrape import ScrapedCounts
from beacon_promotion.targets.base.target import PromotionTarget, StateStore

log = logging.getLogger(__name__)

KEY = "watch"
PAST = timedelta(days=30)
"""How long before the release the old model's error is taken from."""


class Watch(msgspec.Struct, frozen=True):
    """What is watched: since when and until when, what each instance had counted at the last pass, and the windows.

    `usual` is what the old model's instances had counted when it was replaced.
    """

    run: str
    before: Pin | None
    pin: Pin
    since: datetime
    until: datetime
    usual: ScrapedCounts
    marks: dict[str, ScrapedCounts]
    windows: tuple[ScrapedCounts, ...] = ()


def begin(
    target: PromotionTarget, run: str, before: Pin | None, pin: Pin, marks: dict[str, ScrapedCounts], seconds: float
) -> None:
    """Begin to watch `pin`; `marks` are the counts of the instances just before the release."""
    now = clock.now()
    usual = scrape.together(list(marks.values()))
    kept = Watch(run, before, pin, now, now + timedelta(seconds=seconds), usual, marks)
    target.state.write(KEY, msgspec.json.encode(kept))


def read(state: StateStore) -> Watch | None:
    """The watch under way, or None."""
    content = state.read(KEY)
    return None if content is None else msgspec.json.decode(content, type=Watch)


def marks_of(target: PromotionTarget) -> dict[str, ScrapedCounts]:
    """What every instance has counted up to now."""
    found = {instance.name: scrape.read(instance) for instance in target.instances()}
    return {name: counts for name, counts in found.items() if counts is not None}


def measure(target: PromotionTarget, product: Product, engine: Engine, watch: Watch, api_key: str) -> Measures:
    """One pass: golden requests of every instance, what they counted since the release, and the realised error."""
    manifest = target.package(watch.pin).manifest
    instances, golden = golden_of(target, manifest, product.schema, api_key)
    now = marks_of(target)
    window = scrape.together([scrape.since(counts, watch.marks.get(name)) for name, counts in now.items()])
    watch = msgspec.structs.replace(watch, marks=watch.marks | now, windows=(*watch.windows, window))
    target.state.write(KEY, msgspec.json.encode(watch))
    new = msgspec.structs.replace(scrape.side(watch.pin, watch.windows), memory=None)
    return Measures(
        new=new,
        old=_usual(watch, product, len(new.p99)),
        golden=golden,
        labels=_labels(
            engine,
            product.policy.evidence,
            watch,
            manifest.expected_absolute_error,
            _is_comparable(target, watch, manifest),
        ),
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


def _is_comparable(target: PromotionTarget, watch: Watch, manifest: Manifest) -> bool:
    """Whether the errors of the old model are of the same target, in the same unit."""
    if watch.before is None:
        return False
    old, new = target.package(watch.before).manifest.schema.target, manifest.schema.target
    return (old.name, old.unit) == (new.name, new.unit)


def _labels(engine: Engine, evidence: Evidence, watch: Watch, expected: float, comparable: bool) -> Labels | None:
    """The realised error since the release, beside the larger of the expected error and the old model's."""
    try:
        rows, error = realised_error(engine, evidence, watch.pin.version, watch.since)
        if not rows:
            return None
        was = 0.0
        if watch.before is not None and comparable:
            was = realised_error(engine, evidence, watch.before.version, watch.since - PAST, watch.since).mean
    except DatabaseUnavailableError as fault:
        log.warning(
            "the database does not answer: the realised error is not judged", extra={"error": message_of(fault)}
        )
        return None
    return Labels(rows, error, max(expected, was))
