"""TensorFlow's and KServe's V1 protocol: `instances` or `inputs` in, `predictions` out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.spool.record import Record
from beacon_core.web.http import Request, Response, encode_json
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.inputs import ParsedRequest, PredictionInputs, Protocol
from beacon_inference.protocols.json_text import is_present
from beacon_inference.protocols.messages import PredictionsResponse
from beacon_inference.protocols.table import TableParser


class V1Request(msgspec.Struct):
    """The body of :predict; exactly one of the two."""

    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    signature_name: str | None = None


def v1(models: Models, parsers: PerProduct[TableParser]) -> Protocol:
    """The protocol for the product's one model."""

    def parse(request: Request, product: Product) -> ParsedRequest:
        models.find(request.path["name"])
        tables = parsers(product)
        body: V1Request = tables.decode(request.body, V1Request)
        has_instances, has_inputs = is_present(body.instances), is_present(body.inputs)
        if has_instances == has_inputs:
            raise BeaconError("invalid_body", "send either instances or inputs", "instances")
        rows = instances(body.instances, tables, "instances") if has_instances else inputs(body.inputs, tables)
        return ParsedRequest(rows, respond)

    return parse


def instances(raw: msgspec.Raw, tables: TableParser, field: str) -> PredictionInputs:
    """Rows: lists in feature order, or objects of names and values."""
    text = bytes(raw).lstrip()
    if text[:1] == b"[" and text[1:].lstrip()[:1] == b"{":
        return tables.of_records(raw, field)
    return tables.of_rows(raw, field)


def inputs(raw: msgspec.Raw, tables: TableParser) -> PredictionInputs:
    """Rows as in `instances`, or an object of columns."""
    if bytes(raw).lstrip()[:1] != b"{":
        return instances(raw, tables, "inputs")
    return tables.of_records(raw, "inputs", _records)


def _records(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn columns (lists, lists of one value each, or one value) into records."""
    values = {name: column if isinstance(column, list) else [column] for name, column in columns.items()}
    rows = max((len(column) for column in values.values()), default=0)
    if any(len(column) != rows for column in values.values()):
        raise BeaconError("invalid_shape", "the columns are of unequal length", "inputs")
    flat = {
        name: [item[0] if isinstance(item, list) and len(item) == 1 else item for item in column]
        for name, column in values.items()
    }
    return [{name: column[row] for name, column in flat.items()} for row in range(rows)]


def respond(records: Sequence[Record]) -> Response:
    """Bare predictions, as V1 clients expect them."""
    return Response(encode_json(PredictionsResponse([value for record in records for value in record.prediction])))
