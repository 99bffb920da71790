"""Skew: what serving returned, replayed from the prediction log through the path that training takes."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
import pyarrow as pa

from beacon_core.data.database import Connection, Engine
from beacon_core.data.prediction_log import LogSlice, scan
from beacon_core.domain.entity_key import EntityKey, EntityKeyError, parse_key
from beacon_core.domain.product import Entity, Product
from beacon_core.domain.value_rules import Value
from beacon_core.feature_store import repo
from beacon_core.feature_store.columns import KEY_TYPES, TIME, shown_values
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.settings import Settings

BATCH = 10_000

Moment = tuple[EntityKey, datetime]


class Skew(msgspec.Struct, frozen=True):
    """The replayed predictions, how many of them differ, their share, and by feature how often it differed."""

    predictions: int
    unequal: int
    share: float
    features: dict[str, int]


class StoreLookup(NamedTuple):
    """What a prediction saw of an entity in the feature store: the features that `from_store` names."""

    id: str
    time: datetime
    entity: str
    features: dict[str, Value]
    from_store: list[str]


def measure_skew(settings: Settings, product: Product, engine: Engine, since: datetime, until: datetime) -> Skew:
    """Replay the predictions of [since, until) that used stored features. Equal means equal: no tolerance."""
    replayed = unequal = 0
    differing: Counter[str] = Counter()
    entity = product.entity
    if entity is None:
        return Skew(0, 0, 0.0, {})
    with engine.connect() as connection:
        for batch in _batches(product, connection, since, until):
            keyed = [(key, row) for row in batch if (key := _key(entity, row.entity)) is not None]
            known = _known(settings, product, {(key, row.time) for key, row in keyed})
            for key, row in keyed:
                joined = known[key, row.time]
                wrong = [name for name in _of_store(row, product) if row.features.get(name) != joined.get(name)]
                differing.update(wrong)
                unequal += bool(wrong)
            replayed += len(keyed)
    return Skew(replayed, unequal, unequal / replayed if replayed else 0.0, dict(differing.most_common()))


def _batches(product: Product, connection: Connection, since: datetime, until: datetime) -> Iterator[list[StoreLookup]]:
    rows = LogSlice(since, until, looked_up=True)
    for batch in scan(connection, rows, StoreLookup._fields, size=BATCH):
        # Where the request had every value, no value came from the store.
        if used := [row for row in map(StoreLookup._make, batch) if _of_store(row, product)]:
            yield used


def _key(entity: Entity, text: str) -> EntityKey | None:
    """The key; None for one of an earlier schema, which cannot be replayed."""
    try:
        return parse_key(entity, text)
    except EntityKeyError:
        return None


def _of_store(row: StoreLookup, product: Product) -> list[str]:
    """Name the features that the request lacked: those that came from the store, and those that it did not have.

    Lags are left out: they move with time, and are served as of the last materialization.
    """
    names = [feature.name for feature in product.features if feature.lag is None]
    return [name for name in names if name in row.from_store or row.features.get(name) is None]


def _known(settings: Settings, product: Product, moments: set[Moment]) -> dict[Moment, dict[str, Value | None]]:
    """What training would join at each moment; None for what was not known."""
    ordered = sorted(moments, key=lambda moment: moment[1])
    columns = product.entity.columns if product.entity else ()
    keys = [pa.array([key[place] for key, _ in ordered], KEY_TYPES[kind]) for place, (_, kind) in enumerate(columns)]
    times = pa.array([time for _, time in ordered], TIME)
    joined = repo.known_at(settings, product, pa.table([*keys, times], names=[*product.keys, EVENT_TIME]))
    values = {name: shown_values(joined[name]) for name in product.feature_names}
    return {moment: {name: column[place] for name, column in values.items()} for place, moment in enumerate(ordered)}
