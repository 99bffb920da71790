"""The feature store's values for the entities of a table, asked of feature serving as inference asks."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from beacon_core.domain.entity_key import EntityKey, EntityKeyError, key_of
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_core.web.http import Request
from beacon_inference.prediction.feature_client import FeatureClient, StoreFeatures
from beacon_inference.scoring.columns import ScoredRows

ENTITIES_PER_CALL = 500


def look_up_all(
    settings: Settings, product: Product, keys: Sequence[EntityKey | None], rows: ScoredRows
) -> StoreFeatures:
    """The values of each row's entity; a row of an unknown entity is added to `rows.unread`.

    Raises BeaconError `feature_store_unavailable`.
    """
    return asyncio.run(_look_up(settings, product, keys, rows))


def keys_of(product: Product, table: pa.Table, rows: ScoredRows) -> list[EntityKey | None]:
    """Each row's key; None, and a problem, where it has none."""
    if product.entity is None:
        raise ValueError(f"{product.name} has no entity")
    found: list[EntityKey | None] = []
    columns = [table[name].to_pylist() for name in product.keys]
    for row, key in enumerate(zip(*columns, strict=True)):
        try:
            found.append(key_of(product.entity, dict(zip(product.keys, key, strict=True))))
        except EntityKeyError as error:
            found.append(None)
            rows.unread.setdefault(row, f"its key {error}")
    return found


async def _look_up(
    settings: Settings, product: Product, keys: Sequence[EntityKey | None], rows: ScoredRows
) -> StoreFeatures:
    client = FeatureClient(settings.features_address, settings.features_timeout_seconds, settings.features_key)
    matrix, texts = np.full(rows.matrix.shape, np.nan), dict[tuple[int, int], str]()
    try:
        for first in range(0, len(keys), ENTITIES_PER_CALL):
            some = keys[first : first + ENTITIES_PER_CALL]
            distinct = list(dict.fromkeys(key for key in some if key is not None))
            if not distinct:
                continue
            found, unknown = await client.features(product, distinct, Request({"method": "POST", "headers": ()}))
            place = {key: at for at, key in enumerate(distinct)}
            of_entity: dict[int, list[tuple[int, str]]] = {}
            for (of, at), text in found.texts.items():
                of_entity.setdefault(of, []).append((at, text))
            for row, key in enumerate(some, first):
                if key is None:
                    continue
                if key in unknown:
                    rows.unread.setdefault(row, f"no features are known for {_shown(product, key)}")
                matrix[row] = found.matrix[place[key]]
                texts |= {(row, at): text for at, text in of_entity.get(place[key], [])}
    finally:
        await client.close()
    return StoreFeatures(matrix, texts)


def _shown(product: Product, key: EntityKey) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(product.keys, key, strict=True))
