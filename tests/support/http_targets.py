"""The services that take requests, running, and the routes of each that take a body."""

import json
import struct
from typing import Any, NamedTuple

from support.features import TOKEN
from support.server import Server
from support.wire import REFUSED, Door

from beacon_core.domain.product import Product


class Target(NamedTuple):
    """A running service, and its doors."""

    server: Server
    doors: dict[str, Door]

    @property
    def port(self) -> int:
        return self.server.port


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def inference_doors(product: Product, row: dict[str, float]) -> dict[str, Door]:
    """Every route of inference that takes a body, in every form of it."""
    values, name = [list(row.values())], product.name
    tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64"}
    json_head = encoded({"inputs": [tensor | {"parameters": {"binary_data_size": 8 * len(row)}}]})
    binary = json_head + struct.pack(f"<{len(row)}d", *row.values())
    actual = {"prediction_id": "nobody", "value": 20.0}
    return {
        "predict": Door("/v1/predict", encoded({"features": row}), 200),
        "batch": Door("/v1/predict/batch", encoded({"rows": [{"features": row}] * 3}), 200),
        "v1": Door(f"/v1/models/{name}:predict", encoded({"instances": values}), 200),
        "v2": Door(f"/v2/models/{name}/infer", encoded({"inputs": [tensor | {"data": values}]}), 200),
        "v2 binary": Door(
            f"/v2/models/{name}/infer",
            binary,
            200,
            "application/octet-stream",
            (f"Inference-Header-Content-Length: {len(json_head)}",),
        ),
        "mlflow": Door("/invocations", encoded({"inputs": values}), 200),
        "csv": Door("/invocations", f"{','.join(row)}\n{','.join(map(str, row.values()))}\n".encode(), 200, "text/csv"),
        "actuals": Door("/v1/actuals", encoded(actual), 404),
    }


def feature_doors(product: Product) -> dict[str, Door]:
    """Every route of feature serving that takes a body."""
    bearer = (f"Authorization: Bearer {TOKEN}",)
    query = {"features": [f"{product.name}:nothing"], "entities": {product.keys[0]: [1, 2]}}
    return {
        "read": Door("/get-online-features", encoded(query), REFUSED),
        "push": Door("/push", encoded({"push_source_name": "nobody", "df": {"a": [1]}}), REFUSED, headers=bearer),
        "write": Door(
            "/write-to-online-store",
            encoded({"feature_view_name": "nobody", "df": {"a": [1]}}),
            REFUSED,
            headers=bearer,
        ),
        "materialize": Door("/materialize", encoded({"version": "1"}), REFUSED, headers=bearer),
        "incremental": Door("/materialize-incremental", encoded({"version": "1"}), REFUSED, headers=bearer),
    }


def console_doors() -> dict[str, Door]:
    """The routes of the console that take a body."""
    form = b"token=sesame&decision=approve&person=me&reason=it+is+good&sha256=" + b"0" * 64
    kind = "application/x-www-form-urlencoded"
    return {
        "decision": Door("/models/1/decision", form, 400, kind),
        "retraining": Door("/retraining", b"token=sesame&person=me&reason=", 400, kind),
    }
