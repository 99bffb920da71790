"""Open Inference Protocol v2, REST, with the binary tensor extension.

Inputs are one named tensor per feature or, where all features are numbers, one tensor (rows, features). Inputs named as
the columns of the entity's key look features up.

With `explain` among the parameters, outputs say what each feature adds to each prediction. They are only there then, so
the model's metadata does not list them.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_same
from beacon_core.domain.product import Feature, Product
from beacon_core.spool.record import Record
from beacon_core.web.http import JSON, Request, Response, encode_json
from beacon_inference.matrix import Matrix
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS, ParsedRequest, PredictionInputs, Protocol
from beacon_inference.prediction.values import explain_number
from beacon_inference.protocols.json_text import flat, flat_numbers, is_present
from beacon_inference.protocols.messages import ExplanationResponse, InferResponse, OutputTensor
from beacon_inference.protocols.table import Column, TableParser
from beacon_inference.protocols.tensor_data import DTYPE_OF, decoded_texts, read_binary, write_binary

BINARY = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
# Output -> column of a record.
OUTPUTS = {"prediction": "prediction", "low": "low", "high": "high", "prediction_id": "ids"}
EXPLAINED_OUTPUTS = ("base", "contributions", "contribution_features")
"""FP64 (rows), FP64 (rows, features), and BYTES (features): the name of each column of `contributions`."""
TEXT_OUTPUTS = frozenset({"prediction_id", "contribution_features"})

# Sizes are bounded, since an empty tensor would fit any shape, even one that numpy cannot create.
MAX_SIZE = 2**31 - 1


Explain = Callable[[Sequence[Record]], Awaitable[list[ExplanationResponse]]]
"""Explains the rows of records; raises BeaconError."""
# The data of a tensor: JSON that is not yet decoded, or what the binary part has.
Content = msgspec.Raw | np.ndarray[Any, Any] | list[str | None]


class Tensor(msgspec.Struct):
    """A tensor of a request; its data is JSON, or `parameters.binary_data_size` bytes behind it."""

    name: str
    shape: list[Any]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.Raw()


class RequestedOutput(msgspec.Struct):
    """An output that the client wants."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of /infer."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class Output(NamedTuple):
    """Values of an answer, one row after the other, and their shape."""

    values: list[Any]
    shape: list[int]


def open_inference(models: Models, parsers: PerProduct[TableParser], explain: Explain) -> Protocol:
    """The protocol for the product's one model."""

    def parse(request: Request, product: Product) -> ParsedRequest:
        models.find(request.path["name"], request.path.get("version"))
        head, tail = _split(request)
        tables = parsers(product)
        body: InferRequest = tables.decode(head, InferRequest)
        is_explained = body.parameters is not None and _is_explained(body.parameters)
        known = (*OUTPUTS, *EXPLAINED_OUTPUTS) if is_explained else OUTPUTS
        for output in body.outputs or ():
            if output.name not in known:
                rule = f"outputs are {', '.join(known)}"
                if output.name in EXPLAINED_OUTPUTS:
                    rule += f"; {output.name} needs the parameter explain: true"
                raise BeaconError("invalid_body", rule, f"outputs.{output.name}"[:128])
        inputs = _inputs(body, tail, tables)
        respond = partial(_response, body, product)
        if not is_explained or not _wants_explanations(body):
            return ParsedRequest(inputs, respond)
        if len(inputs.matrix) > MOST_EXPLAINED_ROWS:
            rule = f"send 1 to {MOST_EXPLAINED_ROWS} rows where explain is true"
            raise BeaconError("batch_too_large", rule, "inputs")

        async def respond_explained(records: Sequence[Record]) -> Response:
            return respond(records, _explained_outputs(await explain(records)))

        return ParsedRequest(inputs, respond, respond_explained)

    return parse


def _split(request: Request) -> tuple[bytes, bytes]:
    length = request.header(HEADER_LENGTH)
    if length is None:
        return request.body, b""
    if not (length.isascii() and length.isdigit()) or int(length[:10]) > len(request.body):
        raise BeaconError("invalid_body", "must be the length of the JSON part", "Inference-Header-Content-Length")
    return request.body[: int(length)], request.body[int(length) :]


