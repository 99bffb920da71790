"""MLflow's scoring protocol: POST /invocations in its four JSON forms, and CSV."""

import csv
import io
import math
import re
from itertools import filterfalse, islice
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.numbers import NUMBER_RULE, NotFiniteError, NumberError, read_number
from beacon_core.platform.data_file import without_a_name
from beacon_core.web.http import JSON, Request, encode_json, media_type
from beacon_inference.prediction.inputs import ParsedRequest, PredictionInputs, Protocol
from beacon_inference.protocols.table import TableParser, is_present
from beacon_inference.protocols.v1 import inputs, instances, respond

CSV = b"text/csv"
CONTENT_TYPES = frozenset({JSON, CSV})
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)

# By default Python refuses to read integers of a few more digits than this.
LONGEST_INTEGER = 4000
LARGER_THAN_ANY_KEY = 1 << 64


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


def mlflow(tables: TableParser) -> Protocol:
    """MLflow's scoring protocol."""

    def parse(request: Request) -> ParsedRequest:
        if media_type(request.headers.get(b"content-type", b"")) == CSV:
            return ParsedRequest(_csv(request.body, tables), respond)
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


def _csv(body: bytes, tables: TableParser) -> PredictionInputs:
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=None), strict=True)
        lines = list(islice(filterfalse(_is_blank, reader), tables.max_rows + 2))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BeaconError("invalid_body", f"the body is not CSV in UTF-8: {error}") from error
    if len(lines) < 2:
        raise BeaconError("invalid_body", "send a header line and at least one row")
    columns, *rows = lines
    columns = [name.strip() for name in columns]
    _check_names(columns, tables)
    tables.check_count(len(rows), "rows")
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise BeaconError("invalid_shape", f"has {len(row)} values, the header {len(columns)}", f"rows[{index}]")
    keys = None
    if tables.key in columns:
        key = columns.index(tables.key)
        keys = [_key(row.pop(key), tables.missing) for row in rows]
        del columns[key]
    values = [
        [_number(text, tables.missing, f"rows[{index}].{name}") for name, text in zip(columns, row, strict=True)]
        for index, row in enumerate(rows)
    ]
    return tables.of_columns(columns, np.array(values, dtype=np.float64), "rows", keys)


def _check_names(columns: list[str], tables: TableParser) -> None:
    """Raise one BeaconError for all columns of a header that have no name or an unknown one."""
    nameless = [place for place, name in enumerate(columns, 1) if not name]
    unknown = tables.unknown([name for name in columns if name and name != tables.key], "rows")
    if nameless:
        message = f"the header's {without_a_name(nameless)}"
        raise BeaconError("unknown_feature", f"{message}; {unknown.message}" if unknown else message, "header")
    if unknown:
        raise unknown


def _is_blank(line: list[str]) -> bool:
    """Whether the line is blank. A row of one missing value is not: it has quotes or a marker such as NA."""
    return not line or (len(line) == 1 and line[0].isspace())


def _key(text: str, missing: frozenset[str]) -> int | float | str | None:
    """Read an entity's key exactly, as in JSON. Text that is not a number is refused later."""
    text = text.strip()
    if text in missing:
        return None
    if INTEGER.fullmatch(text):
        return int(text) if len(text) <= LONGEST_INTEGER else LARGER_THAN_ANY_KEY
    try:
        read_number(text)
    except NumberError:
        return text
    return whole_or_float(text)


def _number(text: str, missing: frozenset[str], field: str) -> float:
    text = text.strip()
    if text in missing:
        return math.nan
    try:
        return read_number(text)
    except NumberError as error:
        code = "not_finite" if isinstance(error, NotFiniteError) else "invalid_type"
        rule = f"{text[:32]!r} must be {NUMBER_RULE}, or a word that pandas reads as missing, such as NA"
        raise BeaconError(code, rule, field[:128]) from error


def error_body(error: BeaconError, request: Request) -> bytes:
    """Beacon's error with the two keys that MLflow's clients read."""
    code = "INTERNAL_ERROR" if error.status >= 500 else "BAD_REQUEST"
    return encode_json(error.body(request.id) | {"error_code": code, "message": error.message})
