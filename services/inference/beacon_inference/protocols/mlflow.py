"""MLflow's scoring protocol: POST /invocations in its four JSON forms, and CSV."""

from typing import Any

import msgspec

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.web.http import JSON, Request, encode_json, media_type
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.inputs import ParsedRequest, PredictionInputs, Protocol
from beacon_inference.protocols.csv_table import read_csv
from beacon_inference.protocols.json_text import is_present
from beacon_inference.protocols.table import TableParser
from beacon_inference.protocols.v1 import inputs, instances, respond

CSV = b"text/csv"
CONTENT_TYPES = frozenset({JSON, CSV})
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Split(msgspec.Struct):
    """A data frame as columns and rows."""

    columns: list[str]
    data: msgspec.Raw
    index: list[Any] | None = None


class Invocation(msgspec.Struct):
    """The body of /invocations: exactly one of the four forms."""

    dataframe_split: Split | None = None
    dataframe_records: msgspec.Raw = msgspec.Raw()
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    params: dict[str, Any] | None = None


def mlflow(parsers: PerProduct[TableParser]) -> Protocol:
    """MLflow's scoring protocol."""

    def parse(request: Request, product: Product) -> ParsedRequest:
        tables = parsers(product)
        if media_type(request.headers.get(b"content-type", b"")) == CSV:
            return ParsedRequest(read_csv(request.body, tables), respond)
        body = tables.decode(request.body, Invocation, nan_is_null=True)
        return ParsedRequest(_json(body, tables), respond)

    return parse


def _json(body: Invocation, tables: TableParser) -> PredictionInputs:
    split, records = body.dataframe_split, body.dataframe_records
    given = [
        split is not None,
        is_present(records),
        is_present(body.instances),
        is_present(body.inputs),
    ]
    if sum(given) != 1:
        raise BeaconError("invalid_body", f"send exactly one of {', '.join(FORMS)}")
    if split is not None:
        return tables.of_split(split.columns, split.data, "dataframe_split.data")
    if is_present(records):
        return tables.of_records(records, "dataframe_records")
    if is_present(body.instances):
        return instances(body.instances, tables, "instances")
    return inputs(body.inputs, tables)


def error_body(error: BeaconError, request: Request) -> bytes:
    """Beacon's error with the two keys that MLflow's clients read."""
    code = "INTERNAL_ERROR" if error.status >= 500 else "BAD_REQUEST"
    return encode_json(error.body(request.id) | {"error_code": code, "message": error.message})