def _inputs(body: InferRequest, tail: bytes, tables: TableParser) -> PredictionInputs:
    if not body.inputs:
        raise BeaconError("invalid_body", "send at least one input", "inputs")
    contents: list[Content] = []
    for index, tensor in enumerate(body.inputs):
        content, tail = _content(tensor, tail, f"inputs[{index}]")
        contents.append(content)
    if tail:
        raise BeaconError("invalid_body", f"{len(tail)} bytes follow the last input")
    first = body.inputs[0]
    if len(contents) == 1 and tables.feature(first.name) is None and not tables.is_key(first.name):
        return _one_tensor(first, contents[0], tables)
    columns: dict[str, Column] = {}
    keys: dict[str, list[Any]] = {}
    for index, (tensor, content) in enumerate(zip(body.inputs, contents, strict=True)):
        field = f"inputs[{index}]"
        if tensor.shape[1:] not in ([], [1]):
            raise BeaconError(
                "invalid_shape", "a named column must be [rows] or [rows, 1]", f"inputs.{tensor.name}"[:128]
            )
        if tensor.name in columns:
            raise BeaconError(
                "invalid_shape", f"column {tensor.name[:64]} appears twice", f"inputs.{tensor.name}"[:128]
            )
        feature = tables.feature(tensor.name)
        if tables.is_key(tensor.name):
            keys[tensor.name] = _keys(tensor, content, field)
        columns[tensor.name] = (
            keys.get(tensor.name, []) if feature is None else _column(tensor, content, feature, field)
        )
    if len({tensor.shape[0] for tensor in body.inputs}) > 1:
        raise BeaconError("invalid_shape", "the inputs are of unequal length", "inputs")
    return tables.of_columns(list(columns), list(columns.values()), first.shape[0], "inputs", keys.__getitem__)


def _one_tensor(tensor: Tensor, content: Content, tables: TableParser) -> PredictionInputs:
    """The rows of a tensor (rows, features) that has all features, which must be numbers."""
    if DTYPE_OF[tensor.datatype] is None:
        rule = "one tensor holds all features only where all are numbers: send one named tensor per feature"
        raise BeaconError("invalid_type", rule, "inputs[0].datatype")
    if len(tensor.shape) == 1:
        tensor.shape = [1, *tensor.shape]
    return tables.of_matrix(_matrix(tensor, content, "inputs[0]"), "inputs[0].data")


def _content(tensor: Tensor, tail: bytes, field: str) -> tuple[Content, bytes]:
    """Check one tensor's description; return its values (JSON is not checked yet) and the rest of the binary part."""
    if tensor.datatype not in DTYPE_OF:
        rule = f"datatype {tensor.datatype[:16]} is none of {', '.join(DTYPE_OF)}"
        raise BeaconError("invalid_type", rule, f"{field}.datatype")
    tensor.shape = [whole_or_same(size) for size in tensor.shape]
    if not 1 <= len(tensor.shape) <= 2 or not all(type(s) is int and 0 <= s <= MAX_SIZE for s in tensor.shape):
        raise BeaconError("invalid_shape", "shape must be [rows] or [rows, columns]", f"{field}.shape")
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None:
        size = whole_or_same(size)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(tail):
            rule = "must be the number of this input's bytes"
            raise BeaconError("invalid_body", rule, f"{field}.parameters.binary_data_size")
        return read_binary(tail[:size], tensor.datatype, field), tail[size:]
    if not is_present(tensor.data):
        raise BeaconError("invalid_body", "has no data", f"{field}.data")
    return tensor.data, tail


def _matrix(tensor: Tensor, content: Content, field: str) -> Matrix:
    """The numbers as float64, in the tensor's shape."""
    if isinstance(content, np.ndarray):
        numbers = content.astype(np.float64)
    elif isinstance(content, list):
        raise BeaconError("invalid_type", f"datatype {tensor.datatype} is not numeric", f"{field}.datatype")
    else:
        found = flat_numbers(content)
        if found is None:
            _explain_numbers(content, f"{field}.data")
            raise BeaconError("invalid_type", "must be a list of numbers", f"{field}.data")
        numbers = found
    _check_size(tensor, numbers.size, field)
    return numbers.reshape(tensor.shape)


def _explain_numbers(content: msgspec.Raw, field: str) -> None:
    """Raise BeaconError for the first value that is not a finite number or null."""
    for index, value in enumerate(flat(content, field)):
        explain_number("the value", value, f"{field}[{index}]")


