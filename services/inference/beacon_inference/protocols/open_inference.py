"""Open Inference Protocol v2, REST, with the binary tensor extension.

Inputs are one tensor (rows, features) or one named tensor per feature. An input named as the entity's key looks
features up.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_same
from beacon_core.domain.product import Product
from beacon_core.web.http import JSON, Request, Response, encode_json
from beacon_inference.matrix import Matrix
from beacon_inference.models.hot_swap import Models
from beacon_inference.prediction.inputs import ParsedRequest, PredictionInputs, Protocol
from beacon_inference.prediction_log.record import Record
from beacon_inference.protocols.messages import InferResponse, OutputTensor
from beacon_inference.protocols.table import TableParser, is_present, keys_in, numbers, plain

BINARY = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
NUMPY_OF = {
    "BOOL": None,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": None,
}
# Output -> column of a record.
OUTPUTS = {"prediction": "prediction", "low": "low", "high": "high", "prediction_id": "ids"}

# Sizes are bounded, since an empty tensor would fit any shape, even one that numpy cannot create.
MAX_SIZE = 2**31 - 1


# The data of a tensor: JSON that is not yet decoded, or an array from the binary part.
Content = msgspec.Raw | np.ndarray[Any, Any]


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


def open_inference(product: Product, models: Models, tables: TableParser) -> Protocol:
    """The protocol for the product's one model."""

    def parse(request: Request) -> ParsedRequest:
        models.find(request.path["name"], request.path.get("version"))
        head, tail = _split(request)
        body: InferRequest = tables.decode(head, InferRequest)
        for output in body.outputs or ():
            if output.name not in OUTPUTS:
                raise BeaconError("invalid_body", f"outputs are {', '.join(OUTPUTS)}", f"outputs.{output.name}"[:128])
        return ParsedRequest(_inputs(body, tail, product, tables), partial(_response, body, product))

    return parse


def _split(request: Request) -> tuple[bytes, bytes]:
    length = request.header(HEADER_LENGTH)
    if length is None:
        return request.body, b""
    if not length.isdigit() or int(length[:10]) > len(request.body):
        raise BeaconError("invalid_body", "must be the length of the JSON part", "Inference-Header-Content-Length")
    return request.body[: int(length)], request.body[int(length) :]


def _inputs(body: InferRequest, tail: bytes, product: Product, tables: TableParser) -> PredictionInputs:
    if not body.inputs:
        raise BeaconError("invalid_body", "send at least one input", "inputs")
    contents: list[Content] = []
    for index, tensor in enumerate(body.inputs):
        content, tail = _content(tensor, tail, f"inputs[{index}]")
        contents.append(content)
    if tail:
        raise BeaconError("invalid_body", f"{len(tail)} bytes follow the last input")
    first = body.inputs[0]
    if len(contents) == 1 and first.name not in (*product.feature_names, tables.key):
        return tables.of_rows(_matrix(first, contents[0], "inputs[0]"), len(first.shape), "inputs[0].data")
    names, columns, keys = [], [], None
    for index, (tensor, content) in enumerate(zip(body.inputs, contents, strict=True)):
        if tensor.shape[1:] not in ([], [1]):
            raise BeaconError(
                "invalid_shape", "a named column must be [rows] or [rows, 1]", f"inputs.{tensor.name}"[:128]
            )
        if tensor.name == tables.key and keys is None:
            keys = _keys(tensor, content, tables.key, f"inputs[{index}]")
        else:
            names.append(tensor.name)
            columns.append(_matrix(tensor, content, f"inputs[{index}]").reshape(-1))
    if len({tensor.shape[0] for tensor in body.inputs}) > 1:
        raise BeaconError("invalid_shape", "the inputs are of unequal length", "inputs")
    data = np.stack(columns, axis=1) if columns else np.empty((first.shape[0], 0))
    return tables.of_columns(names, data, "inputs", keys)


