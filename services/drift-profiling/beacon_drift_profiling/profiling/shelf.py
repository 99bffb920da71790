"""The profile repository: profiles in the store, by model version and hour; whole days are rolled up for speed."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from beacon_core.data.tables import profiles
from beacon_core.platform import clock
from beacon_drift_profiling.profiling.log import Unit
from beacon_drift_profiling.profiling.profile import Profile, ProfileError
from beacon_drift_profiling.profiling.sums import Sums, add

WHOLE, DAY_ROLL = "", "day"
DAY = timedelta(days=1)


class Content(msgspec.Struct, frozen=True):
    """What the column `sums` holds. `digest` is of the rows that went in; `grid` names the bins ("" is none)."""

    digest: str
    grid: str
    set_aside: int
    labelled: float
    segments: dict[str, Sums]


class Window(msgspec.Struct, frozen=True):
    """The profiles of a window, merged; `profile` is None when it holds no rows."""

    days: int
    end: datetime
    profile: Profile | None
    segments: dict[str, Sums]
    profiles: int


def put(engine: Engine, unit: Unit, segment: str, profile: Profile, rows: int, content: Content) -> None:
    """Store a profile in place of the one that was there."""
    row = {
        "model_version": unit.model_version,
        "hour": unit.hour,
        "segment": segment,
        "rows": rows,
        "bytes": profile.serialize(),
        "sums": msgspec.to_builtins(content),
        "profiled_at": clock.now(),
    }
    with engine.begin() as connection:
        upsert(connection, profiles, ("model_version", "hour", "segment"), row)


def digest_of(connection: Connection, unit: Unit, segment: str = WHOLE) -> str | None:
    """Return what a stored profile was made of; None where there is none."""
    query = select(profiles.c.sums["digest"].as_string()).where(*_key(unit, segment))
    digest: str | None = connection.execute(query).scalar()
    return digest


def other_grids(connection: Connection, since: datetime, grids: Mapping[str, str]) -> set[Unit]:
    """Find the hours since then whose profile was made with other bins than the version's reference has now."""
    grid = profiles.c.sums["grid"].as_string()
    query = select(profiles.c.hour, profiles.c.model_version, grid).where(
        profiles.c.hour >= since, profiles.c.segment == WHOLE
    )
    rows = connection.execute(query)
    return {Unit(hour, version) for hour, version, found in rows if found != grids.get(version, "")}


def versions(connection: Connection, since: datetime, until: datetime) -> list[str]:
    """Name the model versions with rows in those hours, the one that answered last at the end."""
    newest = func.max(profiles.c.hour)
    query = (
        select(profiles.c.model_version)
        .where(profiles.c.hour >= since, profiles.c.hour < until, profiles.c.segment == WHOLE, profiles.c.rows > 0)
        .group_by(profiles.c.model_version)
        .order_by(newest, profiles.c.model_version)
    )
    return list(connection.execute(query).scalars())


def hours_with_labels(
    connection: Connection, version: str, until: datetime, back: timedelta
) -> list[tuple[datetime, float]]:
    """List the hours with actuals and their number, the newest first."""
    labelled = profiles.c.sums["labelled"].as_float()
    query = (
        select(profiles.c.hour, labelled)
        .where(profiles.c.model_version == version, profiles.c.segment == WHOLE)
        .where(profiles.c.hour < until, profiles.c.hour >= until - back, labelled > 0)
        .order_by(profiles.c.hour.desc())
    )
    return [(hour, float(count)) for hour, count in connection.execute(query)]


def windows(engine: Engine, version: str, grid: str, end: datetime, days: tuple[int, ...]) -> list[Window]:
    """Merge the version's profiles into the windows of `days` before `end`; hours with other bins are left out."""
    merged: Profile | None = None
    segments: dict[str, Sums] = {}
    made, count = [], 0
    starts = {end - DAY * length: length for length in days}
    reached = end
    for start, profile, content in _pieces(engine, version, grid, end, sorted(starts)):
        passed = sorted((edge for edge in starts if start < edge <= reached), reverse=True)
        made += [_window(starts[edge], end, merged, segments, count) for edge in passed]
        reached = min(start, reached)
        merged = profile if merged is None else merged.merge(profile)
        add(segments, content.segments)
        count += 1
    done = {window.days for window in made}
    made += [_window(length, end, merged, segments, count) for length in days if length not in done]
    return sorted(made, key=lambda window: window.days)