def _column(tensor: Tensor, content: Content, feature: Feature, field: str) -> Column:
    """The values of a feature's tensor, as its clients have them."""
    column: Column
    if isinstance(content, np.ndarray):
        column = content.astype(np.float64) if content.dtype != np.bool_ else content.tolist()
    elif isinstance(content, list):
        column = content
    elif feature.is_text or feature.type == "bool":
        column = decoded_texts(flat(content, f"{field}.data"), tensor.parameters)
    else:
        numbers = flat_numbers(content)
        column = flat(content, f"{field}.data") if numbers is None else numbers
    _check_size(tensor, len(column), field)
    return column


def _keys(tensor: Tensor, content: Content, field: str) -> list[Any]:
    """The keys as text or exact Python numbers; None where one is missing."""
    if isinstance(content, np.ndarray):
        values = [None if value != value else whole_or_same(value) for value in content.tolist()]  # noqa: PLR0124 - NaN
    elif isinstance(content, list):
        values = content
    else:
        values = decoded_texts(flat(content, f"{field}.data"), tensor.parameters)
        if float in map(type, values):
            values = flat(content, f"{field}.data", exactly=True)
    _check_size(tensor, len(values), field)
    dtype = DTYPE_OF[tensor.datatype]
    if dtype is None or dtype is np.bool_:
        return values
    exact = _exact_integers(np.dtype(dtype))
    for index, value in enumerate(values):
        if type(value) is int and value not in exact:
            rule = f"{tensor.name} may be rounded in {tensor.datatype}, or does not fit: send INT64"
            raise BeaconError("invalid_entity", rule, f"{field}.data[{index}]")
    return values


def _exact_integers(dtype: np.dtype[Any]) -> range:
    """The whole numbers that the type holds exactly, and to which it rounds no other."""
    if dtype.kind == "f":
        bound = 2 ** (np.finfo(dtype).nmant + 1)
        return range(1 - bound, bound)
    return range(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) + 1)


def _check_size(tensor: Tensor, size: int, field: str) -> None:
    if size != math.prod(tensor.shape):
        rule = f"shape {tensor.shape} needs {math.prod(tensor.shape)} values, data has {size}"
        raise BeaconError("invalid_shape", rule, f"{field}.shape")


def _is_explained(parameters: dict[str, Any]) -> bool:
    found = parameters.get("explain", False)
    if not isinstance(found, bool):
        raise BeaconError("invalid_type", "explain must be true or false", "parameters.explain")
    return found


def _wants_explanations(body: InferRequest) -> bool:
    """A client that names other outputs alone needs none."""
    return not body.outputs or any(output.name in EXPLAINED_OUTPUTS for output in body.outputs)


def _explained_outputs(found: Sequence[ExplanationResponse]) -> dict[str, Output]:
    """The outputs of explained rows, whose columns are those of all rows: retries may have been by several models."""
    rows = [{each.feature: each.contribution for each in one.contributions} for one in found]
    names = list(dict.fromkeys(name for row in rows for name in row))
    base = Output([one.base for one in found], [len(rows)])
    contributions = Output([row.get(name, 0.0) for row in rows for name in names], [len(rows), len(names)])
    return dict(zip(EXPLAINED_OUTPUTS, (base, contributions, Output(names, [len(names)])), strict=True))


def _response(
    body: InferRequest, product: Product, records: Sequence[Record], explained: dict[str, Output] | None = None
) -> Response:
    wanted = body.outputs or [RequestedOutput(name) for name in (*OUTPUTS, *(explained or ()))]
    all_binary = (body.parameters or {}).get("binary_data_output") is True
    outputs, tails = [], []
    for output in wanted:
        name = output.name
        if name in OUTPUTS:
            values = [value for record in records for value in getattr(record, OUTPUTS[name])]
            shape = [len(values)]
        else:
            values, shape = (explained or {})[name]
        kind = "BYTES" if name in TEXT_OUTPUTS else "FP64"
        binary = (output.parameters or {}).get("binary_data")
        if binary is True or (binary is None and all_binary):
            content = write_binary(values, kind)
            tails.append(content)
            outputs.append(OutputTensor(name, kind, shape, parameters={"binary_data_size": len(content)}))
        else:
            outputs.append(OutputTensor(name, kind, shape, data=values))
    reply = InferResponse(product.name, records[0].version, outputs, UNSET if body.id is None else body.id)
    head = encode_json(reply)
    if not tails:
        return Response(head)
    length = (HEADER_LENGTH, str(len(head)).encode())
    return Response(head + b"".join(tails), content_type=BINARY, headers=(length,))


CONTENT_TYPES = frozenset({JSON, BINARY})
