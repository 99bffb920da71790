"""Windows: the stored profiles of a model version, merged; whole days are rolled up for speed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from beacon_core.data import profiles
from beacon_core.data.database import Connection, Engine
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.profiles import Aggregates, ClientRows, ProfileContent
from beacon_drift_profiling.profiling.aggregates import ALL, add
from beacon_drift_profiling.profiling.client_rows import largest, merge
from beacon_drift_profiling.profiling.profile import Profile, ProfileError

DAY = timedelta(days=1)


class Window(msgspec.Struct, frozen=True):
    """The profiles of a window, merged; `profile` is None when it holds no rows."""

    days: int
    end: datetime
    profile: Profile | None
    segments: dict[str, Aggregates]
    profiles: int
    clients: dict[str, ClientRows] = {}


def windows(engine: Engine, version: str, bins_digest: str, end: datetime, days: tuple[int, ...]) -> list[Window]:
    """Merge the version's profiles into the windows of `days` before `end`; hours with other bins are left out."""
    merged: Profile | None = None
    segments: dict[str, Aggregates] = {}
    clients: dict[str, ClientRows] = {}
    made, count = [], 0
    starts = {end - DAY * length: length for length in days}
    reached = end
    for start, profile, content in _pieces(engine, version, bins_digest, end, sorted(starts)):
        passed = sorted((edge for edge in starts if start < edge <= reached), reverse=True)
        made += [_window(starts[edge], end, merged, segments, clients, count) for edge in passed]
        reached = min(start, reached)
        merged = profile if merged is None else merged.merge(profile)
        add(segments, content.segments)
        merge(clients, content.clients)
        count += 1
    done = {window.days for window in made}
    made += [_window(length, end, merged, segments, clients, count) for length in days if length not in done]
    return sorted(made, key=lambda window: window.days)


def _window(
    days: int,
    end: datetime,
    merged: Profile | None,
    segments: dict[str, Aggregates],
    clients: dict[str, ClientRows],
    count: int,
) -> Window:
    own = {name: dict(aggregates) for name, aggregates in segments.items()}
    return Window(days, end, merged, own, count, largest(clients))


def _pieces(
    engine: Engine, version: str, bins_digest: str, end: datetime, starts: list[datetime]
) -> Iterator[tuple[datetime, Profile, ProfileContent]]:
    """Yield what the windows are made of, the newest first: whole days where no window begins or ends, else hours."""
    with engine.connect() as connection:
        known = profiles.digests(connection, version, bins_digest, starts[0], end)
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
                yield hour, *_get(connection, Partition(hour, version))


def _day(
    engine: Engine, version: str, day: datetime, digests: list[str], hours: list[datetime]
) -> tuple[Profile, ProfileContent]:
    """Return a day's profile, rolled up anew when one of its hours has changed."""
    partition, digest = Partition(day, version), "/".join(digests)
    with engine.connect() as connection:
        if profiles.digest_of(connection, partition, profiles.DAY_ROLL) == digest:
            return _get(connection, partition, profiles.DAY_ROLL)
        parts = [_get(connection, Partition(hour, version)) for hour in hours]
    profile = parts[0][0]
    segments: dict[str, Aggregates] = {}
    clients: dict[str, ClientRows] = {}
    for place, (part, content) in enumerate(parts):
        profile = profile if place == 0 else profile.merge(part)
        add(segments, content.segments)
        merge(clients, content.clients)
    contents = [content for _, content in parts]
    whole = ProfileContent(
        digest=digest,
        bins_digest=contents[0].bins_digest,
        set_aside=sum(content.set_aside for content in contents),
        labelled=sum(content.labelled for content in contents),
        segments=segments,
        clients=largest(clients),
    )
    rows = int(segments.get(ALL, {}).get("rows", 0))
    profiles.put(engine, partition, profiles.DAY_ROLL, profile.serialize(), rows, whole)
    return profile, whole


def _get(connection: Connection, partition: Partition, segment: str = profiles.WHOLE) -> tuple[Profile, ProfileContent]:
    try:
        serialized, content = profiles.get(connection, partition, segment)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{partition.model_version} {partition.hour}: {error}") from error
    return Profile.read(serialized), content
