"""Values of tensors in the binary part of an Open Inference request or answer, and text in their JSON."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Feature

DTYPE_OF: dict[str, Any] = {
    "BOOL": np.bool_,
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
"""The datatypes; BYTES is text, which has no type of numpy."""
LENGTH_BYTES = 4
"""Before each text stands its length, as a little-endian number of so many bytes."""


def datatype_of(feature: Feature) -> str:
    """The datatype that fits a feature's values."""
    if feature.is_text:
        return "BYTES"
    return {"bool": "BOOL", "int": "INT64"}.get(feature.type, "FP64")


def read_binary(data: bytes, datatype: str, field: str) -> np.ndarray[Any, Any] | list[str | None]:
    """The values of a tensor's binary part; raises BeaconError `invalid_shape` or `invalid_type`.

    An empty text is a missing value: the binary part has no other way to say so.
    """
    dtype = DTYPE_OF[datatype]
    if dtype is None:
        return [text or None for text in _texts(data, field)]
    if len(data) % np.dtype(dtype).itemsize:
        raise BeaconError("invalid_shape", f"{len(data)} bytes are not a whole number of {datatype} values", field)
    if dtype is np.bool_:  # any byte but 0 and 1 is no value of this type
        flags = np.frombuffer(data, dtype=np.uint8)
        if (flags > 1).any():
            raise BeaconError("invalid_type", "each byte of a BOOL must be 0 or 1", field)
        return flags.astype(np.bool_)
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))


def write_binary(values: Sequence[Any], datatype: str) -> bytes:
    """The binary part of an answer's tensor, FP64 or BYTES."""
    if datatype == "FP64":
        return np.array(values, dtype="<f8").tobytes()
    texts = [value.encode() for value in values]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)


def decoded_texts(values: list[Any], parameters: Mapping[str, Any] | None) -> list[Any]:
    """The values of JSON data; text that the tensor says is base64, as MLServer's client may send it, is decoded."""
    if (parameters or {}).get("content_type") != "base64":
        return values
    return [_decoded(value) if isinstance(value, str) else value for value in values]


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text


def _texts(data: bytes, field: str) -> list[str]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
        begin = at + LENGTH_BYTES
        at = begin + size
        if at > len(data) or begin > len(data):
            raise BeaconError("invalid_shape", "the bytes do not hold whole texts, each after its length", field)
        try:
            found.append(data[begin:at].decode())
        except UnicodeDecodeError as error:
            raise BeaconError("invalid_type", f"the text is not UTF-8: {error}", f"{field}[{len(found)}]") from error
    return found
