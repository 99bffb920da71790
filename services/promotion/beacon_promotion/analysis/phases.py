"""The phases of a promotion: each exposes the candidate a little more, and returns what was measured."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, Engine
from beacon_core.data.prediction_log.promotion_evidence import shadow_answers
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema
from beacon_core.model_package.manifest import Manifest
from beacon_core.platform import clock
from beacon_promotion.analysis import scrape
from beacon_promotion.analysis.load_generator import LoadResponse, send_all, send_golden
from beacon_promotion.analysis.measurements import GoldenResults, Labels, Measures, Side
from beacon_promotion.analysis.sampled_requests import SampledRequest, sample_requests
from beacon_promotion.targets.base.target import Instance, PromotionTarget

QUIET_SECONDS = 5.0
"""A phase on the users' requests ends when none came for so long."""
LEAST_WINDOW = 3
"""Requests per window at least; the old model, on the same machine, shows whether it is the machine that is slow."""
AGAIN_SECONDS = 2.0


class PhaseOptions(msgspec.Struct, frozen=True):
    """The inputs of the phases: target, product, the old model (None for a first one) and the new one.

    `stop` is true once somebody requested a rollback. `api_key` is inference's, where it requires one. `breaking`: no
    request can be answered by both models, since the schema has a breaking change.
    """

    target: PromotionTarget
    product: Product
    engine: Engine
    old: Pin | None
    new: Pin
    manifest: Manifest
    stop: Callable[[], bool]
    api_key: str = ""
    breaking: bool = False


def dark(options: PhaseOptions) -> Measures:
    """Both models in instances of their own, on the same requests; no user is answered. Raises `ReleaseFailedError`.

    After a breaking change of the schema, each gets requests of its own schema, and their answers are not compared.
    """
    limits, old = options.product.policy.rollout, options.old
    pins = [options.new] if old is None else [options.new, old]
    manifests = {pin: options.target.package(pin).manifest for pin in pins}
    schema, engine, evidence = options.product.schema, options.engine, options.product.policy.evidence
    if options.breaking:
        own = [
            sample_requests(engine, evidence, manifests[pin].schema, manifests[pin], limits.min_requests)
            for pin in pins
        ]
        requests = [list(row) for row in zip(*own, strict=True)]
    else:
        rows = sample_requests(engine, evidence, schema, manifests[pins[-1]], limits.min_requests)
        requests = [[row] * len(pins) for row in rows]
    with options.target.dark(pins) as instances:
        golden = send_golden(instances[:1], options.manifest, schema, options.api_key)
        found = send_all(instances, requests, limits.phase_seconds, options.stop, options.api_key)
        if (died := options.target.ended(instances[0])) is not None:
            raise died
        counts = [scrape.read(instance) for instance in instances]
    sides = [
        side_of(pin, [answers[place] for answers in found], manifests[pin], limits.windows[1])
        for place, pin in enumerate(pins)
    ]
    sides = [
        msgspec.structs.replace(side, memory=count.memory if count else None)
        for side, count in zip(sides, counts, strict=True)
    ]
    if old is None:
        return Measures(new=sides[0], golden=golden)
    if options.breaking:
        other = msgspec.structs.replace(sides[1], mean=None, spread=None, out_of_range=None)
        return Measures(new=sides[0], old=other, golden=golden)
    pairs = [
        (new, was)
        for answers in found
        if (new := _value(answers[0])) is not None and (was := _value(answers[1])) is not None
    ]
    return Measures(
        new=sides[0],
        old=sides[1],
        golden=golden,
        pairs=len(pairs) * len(found[0][0]) if pairs else 0,
        agreement=correlation(pairs),
        labels=labels_of([row[0] for row in requests], found),
    )


def shadow(options: PhaseOptions) -> Measures | None:
    """The candidate beside the released model on the users' requests; None without traffic or database."""
    if options.old is None or options.breaking:
        return None
    options.target.shadow(options.new)
    try:
        began = clock.now()
        count_windows(options, (options.target.instances(),))
        try:
            found = shadow_answers(options.engine, options.product.policy.evidence, options.new.version, began)
        except DatabaseUnavailableError:
            return None
    finally:
        options.target.shadow(None)
    if found is None:
        return None
    return Measures(
        new=Side(pin=options.new, requests=found.rows, mean=found.new_mean, spread=found.new_spread),
        old=Side(pin=options.old, requests=found.rows, mean=found.old_mean, spread=found.old_spread),
        pairs=found.rows,
        agreement=found.correlation,
    )


def canary(options: PhaseOptions) -> Measures | None:
    """The candidate answers a share of the users; None without traffic, or where the target cannot split."""
    if not options.target.splits or options.old is None or options.breaking:
        return None
    options.target.canary(options.new, options.product.policy.rollout.canary_share)
    try:
        instances = options.target.instances()
        mine = [instance for instance in instances if instance.pin == options.new]
        others = [instance for instance in instances if instance.pin == options.old]
        golden = send_golden(mine, options.manifest, options.product.schema, options.api_key)
        windows = count_windows(options, (mine, others))
        for instance in mine:
            if (died := options.target.ended(instance)) is not None:
                raise died
    finally:
        options.target.canary(None, 0.0)
    new, old = (scrape.side(pin, found) for pin, found in zip((options.new, options.old), windows, strict=True))
    return Measures(new=new, old=old, golden=golden) if new.requests else None


