"""MLflow's scoring protocol: POST /invocations in its four JSON forms, and CSV."""

import csv
import io
import math
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.numbers import NUMBER_RULE, NotFiniteError, NumberError, read_number
from beacon_core.errors import BeaconError
from beacon_core.serving.http import JSON, Request, encode_json
from beacon_inference.ask import Ask
from beacon_inference.pipeline import Protocol
from beacon_inference.protocols.table import Tables, numbers
from beacon_inference.protocols.v1 import inputs, instances, respond

CSV = b"text/csv"
CONTENT_TYPES = frozenset({JSON, CSV})
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# How pandas writes a missing value, as MLflow's own server reads it.
MISSING = frozenset({"", "NA", "NaN", "nan"})


class Split(msgspec.Struct):
    """A data frame as columns and rows."""

    columns: list[str]
    data: msgspec.Raw
    index: list[Any] = []


class Invocation(msgspec.Struct):
    """The body of /invocations: exactly one of the four forms."""

    dataframe_split: Split | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    params: dict[str, Any] | None = None


def mlflow(tables: Tables) -> Protocol:
    """Speak MLflow's scoring protocol."""

    def parse(request: Request) -> Ask:
        if request.headers.get(b"content-type", b"").startswith(CSV):
            return _csv(request.body, tables)
        return _json(tables.decode(request.body, Invocation, nan_is_null=True), tables)

    return Protocol(parse, respond)


def _json(body: Invocation, tables: Tables) -> Ask:
    split, records = body.dataframe_split, body.dataframe_records
    given = [
        split is not msgspec.UNSET,
        records is not msgspec.UNSET,
        bool(bytes(body.instances)),
        bool(bytes(body.inputs)),
    ]
    if sum(given) != 1:
        raise BeaconError("invalid_body", f"send exactly one of {', '.join(FORMS)}")
    if split is not msgspec.UNSET:
        data, dimensions = numbers(split.data, "dataframe_split.data")
        if len(data) and (dimensions != 2 or data.shape[1] != len(split.columns)):
            rule = f"rows must have {len(split.columns)} values, as columns has names"
            raise BeaconError("invalid_shape", rule, "dataframe_split.data")
        return tables.of_columns(split.columns, data, "dataframe_split.data")
    if records is not msgspec.UNSET:
        return tables.of_records(records, "dataframe_records")
    if bytes(body.instances):
        return instances(body.instances, tables, "instances")
    return inputs(body.inputs, tables)


def _csv(body: bytes, tables: Tables) -> Ask:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BeaconError("invalid_body", f"the body is not CSV in UTF-8: {error}") from error
    if len(lines) < 2:
        raise BeaconError("invalid_body", "send a header line and at least one row")
    columns, *rows = lines
    tables.check_count(len(rows), "rows")
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise BeaconError("invalid_shape", f"has {len(row)} values, the header {len(columns)}", f"rows[{index}]")
    values = [
        [_number(text, f"rows[{index}].{name}") for name, text in zip(columns, row, strict=True)]
        for index, row in enumerate(rows)
    ]
    return tables.of_columns(columns, np.array(values, dtype=np.float64), "rows")


def _number(text: str, field: str) -> float:
    text = text.strip()
    if text in MISSING:
        return math.nan
    try:
        return read_number(text)
    except NumberError as error:
        code = "not_finite" if isinstance(error, NotFiniteError) else "invalid_type"
        raise BeaconError(code, f"{text[:32]!r} must be {NUMBER_RULE}", field[:128]) from error


def error_body(error: BeaconError, request: Request) -> bytes:
    """Beacon's error with the two keys that MLflow's clients read."""
    code = "INTERNAL_ERROR" if error.status >= 500 else "BAD_REQUEST"
    return encode_json(error.body(request.id) | {"error_code": code, "message": error.message})
