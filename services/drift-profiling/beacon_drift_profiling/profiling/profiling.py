"""The first half of a run: one profile for every model version and hour that has news, then the watermark.

Each profile is made of all rows of its hour, so that a second time, an overlap or a killed run change nothing. Shards
share the hours out among them; every hour is one shard's work, so that any number of shards leaves the same profiles.
"""

import hashlib
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from sqlalchemy import Connection, Engine, select

from beacon_core.data.tables import predictions, watermarks
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_core.platform import clock
from beacon_drift_profiling.comparison.reference import PREDICTION
from beacon_drift_profiling.comparison.statistics import Floats
from beacon_drift_profiling.profiling import shelf
from beacon_drift_profiling.profiling.log import HOUR, HourOfLog, Unit, news, read_unit
from beacon_drift_profiling.profiling.packages import NoReference, Reference
from beacon_drift_profiling.profiling.profile import profile_rows
from beacon_drift_profiling.profiling.shelf import Content
from beacon_drift_profiling.profiling.sums import ALL, sums_of

JOB = "profile"
NAMED = 20
"""How many ids of rows that were set aside a run names."""

Load = Callable[[str, str], Reference | NoReference]


class Shard(msgspec.Struct, frozen=True):
    """Which part of the hours this process takes: number `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def takes(self, unit: Unit) -> bool:
        """Whether a unit is this shard's."""
        return zlib.crc32(f"{unit.model_version}/{unit.hour.isoformat()}".encode()) % self.count == self.index


class Profiled(msgspec.Struct):
    """What a run did. `ahead` counts rows whose hour has not come yet: a clock is ahead."""

    rows: int = 0
    profiles: int = 0
    unchanged: int = 0
    set_aside: int = 0
    set_aside_ids: list[str] = []
    undated: int = 0
    ahead: int = 0


class References:
    """The references of the versions in the log, each loaded once a run, by the digest of its newest answer."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._found: dict[str, Reference | NoReference] = {}

    def of(self, connection: Connection, version: str) -> Reference | NoReference:
        """Return a version's reference, or why there is none."""
        if version not in self._found:
            table = predictions.c
            query = select(table.model_sha256).where(table.model_version == version)
            query = query.order_by(table.time.desc()).limit(1)
            sha256 = connection.execute(query).scalar()
            missing = NoReference(version, "no row of it is left in the log")
            self._found[version] = missing if sha256 is None else self._load(version, sha256)
        return self._found[version]


def profile_log(
    engine: Engine,
    product: Product,
    references: References,
    now: datetime,
    span: timedelta,
    shard: Shard,
    per_segment: bool,
) -> Profiled:
    """Profile every hour that has news, and those of the last `span` whose bins are not the reference's."""
    with engine.connect() as connection:
        mark = _mark(connection, JOB)
        found = news(connection, mark.logged_at, mark.received_at)
        since = now - span
        names = {unit.model_version for unit in found.units} | set(shelf.versions(connection, since, now + HOUR))
        grids = {name: _grid(references.of(connection, name)) for name in names}
        units = found.units | shelf.other_grids(connection, since, grids)
    done = Profiled(undated=found.undated)
    for unit in sorted(units):
        if not shard.takes(unit):
            continue
        rows = _profile_unit(engine, product, references, unit, per_segment, done)
        if unit.hour > now:
            done.ahead += rows
    position = Mark(_earlier(found.logged_at, now), _earlier(found.received_at, now))
    with engine.begin() as connection:
        _put_mark(connection, JOB if shard.count == 1 else _shard_job(shard), position, hour_of(now))
    return done


def all_shards_done(engine: Engine, now: datetime, count: int) -> bool:
    """Whether every shard has done this hour's run; if so, the watermark moves to where the slowest began."""
    if count == 1:
        return True
    period = hour_of(now)
    with engine.begin() as connection:
        marks = [_mark(connection, _shard_job(Shard(index, count))) for index in range(count)]
        if any(mark.period != period for mark in marks):
            return False
        logged = [mark.logged_at for mark in marks if mark.logged_at]
        received = [mark.received_at for mark in marks if mark.received_at]
        slowest = Mark(min(logged, default=None), min(received, default=None))
        _put_mark(connection, JOB, slowest, period)
    return True


