"""Features of an entity, from feature serving, within a time limit.

While feature serving is down, a circuit breaker fails requests at once.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp
import msgspec
import numpy as np

from beacon_core.domain.entity_key import EntityKey
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.text import normal_text
from beacon_core.domain.value_rules import ValueRuleError
from beacon_core.observability.trace_context import SAMPLED, outgoing_headers
from beacon_core.web.http import Request
from beacon_core.web.timeouts import tick_timeout
from beacon_inference.matrix import NO_TEXTS, Matrix, Texts
from beacon_inference.prediction.inputs import PredictionInputs

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 1.0
# The longest wait for the first connection at start: inference is ready without feature serving.
WARM_SECONDS = 1.0
FOUND = "PRESENT"
UNKNOWN = "NOT_FOUND"
# Errors of a lookup, from no connection to an answer that cannot be read.
FAULTS = (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, ValueError)


class FeatureColumn(msgspec.Struct):
    """One feature over all entities, in Feast's format."""

    values: list[float | bool | str | None]
    statuses: list[str]


class FeatureNames(msgspec.Struct):
    """Names of the columns, in order."""

    feature_names: list[str]


class OnlineFeaturesResponse(msgspec.Struct):
    """Feast's answer to /get-online-features, with the parts that inference needs."""

    metadata: FeatureNames
    results: list[FeatureColumn]


class StoreFeatures(NamedTuple):
    """Features of the feature store: a matrix (rows, features), NaN where it has no value, and the texts beside it."""

    matrix: Matrix
    texts: Texts


class FeatureClient:
    """Reads features of a product's feature service from feature serving."""

    def __init__(self, address: str, timeout_seconds: float, key: str = "") -> None:
        self._address = address.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._key = {"x-api-key": key} if key else {}
        self._decode = msgspec.json.Decoder(OnlineFeaturesResponse).decode
        self._session: aiohttp.ClientSession | None = None
        self._failures = 0
        self._open_until = 0.0

    async def warm(self) -> None:
        """Connect to feature serving, so that no request waits for the connection; it may be down."""
        with contextlib.suppress(Exception):  # whatever it is, the first lookup raises it
            async with tick_timeout(WARM_SECONDS), self._open_session().get(f"{self._address}/health") as answer:
                await answer.read()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def features(
        self, product: Product, entities: Sequence[EntityKey], request: Request
    ) -> tuple[StoreFeatures, set[EntityKey]]:
        """Look up the features of the entities, one row for each, and the set of unknown entities.

        Raises BeaconError `feature_store_unavailable` without a valid answer of feature serving in time.
        """
        self._check_breaker()
        try:
            found = _read(await self._request(product, entities, request), product, entities)
        except FAULTS as error:
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._open_until = time.monotonic() + OPEN_SECONDS
            raise _unavailable(message_of(error)) from error
        self._failures = 0
        return found

    def _check_breaker(self) -> None:
        """Raise BeaconError while the breaker is open; afterwards let one request per `OPEN_SECONDS` try."""
        if self._failures < FAILURES_TO_OPEN:
            return
        now = time.monotonic()
        if now < self._open_until:
            raise _unavailable("its last requests failed")
        self._open_until = now + OPEN_SECONDS

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None),  # `tick_timeout` is the limit
                connector=aiohttp.TCPConnector(limit=256, keepalive_timeout=30),
            )
        return self._session

    async def _request(
        self, product: Product, entities: Sequence[EntityKey], request: Request
    ) -> OnlineFeaturesResponse:
        keys = {name: [entity[at] for entity in entities] for at, name in enumerate(product.keys)}
        body = msgspec.json.encode({"feature_service": product.feature_service, "entities": keys})
        headers = {"content-type": "application/json", "x-request-id": request.id, **self._key}
        headers |= outgoing_headers(request.trace, request.trace.parent_id if request.trace.flags & SAMPLED else "")
        request.looked_up = len(entities)
        async with tick_timeout(self._timeout_seconds):
            try:
                return await self._post(body, headers)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # The server had just closed the idle connection, so it never read the request.
                return await self._post(body, headers)

    async def _post(self, body: bytes, headers: dict[str, str]) -> OnlineFeaturesResponse:
        url = f"{self._address}/get-online-features"
        async with self._open_session().post(url, data=body, headers=headers) as response:
            content = await response.read()
            if response.status != 200:
                raise ValueError(f"feature serving answered {response.status}")
            return self._decode(content)


def _read(
    answer: OnlineFeaturesResponse, product: Product, entities: Sequence[EntityKey]
) -> tuple[StoreFeatures, set[EntityKey]]:
    columns = dict(zip(answer.metadata.feature_names, answer.results, strict=True))
    missing = [name for name in product.feature_names if name not in columns]
    if missing:
        raise ValueError(f"it does not serve {missing[0]}")
    wanted = [columns[name] for name in product.feature_names]
    if any(not len(column.values) == len(column.statuses) == len(entities) for column in wanted):
        raise ValueError("it answered for a different number of entities")
    unknown = {
        entity for row, entity in enumerate(entities) if all(column.statuses[row] == UNKNOWN for column in wanted)
    }
    matrix, texts = np.full((len(entities), len(wanted)), np.nan), {}
    for at, (feature, column) in enumerate(zip(product.features, wanted, strict=True)):
        for row, (value, status) in enumerate(zip(column.values, column.statuses, strict=True)):
            if value is not None and status == FOUND:
                matrix[row, at] = _number(feature, value)
                if feature.keeps_text(matrix[row, at]):
                    texts[row, at] = normal_text(str(value))
    return StoreFeatures(matrix, texts), unknown


def _number(feature: Feature, value: object) -> float:
    """The number of the store's value; NaN for a level that product.yaml no longer has."""
    try:
        return feature.to_number(value)
    except ValueRuleError:
        return math.nan


def _unavailable(reason: str) -> BeaconError:
    return BeaconError("feature_store_unavailable", f"feature serving does not answer: {reason}", "entity")


async def look_up(client: FeatureClient, product: Product, inputs: PredictionInputs, request: Request) -> StoreFeatures:
    """Look up the store features of all rows in one call, NaN in rows without an entity.

    Raises BeaconError `unknown_entity`, which names the row, and `feature_store_unavailable`.
    """
    entities = inputs.entities or []
    known = [entity for entity in entities if entity is not None]
    distinct = list(dict.fromkeys(known))
    matrix = np.full(inputs.matrix.shape, np.nan)
    if not distinct:
        return StoreFeatures(matrix, NO_TEXTS)
    found, unknown = await client.features(product, distinct, request)
    positions = {entity: index for index, entity in enumerate(distinct)}
    texts: dict[tuple[int, int], str] = {}
    for row, entity in enumerate(entities):
        if entity is None:
            continue
        if entity in unknown:
            raise _unknown(product, entity, inputs.entity_path, row)
        matrix[row] = found.matrix[positions[entity]]
        if found.texts:
            texts |= {(row, at): text for (of, at), text in found.texts.items() if of == positions[entity]}
    return StoreFeatures(matrix, texts)


def _unknown(product: Product, entity: EntityKey, path: str, row: int) -> BeaconError:
    shown = ", ".join(f"{name} {value}" for name, value in zip(product.keys, entity, strict=True))
    name = product.keys[0] if len(product.keys) == 1 else ""
    field = path.format(row=row, feature=name).rstrip(".")
    return BeaconError("unknown_entity", f"no features are known for {shown}", field)