def verify(options: PhaseOptions) -> Measures:
    """Send golden requests to every instance once the release is done; no requests where nothing runs yet."""
    schema = options.product.schema
    instances, golden = golden_of(options.target, options.manifest, schema, options.api_key)
    new = Side(pin=options.new, requests=golden.asked)
    return Measures(new=new, golden=golden, instances=tuple(instance.pin for instance in instances))


def golden_of(
    target: PromotionTarget, manifest: Manifest, schema: Schema, api_key: str
) -> tuple[list[Instance], GoldenResults]:
    """Send every instance the golden requests; wrong responses count if a second try has them, too."""
    for pause in (AGAIN_SECONDS, 0.0):
        instances = target.instances()
        golden = send_golden(instances, manifest, schema, api_key)
        if not golden.wrong:
            break
        time.sleep(pause)
    return instances, golden


def count_windows(options: PhaseOptions, groups: Sequence[Sequence[Instance]]) -> list[list[scrape.ScrapedCounts]]:
    """What each group of instances counted in each window of a phase; ends early without traffic."""
    windows = options.product.policy.rollout.windows[1]
    seconds = options.product.policy.rollout.phase_seconds / windows
    found: list[list[scrape.ScrapedCounts]] = [[] for _ in groups]
    before = {instance.name: scrape.read(instance) for group in groups for instance in group}
    first = min(QUIET_SECONDS, seconds)
    if not _pause(options, first) or not any(_counted_since(group, dict(before)).requests for group in groups):
        return found
    for window in range(windows):
        if not _pause(options, seconds if window else seconds - first):
            break
        for place, group in enumerate(groups):
            found[place].append(_counted_since(group, before))
    return found


def _counted_since(
    instances: Sequence[Instance], before: dict[str, scrape.ScrapedCounts | None]
) -> scrape.ScrapedCounts:
    """What the instances counted since `before`, which this call updates to now."""
    parts = []
    for instance in instances:
        if (now := scrape.read(instance)) is not None:
            parts.append(scrape.since(now, before.get(instance.name)))
            before[instance.name] = now
    return scrape.together(parts)


def side_of(pin: Pin, answers: Sequence[Sequence[LoadResponse]], manifest: Manifest, windows: int) -> Side:
    """One model's figures; `answers` are the responses to each request, one per try."""
    every = [answer for tries in answers for answer in tries]
    values = [value for tries in answers if (value := _value(tries)) is not None]
    outside = sum(not manifest.prediction_min <= value <= manifest.prediction_max for value in values)
    seconds = [min(answer.seconds for answer in tries) for tries in answers]
    return msgspec.structs.replace(
        _of_values(pin, values),
        requests=len(every),
        failures=sum(answer.failed for answer in every),
        not_finite=sum(answer.not_finite for answer in every),
        p99=p99_of(seconds, windows),
        out_of_range=outside / len(values) if values else None,
    )


def p99_of(seconds: Sequence[float], windows: int) -> tuple[float, ...]:
    """The 99th percentile, in seconds, of each of `windows` equal parts; empty where the parts would be too small."""
    size = len(seconds) // windows
    if size < LEAST_WINDOW:
        return ()
    parts = [sorted(seconds[part * size : (part + 1) * size]) for part in range(windows)]
    return tuple(part[min(size - 1, math.ceil(0.99 * size) - 1)] for part in parts)


def labels_of(rows: Sequence[SampledRequest], found: Sequence[Sequence[Sequence[LoadResponse]]]) -> Labels | None:
    """The errors of the new and the old model on the rows whose true value is known."""
    known = [
        (abs(new - row.actual), abs(old - row.actual))
        for row, answers in zip(rows, found, strict=False)
        if row.actual is not None
        and (new := _value(answers[0])) is not None
        and (old := _value(answers[1])) is not None
    ]
    if not known:
        return None
    return Labels(len(known), *(statistics.fmean(pair[place] for pair in known) for place in (0, 1)))


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's correlation; None where one side does not vary."""
    if len(pairs) < 2:
        return None
    new, old = zip(*pairs, strict=True)
    try:
        return statistics.correlation(new, old)
    except statistics.StatisticsError:
        return None


def _of_values(pin: Pin, values: Sequence[float]) -> Side:
    return Side(
        pin=pin,
        requests=len(values),
        mean=statistics.fmean(values) if values else None,
        spread=statistics.pstdev(values) if values else None,
    )


def _value(tries: Sequence[LoadResponse]) -> float | None:
    return next((answer.value for answer in tries if answer.value is not None), None)


def _pause(options: PhaseOptions, seconds: float) -> bool:
    """Wait; False when somebody requested a rollback."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if options.stop():
            return False
        time.sleep(min(0.5, left))
    return True