def _content(tensor: Tensor, tail: bytes, field: str) -> tuple[Content, bytes]:
    """Check one tensor's description; return its values (JSON is not checked yet) and the rest of the binary part."""
    dtype = NUMPY_OF.get(tensor.datatype)
    if dtype is None:
        raise BeaconError("invalid_type", f"datatype {tensor.datatype[:16]} is not numeric", f"{field}.datatype")
    tensor.shape = [whole_or_same(size) for size in tensor.shape]
    if not 1 <= len(tensor.shape) <= 2 or not all(type(s) is int and 0 <= s <= MAX_SIZE for s in tensor.shape):
        raise BeaconError("invalid_shape", "shape must be [rows] or [rows, columns]", f"{field}.shape")
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None:
        size = whole_or_same(size)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(tail):
            rule = "must be the number of this input's bytes"
            raise BeaconError("invalid_body", rule, f"{field}.parameters.binary_data_size")
        if size % np.dtype(dtype).itemsize:
            raise BeaconError(
                "invalid_shape", f"{size} bytes are not a whole number of {tensor.datatype} values", field
            )
        return np.frombuffer(tail[:size], dtype=np.dtype(dtype).newbyteorder("<")), tail[size:]
    if not is_present(tensor.data):
        raise BeaconError("invalid_body", "has no data", f"{field}.data")
    return tensor.data, tail


def _matrix(tensor: Tensor, content: Content, field: str) -> Matrix:
    """The values as float64, in the tensor's shape."""
    if isinstance(content, np.ndarray):
        flat = content.astype(np.float64)
    else:
        flat = numbers(content, f"{field}.data")[0].reshape(-1)
    _check_size(tensor, flat.size, field)
    return flat.reshape(tensor.shape)


def _keys(tensor: Tensor, content: Content, key: str, field: str) -> list[Any]:
    """The keys as exact Python numbers; None where one is missing."""
    if isinstance(content, np.ndarray):
        values = [None if math.isnan(value) else whole_or_same(value) for value in content.tolist()]
    else:
        values = keys_in(plain(content), content, lambda found: _flat(found, f"{field}.data"))
    _check_size(tensor, len(values), field)
    exact = _exact_integers(np.dtype(NUMPY_OF[tensor.datatype]))
    for index, value in enumerate(values):
        if type(value) is int and value not in exact:
            rule = f"{key} may be rounded in {tensor.datatype}, or does not fit: send INT64"
            raise BeaconError("invalid_entity", rule, f"{field}.data[{index}]")
    return values


def _exact_integers(dtype: np.dtype[Any]) -> range:
    """The whole numbers that the type holds exactly, and to which it rounds no other."""
    if dtype.kind == "f":
        bound = 2 ** (np.finfo(dtype).nmant + 1)
        return range(1 - bound, bound)
    return range(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) + 1)


def _flat(values: Any, field: str) -> list[Any]:
    if not isinstance(values, list):
        raise BeaconError("invalid_type", "must be a list of numbers", field)
    if list not in map(type, values):
        return values
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _check_size(tensor: Tensor, size: int, field: str) -> None:
    if size != math.prod(tensor.shape):
        rule = f"shape {tensor.shape} needs {math.prod(tensor.shape)} values, data has {size}"
        raise BeaconError("invalid_shape", rule, f"{field}.shape")


def _response(body: InferRequest, product: Product, records: Sequence[Record]) -> Response:
    wanted = body.outputs or [RequestedOutput(name) for name in OUTPUTS]
    all_binary = (body.parameters or {}).get("binary_data_output") is True
    outputs, tails = [], []
    for output in wanted:
        values = [value for record in records for value in getattr(record, OUTPUTS[output.name])]
        kind, shape = "BYTES" if output.name == "prediction_id" else "FP64", [len(values)]
        binary = (output.parameters or {}).get("binary_data")
        if binary is True or (binary is None and all_binary):
            content = _binary(values, kind)
            tails.append(content)
            outputs.append(OutputTensor(output.name, kind, shape, parameters={"binary_data_size": len(content)}))
        else:
            outputs.append(OutputTensor(output.name, kind, shape, data=values))
    reply = InferResponse(product.name, records[0].version, outputs, UNSET if body.id is None else body.id)
    head = encode_json(reply)
    if not tails:
        return Response(head)
    length = (HEADER_LENGTH, str(len(head)).encode())
    return Response(head + b"".join(tails), content_type=BINARY, headers=(length,))


def _binary(values: list[Any], kind: str) -> bytes:
    if kind == "FP64":
        return np.array(values, dtype="<f8").tobytes()
    return b"".join(len(value).to_bytes(4, "little") + value.encode() for value in values)


CONTENT_TYPES = frozenset({JSON, BINARY})
