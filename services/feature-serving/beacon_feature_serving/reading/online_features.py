"""`POST /get-online-features`: read the body, resolve it, read the store once for each view, respond as Feast does."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from beacon_core.domain.integers import whole_or_float
from beacon_core.platform import clock
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Handler, Request, Response, encode_json
from beacon_feature_serving.catalog.plans import LookupPlan
from beacon_feature_serving.catalog.registry import FeatureRegistry
from beacon_feature_serving.errors import feast_error
from beacon_feature_serving.instruments import Instruments
from beacon_feature_serving.json_body import decode_body
from beacon_feature_serving.reading.response import assemble
from beacon_feature_serving.rows import FeatureRow
from beacon_feature_serving.stores.reader import OnlineStoreReader


class FeatureRequest(msgspec.Struct):
    """The body of a request, as Feast's clients send it."""

    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] | None = None
    full_feature_names: bool | None = None
    include_feature_view_version_metadata: bool | None = None


_decode = msgspec.json.Decoder(FeatureRequest, float_hook=whole_or_float).decode


def parse(body: bytes, most_entities: int) -> FeatureRequest:
    """Read the body and hold it to the rules that need no registry; raises `FeastResponseError`."""
    query = decode_body(body, _decode, most_entities)
    if not query.feature_service and not query.features:
        raise feast_error("invalid_body", "name a feature_service, or at least one feature", "features")
    if not query.entities:
        raise feast_error("invalid_entity", "name at least one entity key with its values", "entities")
    lengths = {name: len(column) for name, column in query.entities.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise feast_error("invalid_shape", f"All entity columns must have the same length, got: {listed}", "entities")
    length = next(iter(lengths.values()))
    if length == 0:
        raise feast_error("invalid_entity", "the entity columns are empty", f"entities.{next(iter(lengths))}")
    if length > most_entities:
        raise feast_error("batch_too_large", f"{length} entities in one request; at most {most_entities}", "entities")
    return query


def columns_of(plan: LookupPlan, entities: dict[str, list[Any]]) -> list[list[Any]]:
    """Order the entity columns as the plan does; `FeastResponseError` for one that is missing, unknown or repeated."""
    given: dict[str, list[Any]] = {}
    for name, column in entities.items():
        key = plan.aliases.get(name)
        if key is None:
            rule = f"unknown entity key {name}; the keys are: {', '.join(plan.keys)}"
            raise feast_error("invalid_entity", rule, f"entities.{name}")
        if key in given:
            raise feast_error("invalid_entity", f"{name} gives the entity key {key} a second time", f"entities.{name}")
        given[key] = column
    for key in plan.keys:
        if key not in given:
            raise feast_error("invalid_entity", f"Missing join key values for keys: {key}", f"entities.{key}")
    return [given[key] for key in plan.keys]


def get_online_features(
    access: AccessControl,
    registry: FeatureRegistry,
    reader: OnlineStoreReader,
    instruments: Instruments,
    most_entities: int,
) -> Handler:
    """Make the hot route."""

    async def read(plan: LookupPlan, columns: Sequence[Sequence[Any]]) -> list[list[FeatureRow | None]]:
        by_key = dict(zip(plan.keys, columns, strict=True))
        reads = []
        for view in plan.reads:
            keys = view.read_keys([by_key[key] for key in view.keys], view.keys)
            reads.append(reader.read(view, keys))
        if len(reads) == 1:
            return [await reads[0]]
        return list(await asyncio.gather(*reads))

    async def handle(request: Request) -> Response:
        query = parse(request.body, most_entities)
        access.take_rows(request, len(next(iter(query.entities.values()))))
        plan = registry.catalog.plan(query.feature_service, query.features or [], query.full_feature_names is True)
        columns = columns_of(plan, query.entities)
        begun = time.perf_counter()
        request.timings.append(("validate", begun - request.started))
        request.looked_up = len(columns[0])
        rows = await read(plan, columns)
        read_seconds = time.perf_counter() - begun
        request.timings.append(("lookup", read_seconds))
        instruments.store_seconds.observe(read_seconds)
        response = assemble(
            plan, columns, rows, clock.timestamp(), versions=query.include_feature_view_version_metadata is True
        )
        instruments.responded(response.statuses, response.ages)
        return Response(encode_json(response.body))

    return handle