def hour_of(moment: datetime) -> datetime:
    """The hour that a moment falls in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _profile_unit(
    engine: Engine, product: Product, references: References, unit: Unit, per_segment: bool, done: Profiled
) -> int:
    with engine.connect() as connection:
        reference = references.of(connection, unit.model_version)
        hour = read_unit(connection, unit, product.feature_names)
        stored = shelf.digest_of(connection, unit)
    done.set_aside += len(hour.set_aside)
    done.set_aside_ids += hour.set_aside[: NAMED - len(done.set_aside_ids)]
    done.rows += len(hour.ids)
    grid = _grid(reference)
    digest = _digest(hour, grid, per_segment)
    if digest == stored or (stored is not None and not hour.ids and not hour.set_aside):
        # Rows that the log no longer holds stay profiled.
        done.unchanged += 1
        return len(hour.ids)
    normal = reference.normal(product.feature_names) if isinstance(reference, Reference) else None
    segments = sums_of(hour.rows, product, normal)
    labelled = segments.get(ALL, {}).get("labelled", 0.0)
    content = Content(digest, grid, len(hour.set_aside), labelled, segments)
    masks = {shelf.WHOLE: np.ones(len(hour.ids), dtype=bool)}
    if per_segment:
        masks |= {
            name: mask
            for name, mask in segment_masks(product, hour.rows.features, hour.rows.prediction).items()
            if mask.any()
        }
    edges = reference.edges if isinstance(reference, Reference) else {}
    # The whole comes last: its digest says that the unit is done.
    for name, mask in reversed(masks.items()):
        columns = {key: values[mask] for key, values in _columns(hour, product).items()}
        own = content if name == shelf.WHOLE else msgspec.structs.replace(content, segments={ALL: segments[name]})
        shelf.put(engine, unit, name, profile_rows(columns, unit.hour, edges), int(mask.sum()), own)
        done.profiles += 1
    return len(hour.ids)


def _columns(hour: HourOfLog, product: Product) -> dict[str, Floats]:
    columns = {name: hour.rows.features[:, place] for place, name in enumerate(product.feature_names)}
    return columns | {PREDICTION: hour.rows.prediction, product.target.name: hour.rows.actual}


def _grid(reference: Reference | NoReference) -> str:
    return reference.grid if isinstance(reference, Reference) else ""


def _digest(hour: HourOfLog, grid: str, per_segment: bool) -> str:
    """Name what a profile is made of: the rows, their actuals, the bins."""
    content = hashlib.sha256("\n".join([grid, str(per_segment), *hour.ids, "", *hour.set_aside]).encode())
    content.update(hour.rows.actual.tobytes())
    return content.hexdigest()[:32]


class Mark(msgspec.Struct, frozen=True):
    """How far the log was read: arrival of the newest row and the newest actual, never ahead of our own clock."""

    logged_at: datetime | None = None
    received_at: datetime | None = None
    period: datetime | None = None


def _mark(connection: Connection, job: str) -> Mark:
    position = connection.execute(select(watermarks.c.position).where(watermarks.c.job == job)).scalar()
    return Mark() if position is None else msgspec.convert(position, Mark)


def _put_mark(connection: Connection, job: str, mark: Mark, period: datetime) -> None:
    position = msgspec.to_builtins(msgspec.structs.replace(mark, period=period))
    row = {"job": job, "position": position, "updated_at": clock.now()}
    shelf.upsert(connection, watermarks, ("job",), row)


def _shard_job(shard: Shard) -> str:
    return f"{JOB}/{shard.index}/{shard.count}"


def _earlier(moment: datetime | None, now: datetime) -> datetime | None:
    return None if moment is None else min(moment, now)
