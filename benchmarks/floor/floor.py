"""The floor: the least that Beacon's server can do for a request.

The same gunicorn worker, ONNX model and bodies; no validation, no imputation, no log, no metrics, no ids.
"""

import os
from typing import Any

import msgspec
import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"], options, providers=["CPUExecutionProvider"])
[model_input] = session.get_inputs()
outputs = [session.get_outputs()[0].name]
names = os.environ["BENCH_FEATURES"].split(",")
HEADERS = [(b"content-type", b"application/json")]


def predict(rows: list[dict[str, Any]]) -> list[float]:
    matrix = np.array([[row["features"][name] for name in names] for row in rows], dtype=np.float32)
    [answer] = session.run(outputs, {model_input.name: matrix})
    return answer.ravel().tolist()  # type: ignore[no-any-return]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    request = msgspec.json.decode(body)
    if "rows" in request:
        answer = {"predictions": [{"prediction": value} for value in predict(request["rows"])]}
    else:
        answer = {"prediction": predict([request])[0]}
    content = msgspec.json.encode(answer)
    headers = [*HEADERS, (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
