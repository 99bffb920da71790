"""`POST /get-online-features`: read the body, resolve it, read the store once for each view, answer as Feast does."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from beacon_core.domain.integers import whole_or_float
from beacon_core.platform import clock
from beacon_core.web.http import Handler, Request, Response, encode_json
from beacon_feature_serving.catalog import Plan
from beacon_feature_serving.instruments import Instruments
from beacon_feature_serving.lookup import Row, assemble
from beacon_feature_serving.refusal import invalid, refused
from beacon_feature_serving.registry import Registry
from beacon_feature_serving.stores.reader import Reader

BodyT = TypeVar("BodyT")
PATH_PARTS = re.compile(r"\w+")


class Query(msgspec.Struct):
    """The body of a request, as Feast's clients send it."""

    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] | None = None
    full_feature_names: bool | None = None
    include_feature_view_version_metadata: bool | None = None


_decode = msgspec.json.Decoder(Query, float_hook=whole_or_float).decode


def decode_body(body: bytes, decode: Callable[[bytes], BodyT]) -> BodyT:
    """Decode a JSON body; raises `RefusedError` in the shape of Feast's server for one that is not of its type."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$")
        raise invalid("invalid_type", rule, ("body", *PATH_PARTS.findall(path))) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid("invalid_json", f"the body is not JSON: {error}", ("body",)) from error


def parse(body: bytes, most_entities: int) -> Query:
    """Read the body and hold it to the rules that need no registry; raises `RefusedError`."""
    query = decode_body(body, _decode)
    if not query.feature_service and not query.features:
        raise refused("invalid_body", "name a feature_service, or at least one feature", "features")
    if not query.entities:
        raise refused("invalid_entity", "name at least one entity key with its values", "entities")
    lengths = {name: len(column) for name, column in query.entities.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise refused("invalid_shape", f"All entity columns must have the same length, got: {told}", "entities")
    length = next(iter(lengths.values()))
    if length == 0:
        raise refused("invalid_entity", "the entity columns are empty", f"entities.{next(iter(lengths))}")
    if length > most_entities:
        raise refused("batch_too_large", f"{length} entities in one request; at most {most_entities}", "entities")
    return query


def columns_of(plan: Plan, entities: dict[str, list[Any]]) -> list[list[Any]]:
    """The entity columns in the plan's order; raises `RefusedError` for one that is missing, unknown or given twice."""
    given: dict[str, list[Any]] = {}
    for name, column in entities.items():
        key = plan.aliases.get(name)
        if key is None:
            raise refused(
                "invalid_entity", f"unknown entity key {name}; the keys are: {_told(plan)}", f"entities.{name}"
            )
        if key in given:
            raise refused("invalid_entity", f"{name} gives the entity key {key} a second time", f"entities.{name}")
        given[key] = column
    for key in plan.keys:
        if key not in given:
            raise refused("invalid_entity", f"Missing join key values for keys: {key}", f"entities.{key}")
    return [given[key] for key in plan.keys]


def _told(plan: Plan) -> str:
    return ", ".join(plan.keys)


def get_online_features(registry: Registry, reader: Reader, instruments: Instruments, most_entities: int) -> Handler:
    """Make the hot route."""

    async def read(plan: Plan, columns: Sequence[Sequence[Any]]) -> list[list[Row | None]]:
        by_key = dict(zip(plan.keys, columns, strict=True))
        reads = []
        for view in plan.reads:
            keys = view.encode([by_key[key] for key in view.keys], view.keys)
            reads.append(reader.read(view, keys))
        if len(reads) == 1:
            return [await reads[0]]
        return list(await asyncio.gather(*reads))

    async def handle(request: Request) -> Response:
        query = parse(request.body, most_entities)
        plan = registry.catalog.plan(query.feature_service, query.features or [], query.full_feature_names is True)
        columns = columns_of(plan, query.entities)
        begun = time.perf_counter()
        request.timings.append(("validate", begun - request.started))
        request.looked_up = len(columns[0])
        rows = await read(plan, columns)
        read_seconds = time.perf_counter() - begun
        request.timings.append(("lookup", read_seconds))
        instruments.store_seconds.observe(read_seconds)
        answer = assemble(
            plan, columns, rows, clock.timestamp(), versions=query.include_feature_view_version_metadata is True
        )
        instruments.answered(answer)
        return Response(encode_json(answer.body))

    return handle
