"""The phases of a promotion: each lets the candidate do a little more, and says what was measured."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.tables import predictions
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_core.platform import clock
from beacon_promotion.analysis import scrape
from beacon_promotion.analysis.asking import Answer, ask_all, ask_golden
from beacon_promotion.analysis.measurements import Golden, Labels, Measures, Side
from beacon_promotion.analysis.rows import Row, rows_for
from beacon_promotion.targets.base.target import Instance, Target

QUIET_SECONDS = 5.0
"""A phase on the users' requests that sees none for so long waits no longer."""
LEAST_WINDOW = 3
"""Requests of a window; where there are so few, the model is slow or the machine is, which the old one shows."""
AGAIN_SECONDS = 2.0


class Order(msgspec.Struct, frozen=True):
    """What the phases work with: where, for which product, the old model (None for a first one) and the new one.

    `stop` says that somebody wants the run to end now. `api_key` is inference's, where it asks for one.
    """

    target: Target
    product: Product
    engine: Engine
    old: Pin | None
    new: Pin
    manifest: Manifest
    stop: Callable[[], bool]
    api_key: str = ""


def dark(order: Order) -> Measures:
    """Both models in instances of their own, on the same requests; no user is answered. Raises `ReleaseFailedError`."""
    limits, old = order.product.policy.rollout, order.old
    pins = [order.new] if old is None else [order.new, old]
    manifests = {pin: order.target.package(pin).manifest for pin in pins}
    rows = rows_for(order.engine, order.product, manifests[pins[-1]], limits.min_requests)
    with order.target.dark(pins) as instances:
        golden = ask_golden(instances[:1], order.manifest, order.api_key)
        found = ask_all(instances, rows, limits.phase_seconds, order.stop, order.api_key)
        if (died := order.target.ended(instances[0])) is not None:
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
        labels=labels_of(rows, found),
    )


def shadow(order: Order) -> Measures | None:
    """The candidate beside the released model on the users' requests; None where nobody asked, or without the store."""
    if order.old is None:
        return None
    order.target.shadow(order.new)
    try:
        began = clock.now()
        watched(order, (order.target.instances(),))
        table = predictions.c
        query = (
            select(table.prediction, table.shadow_prediction)
            .where(table.time >= began, table.shadow_version == order.new.version)
            .where(table.shadow_prediction.is_not(None))
        )
        try:
            with order.engine.connect() as connection:
                pairs = [(float(row[1]), float(row[0])) for row in connection.execute(query)]
        except (SQLAlchemyError, OSError):
            return None
    finally:
        order.target.shadow(None)
    if not pairs:
        return None
    new, old = ([pair[place] for pair in pairs] for place in (0, 1))
    return Measures(
        new=_of_values(order.new, new),
        old=_of_values(order.old, old),
        pairs=len(pairs),
        agreement=correlation(pairs),
    )


def canary(order: Order) -> Measures | None:
    """The candidate answers a share of the users; None where the target cannot split, or nobody asked."""
    if not order.target.splits or order.old is None:
        return None
    order.target.canary(order.new, order.product.policy.rollout.canary_share)
    try:
        instances = order.target.instances()
        mine = [instance for instance in instances if instance.pin == order.new]
        others = [instance for instance in instances if instance.pin == order.old]
        golden = ask_golden(mine, order.manifest, order.api_key)
        windows = watched(order, (mine, others))
        for instance in mine:
            if (died := order.target.ended(instance)) is not None:
                raise died
    finally:
        order.target.canary(None, 0.0)
    new, old = (scrape.side(pin, found) for pin, found in zip((order.new, order.old), windows, strict=True))
    return Measures(new=new, old=old, golden=golden) if new.requests else None


def verify(order: Order) -> Measures:
    """Golden requests and the version of every instance, once the release is done; empty where nothing runs yet."""
    instances, golden = golden_of(order.target, order.manifest, order.api_key)
    new = Side(pin=order.new, requests=golden.asked)
    return Measures(new=new, golden=golden, instances=tuple(instance.pin for instance in instances))


def golden_of(target: Target, manifest: Manifest, api_key: str) -> tuple[list[Instance], Golden]:
    """Ask every instance the golden requests. A wrong answer counts when it is there again: instances come and go."""
    for pause in (AGAIN_SECONDS, 0.0):
        instances = target.instances()
        golden = ask_golden(instances, manifest, api_key)
        if not golden.wrong:
            break
        time.sleep(pause)
    return instances, golden


def watched(order: Order, groups: Sequence[Sequence[Instance]]) -> list[list[scrape.Counts]]:
    """What each group of instances counted in each window of a phase; ends at once where nobody asks."""
    windows = order.product.policy.rollout.windows[1]
    seconds = order.product.policy.rollout.phase_seconds / windows
    found: list[list[scrape.Counts]] = [[] for _ in groups]
    before = {instance.name: scrape.read(instance) for group in groups for instance in group}
    first = min(QUIET_SECONDS, seconds)
    if not _pause(order, first) or not any(_news(group, dict(before)).requests for group in groups):
        return found
    for window in range(windows):
        if not _pause(order, seconds if window else seconds - first):
            break
        for place, group in enumerate(groups):
            found[place].append(_news(group, before))
    return found


def _news(instances: Sequence[Instance], before: dict[str, scrape.Counts | None]) -> scrape.Counts:
    """What the instances counted since `before`, which is brought to now."""
    parts = []
    for instance in instances:
        if (now := scrape.read(instance)) is not None:
            parts.append(scrape.since(now, before.get(instance.name)))
            before[instance.name] = now
    return scrape.together(parts)


def side_of(pin: Pin, answers: Sequence[Sequence[Answer]], manifest: Manifest, windows: int) -> Side:
    """One model's figures; `answers` are the tries of each row."""
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
    """The 99th percentile of each of so many equal parts; none where the parts would be too small."""
    size = len(seconds) // windows
    if size < LEAST_WINDOW:
        return ()
    parts = [sorted(seconds[part * size : (part + 1) * size]) for part in range(windows)]
    return tuple(part[min(size - 1, math.ceil(0.99 * size) - 1)] for part in parts)


def labels_of(rows: Sequence[Row], found: Sequence[Sequence[Sequence[Answer]]]) -> Labels | None:
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


def _value(tries: Sequence[Answer]) -> float | None:
    return next((answer.value for answer in tries if answer.value is not None), None)


def _pause(order: Order, seconds: float) -> bool:
    """Wait; False when somebody wants the run to end."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if order.stop():
            return False
        time.sleep(min(0.5, left))
    return True