def _window(days: int, end: datetime, merged: Profile | None, segments: dict[str, Sums], count: int) -> Window:
    return Window(days, end, merged, {name: dict(sums) for name, sums in segments.items()}, count)


def _pieces(
    engine: Engine, version: str, grid: str, end: datetime, starts: list[datetime]
) -> Iterator[tuple[datetime, Profile, Content]]:
    """Yield what the windows are made of, the newest first: whole days where no window begins or ends, else hours."""
    known = _known(engine, version, grid, starts[0], end)
    hours = sorted(known, reverse=True)
    while hours:
        day = hours[0].replace(hour=0)
        of_day = [hour for hour in hours if hour >= day]
        hours = hours[len(of_day) :]
        if day >= starts[0] and day + DAY <= end and not any(day < start < day + DAY for start in starts):
            yield day, *_day(engine, version, day, [known[hour] for hour in of_day], of_day)
            continue
        for hour in of_day:
            with engine.connect() as connection:
                yield hour, *_get(connection, Unit(hour, version), WHOLE)


def _day(
    engine: Engine, version: str, day: datetime, digests: list[str], hours: list[datetime]
) -> tuple[Profile, Content]:
    """Return a day's profile, rolled up anew when one of its hours has changed."""
    unit, digest = Unit(day, version), "/".join(digests)
    with engine.connect() as connection:
        if digest_of(connection, unit, DAY_ROLL) == digest:
            return _get(connection, unit, DAY_ROLL)
        parts = [_get(connection, Unit(hour, version), WHOLE) for hour in hours]
    profile = parts[0][0]
    segments: dict[str, Sums] = {}
    for place, (part, content) in enumerate(parts):
        profile = profile if place == 0 else profile.merge(part)
        add(segments, content.segments)
    contents = [content for _, content in parts]
    whole = Content(
        digest=digest,
        grid=contents[0].grid,
        set_aside=sum(content.set_aside for content in contents),
        labelled=sum(content.labelled for content in contents),
        segments=segments,
    )
    put(engine, unit, DAY_ROLL, profile, int(segments.get("", {}).get("rows", 0)), whole)
    return profile, whole


def _known(engine: Engine, version: str, grid: str, since: datetime, until: datetime) -> dict[datetime, str]:
    """Digests of the profiles with rows and the right bins, by hour."""
    digest, made_with = profiles.c.sums["digest"].as_string(), profiles.c.sums["grid"].as_string()
    query = select(profiles.c.hour, digest).where(
        profiles.c.model_version == version,
        profiles.c.segment == WHOLE,
        profiles.c.hour >= since,
        profiles.c.hour < until,
        profiles.c.rows > 0,
        made_with == grid,
    )
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def _get(connection: Connection, unit: Unit, segment: str) -> tuple[Profile, Content]:
    query = select(profiles.c.bytes, profiles.c.sums).where(*_key(unit, segment))
    content, sums = connection.execute(query).one()
    try:
        return Profile.read(content), msgspec.convert(sums, Content)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{unit.model_version} {unit.hour}: {error}") from error


def _key(unit: Unit, segment: str) -> tuple[Any, ...]:
    same = and_(profiles.c.model_version == unit.model_version, profiles.c.hour == unit.hour)
    return same, profiles.c.segment == segment


def upsert(connection: Connection, table: Table, keys: tuple[str, ...], row: Mapping[str, Any]) -> None:
    """Insert a row, or put it in the place of the one with the same keys."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {name: value for name, value in row.items() if name not in keys}
    connection.execute(insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=values))
