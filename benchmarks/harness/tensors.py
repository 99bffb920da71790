"""Binary tensors of the Open Inference Protocol: a JSON head, and behind it the numbers as they lie in memory.

The header Inference-Header-Content-Length tells the server where the head ends.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.machine import WORK

HEAD_LENGTH = "Inference-Header-Content-Length"
DATATYPE = "FP64"


class Tensors(msgspec.Struct, frozen=True):
    """A route that takes binary tensors, and the output that has the predictions."""

    path: str
    output: str


class BinaryBodies(msgspec.Struct, frozen=True):
    """A file of requests, one behind the other: all have the same bytes of head and the same bytes in all."""

    file: Path
    head_bytes: int
    body_bytes: int


def encode(rows: Sequence[dict[str, float]], output: str) -> tuple[bytes, bytes]:
    """A request's head and its tensor, all features of a row side by side; the answer is wanted in binary as well."""
    values = [value for row in rows for value in row.values()]
    tensor = struct.pack(f"<{len(values)}d", *values)
    described = {
        "name": "rows",
        "shape": [len(rows), len(rows[0])],
        "datatype": DATATYPE,
        "parameters": {"binary_data_size": len(tensor)},
    }
    wanted = {"name": output, "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [described], "outputs": [wanted]}, separators=(",", ":"))
    return head.encode(), tensor


def decode(content: bytes, head_bytes: int, output: str) -> list[float]:
    """The predictions of an answer; raises `ValueError` when it has no such output of `DATATYPE` in binary."""
    at = head_bytes
    described: dict[str, Any]
    for described in json.loads(content[:head_bytes])["outputs"]:
        size = int(described.get("parameters", {}).get("binary_data_size", 0))
        if described["name"] == output and described["datatype"] == DATATYPE and size:
            return list(struct.unpack(f"<{size // 8}d", content[at : at + size]))
        at += size
    raise ValueError(f"the answer has no binary output {output} of {DATATYPE}")


def write_requests(name: str, batches: list[list[dict[str, float]]], output: str) -> BinaryBodies:
    """Write the requests, one for each batch; all batches have the same number of rows."""
    requests = [encode(batch, output) for batch in batches]
    file = WORK / "bodies" / f"{name}.tensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(head + tensor for head, tensor in requests))
    head, tensor = requests[0]
    return BinaryBodies(file, len(head), len(head) + len(tensor))
