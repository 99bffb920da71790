"""Builds the OpenAPI 3.1 document from operations, with msgspec's schemas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from beacon_core.domain.error_codes import CODES
from beacon_inference.protocols.native_types import Type

Json = dict[str, Any]
JSON = "application/json"


class Example(NamedTuple):
    """A request, what it shows, and the answer to it; `name` joins the two in the document."""

    name: str
    summary: str
    body: Any
    answer: Any
    status: int = 200
    content_type: str = JSON


class OneOf(NamedTuple):
    """One of several types: msgspec has no union of Structs without tags."""

    types: tuple[Type, ...]


class Operation(NamedTuple):
    """A route: its request and answer types by content type; `codes` are all its errors.

    `other` are its further answers, by status: content type and type. `takes_key`: it may need an API key.
    """

    method: str
    path: str
    tag: str
    summary: str
    answers: Mapping[str, Type]
    error: Type
    codes: Iterable[str] = ("overloaded",)
    takes: Mapping[str, Type] = {}
    examples: Sequence[Example] = ()
    parameters: Sequence[Json] = ()
    headers: Mapping[str, Any] = {}
    id: str | None = None
    description: str | None = None
    takes_key: bool = False
    other: Mapping[int, tuple[str, str, Type]] = {}


def parameter(place: str, name: str, description: str, kind: Type = str, **more: Any) -> Json:
    """Describe a parameter; those of the path are required."""
    required: Json = {"required": True} if place == "path" else {}
    schema = msgspec.json.schema(kind)
    return {"name": name, "in": place, "description": description, "schema": schema} | required | more


def paths_and_schemas(operations: Sequence[Operation]) -> tuple[Json, Json]:
    """Build the document's paths, and the schemas that they refer to."""
    kinds = [kind for operation in operations for kind in _types(operation)]
    flat = [kind for several in kinds for kind in (several.types if isinstance(several, OneOf) else (several,))]
    rendered, components = msgspec.json.schema_components(flat, ref_template="#/components/schemas/{name}")
    each = iter(rendered)
    schemas = iter(
        [{"anyOf": [next(each) for _ in kind.types]} if isinstance(kind, OneOf) else next(each) for kind in kinds]
    )
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schemas)
    return paths, components


def _types(operation: Operation) -> Iterator[Type]:
    """Every type of an operation, in the order in which `_operation` takes their schemas."""
    yield from operation.takes.values()
    yield from operation.answers.values()
    yield operation.error
    yield from (kind for _, _, kind in operation.other.values())


def _operation(operation: Operation, schemas: Iterator[Json]) -> Json:
    found: Json = {"tags": [operation.tag], "summary": operation.summary}
    if operation.id is not None:
        found["operationId"] = operation.id
    if operation.description is not None:
        found["description"] = operation.description
    if operation.takes_key:
        found["security"] = [{}, {"key": []}]
    found["parameters"] = [*operation.parameters]
    if operation.takes:
        content = {kind: {"schema": next(schemas)} | _requests(operation, kind) for kind in operation.takes}
        found["requestBody"] = {"required": True, "content": content}
    return found | {"responses": _responses(operation, schemas)}


def _responses(operation: Operation, schemas: Iterator[Json]) -> Json:
    request_id: Json = {"X-Request-Id": {"schema": {"type": "string"}}}
    content = {kind: {"schema": next(schemas)} for kind in operation.answers}
    first = next(iter(content))
    content[first] |= _answers(operation, 200)
    found: Json = {
        "200": {"description": _meaning(operation), "headers": request_id | dict(operation.headers), "content": content}
    }
    error = next(schemas)
    codes: dict[int, list[str]] = {}
    for code in operation.codes:
        codes.setdefault(CODES[code].status, []).append(code)
    for status, wanted in sorted(codes.items()):
        schema = {"allOf": [error, {"properties": {"code": {"enum": wanted}}}]}
        retry = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}}
        found[str(status)] = {
            "description": "; ".join(f"`{code}`: {CODES[code].meaning}" for code in wanted),
            "headers": request_id | (retry if status in {429, 503} else {}),
            "content": {JSON: {"schema": schema} | _answers(operation, status)},
        }
    for status, (description, content_type, _) in operation.other.items():
        found[str(status)] = {"description": description, "content": {content_type: {"schema": next(schemas)}}}
    return found


def _meaning(operation: Operation) -> str:
    """Return the answer's docstring, where it is a Struct."""
    kind = next(iter(operation.answers.values()))
    described = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return " ".join((kind.__doc__ or "").split()) if described else operation.summary


def _requests(operation: Operation, content_type: str) -> Json:
    shown = {
        example.name: {"summary": example.summary, "value": example.body}
        for example in operation.examples
        if example.content_type == content_type and example.body is not None
    }
    return {"examples": shown} if shown else {}


def _answers(operation: Operation, status: int) -> Json:
    shown = {
        example.name: {"value": msgspec.to_builtins(example.answer)}
        for example in operation.examples
        if example.status == status
    }
    return {"examples": shown} if shown else {}


def constant(value: Any, description: str) -> Type:
    """A type of one value."""
    return Annotated[Any, Meta(description=description, extra_json_schema={"const": value})]
