"""Open Inference Protocol v2, REST, with the binary tensor extension.

Inputs are one tensor (rows, features) or one named tensor a feature; an input named as the entity's key looks features
up.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from beacon_core.errors import BeaconError
from beacon_core.product import Product
from beacon_core.serving.http import JSON, Request, Response, encode_json
from beacon_inference.ask import Ask, Matrix
from beacon_inference.models import Models
from beacon_inference.pipeline import Protocol
from beacon_inference.protocols.table import Tables, numbers
from beacon_inference.record import Record

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
# The outputs, and the columns of a record that they are.
OUTPUTS = {"prediction": "prediction", "low": "low", "high": "high", "prediction_id": "ids"}

# Of an empty tensor any shape would do, also one that numpy cannot make.
LARGEST = 2**31 - 1


class Tensor(msgspec.Struct):
    """A tensor of a request; its data is JSON, or `parameters.binary_data_size` bytes behind it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()


class Output(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The body of /infer."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[Output] = []


def open_inference(product: Product, models: Models, tables: Tables) -> Protocol:
    """Speak the protocol for the product's one model."""

    def parse(request: Request) -> Ask:
        check_model(request, product, models)
        head, tail = _split(request)
        body: InferRequest = tables.decode(head, InferRequest)
        request.parsed = body
        for output in body.outputs:
            if output.name not in OUTPUTS:
                raise BeaconError("invalid_body", f"outputs are {', '.join(OUTPUTS)}", f"outputs.{output.name}"[:128])
        return _ask(body, tail, product, tables)

    def respond(request: Request, records: Sequence[Record]) -> Response:
        return _response(request.parsed, records, product)

    return Protocol(parse, respond)


def check_model(request: Request, product: Product, models: Models) -> None:
    """Refuse a model name or version in the path that is not the one in service."""
    name = request.path.get("name", product.name)
    serving = models.serving
    version = request.path.get("version")
    if name != product.name:
        raise BeaconError("unknown_model", f"there is no model {name[:64]}; it is {product.name}", "name")
    if serving is None:
        raise BeaconError("model_not_ready", "no model is in service yet")
    if version is not None and version != serving.model.pin.version:
        rule = f"version {version[:64]} is not in service; version {serving.model.pin.version} is"
        raise BeaconError("unknown_model", rule, "version")


def _split(request: Request) -> tuple[bytes, bytes]:
    length = request.header(HEADER_LENGTH)
    if length is None:
        return request.body, b""
    if not length.isdigit() or int(length[:10]) > len(request.body):
        raise BeaconError("invalid_body", "must be the length of the JSON part", "Inference-Header-Content-Length")
    return request.body[: int(length)], request.body[int(length) :]


def _ask(body: InferRequest, tail: bytes, product: Product, tables: Tables) -> Ask:
    if not body.inputs:
        raise BeaconError("invalid_body", "send at least one input", "inputs")
    arrays: list[Matrix] = []
    for index, tensor in enumerate(body.inputs):
        array, tail = _read(tensor, tail, f"inputs[{index}]")
        arrays.append(array)
    if tail:
        raise BeaconError("invalid_body", f"{len(tail)} bytes are left behind the last input")
    first = body.inputs[0]
    if len(arrays) == 1 and first.name not in (*product.feature_names, product.entity.key):
        return tables.of_rows(arrays[0], arrays[0].ndim, "inputs[0].data")
    columns = []
    for tensor, array in zip(body.inputs, arrays, strict=True):
        if array.ndim != 1 and array.shape[1:] != (1,):
            raise BeaconError(
                "invalid_shape", "a named column must be [rows] or [rows, 1]", f"inputs.{tensor.name}"[:128]
            )
        columns.append(array.reshape(-1))
    if len({len(column) for column in columns}) > 1:
        raise BeaconError("invalid_shape", "the inputs are of unequal length", "inputs")
    return tables.of_columns([tensor.name for tensor in body.inputs], np.stack(columns, axis=1), "inputs")


def _read(tensor: Tensor, tail: bytes, field: str) -> tuple[Matrix, bytes]:
    """Read one tensor as float64 in its shape, and what is left of the binary part."""
    dtype = NUMPY_OF.get(tensor.datatype)
    if dtype is None:
        raise BeaconError("invalid_type", f"datatype {tensor.datatype[:16]} is not numeric", f"{field}.datatype")
    if not 1 <= len(tensor.shape) <= 2 or any(not 0 <= size <= LARGEST for size in tensor.shape):
        raise BeaconError("invalid_shape", "shape must be [rows] or [rows, columns]", f"{field}.shape")
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(tail):
            rule = "must be the number of this input's bytes"
            raise BeaconError("invalid_body", rule, f"{field}.parameters.binary_data_size")
        if size % np.dtype(dtype).itemsize:
            raise BeaconError("invalid_shape", f"{size} bytes are no whole number of {tensor.datatype}", field)
        flat = np.frombuffer(tail[:size], dtype=np.dtype(dtype).newbyteorder("<")).astype(np.float64)
        tail = tail[size:]
    else:
        if not bytes(tensor.data):
            raise BeaconError("invalid_body", "has no data", f"{field}.data")
        flat = numbers(tensor.data, f"{field}.data")[0].reshape(-1)
    if flat.size != math.prod(tensor.shape):
        rule = f"shape {tensor.shape} needs {math.prod(tensor.shape)} values, data has {flat.size}"
        raise BeaconError("invalid_shape", rule, f"{field}.shape")
    return flat.reshape(tensor.shape), tail


def _response(body: InferRequest, records: Sequence[Record], product: Product) -> Response:
    asked = body.outputs or [Output(name) for name in OUTPUTS]
    all_binary = body.parameters.get("binary_data_output") is True
    outputs, tails = [], []
    for output in asked:
        values = [value for record in records for value in getattr(record, OUTPUTS[output.name])]
        kind = "BYTES" if output.name == "prediction_id" else "FP64"
        described: dict[str, Any] = {"name": output.name, "datatype": kind, "shape": [len(values)]}
        if output.parameters.get("binary_data", all_binary) is True:
            content = _binary(values, kind)
            tails.append(content)
            described["parameters"] = {"binary_data_size": len(content)}
        else:
            described["data"] = values
        outputs.append(described)
    reply: dict[str, Any] = {"model_name": product.name, "model_version": records[0].version, "outputs": outputs}
    if body.id is not None:
        reply["id"] = body.id
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
