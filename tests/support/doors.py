"""Every way to ask inference for predictions: the same rows, as each protocol has them."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from support.service import Answer, Service

from beacon_core.domain.product import Feature, Product
from beacon_inference.protocols.tensor_data import DTYPE_OF, datatype_of, write_binary

Row = Mapping[str, Any]
"""A row by name; a feature that it lacks is missing."""


class Sent(NamedTuple):
    """A request: path, body and headers."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


def _json(path: str, body: Any) -> Sent:
    return Sent(path, json.dumps(body).encode())


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _lists(product: Product, rows: Sequence[Row]) -> list[list[Any]]:
    return [[row.get(name) for name in product.feature_names] for row in rows]


def _batch(_: Product, rows: Sequence[Row]) -> Sent:
    return _json("/v1/predict/batch", {"rows": [{"features": row} for row in rows]})


def _v1_objects(product: Product, rows: Sequence[Row]) -> Sent:
    return _json(f"/v1/models/{product.name}:predict", {"instances": list(rows)})


def _v1_lists(product: Product, rows: Sequence[Row]) -> Sent:
    return _json(f"/v1/models/{product.name}:predict", {"instances": _lists(product, rows)})


def _v1_columns(product: Product, rows: Sequence[Row]) -> Sent:
    columns = {name: [row.get(name) for row in rows] for name in _names(rows)}
    return _json(f"/v1/models/{product.name}:predict", {"inputs": columns})


def _split(_: Product, rows: Sequence[Row]) -> Sent:
    names = _names(rows)
    data = [[row.get(name) for name in names] for row in rows]
    return _json("/invocations", {"dataframe_split": {"columns": names, "data": data}})


def _records(_: Product, rows: Sequence[Row]) -> Sent:
    return _json("/invocations", {"dataframe_records": list(rows)})


def _csv(_: Product, rows: Sequence[Row]) -> Sent:
    file = io.StringIO()
    names = _names(rows)
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows([["" if row.get(name) is None else row[name] for name in names] for row in rows])
    return Sent("/invocations", file.getvalue().encode(), (("content-type", "text/csv"),))


def _tensors(product: Product, rows: Sequence[Row]) -> Sent:
    inputs = [
        _described(product.features[at], rows) | {"data": [row.get(name) for row in rows]}
        for at, name in _at(product, rows)
    ]
    return _json(f"/v2/models/{product.name}/infer", {"inputs": inputs})


def _binary_tensors(product: Product, rows: Sequence[Row]) -> Sent:
    """As Triton's client sends them: numbers, flags and texts behind the JSON."""
    inputs, tails = [], []
    for at, name in _at(product, rows):
        feature = product.features[at]
        values = [row.get(name) for row in rows]
        tensor = _described(feature, rows)
        if tensor["datatype"] == "BYTES":
            tails.append(write_binary(["" if value is None else value for value in values], "BYTES"))
        else:
            if None in values:
                tensor["datatype"] = "FP64"
            dtype = np.dtype(DTYPE_OF[tensor["datatype"]])
            numbers = [np.nan if value is None else value for value in values]
            tails.append(np.array(numbers).astype(dtype).tobytes())
        inputs.append(tensor | {"parameters": {"binary_data_size": len(tails[-1])}})
    head = json.dumps({"inputs": inputs}).encode()
    headers = (
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", str(len(head))),
    )
    return Sent(f"/v2/models/{product.name}/infer", head + b"".join(tails), headers)


def _at(product: Product, rows: Sequence[Row]) -> list[tuple[int, str]]:
    return [(at, name) for at, name in enumerate(product.feature_names) if name in _names(rows)]


def _described(feature: Feature, rows: Sequence[Row]) -> dict[str, Any]:
    return {"name": feature.name, "shape": [len(rows)], "datatype": datatype_of(feature)}


DOORS: dict[str, Callable[[Product, Sequence[Row]], Sent]] = {
    "native batch": _batch,
    "V1 objects": _v1_objects,
    "V1 lists": _v1_lists,
    "V1 columns": _v1_columns,
    "MLflow split": _split,
    "MLflow records": _records,
    "CSV": _csv,
    "Open Inference": _tensors,
    "Open Inference, binary": _binary_tensors,
}


def send(service: Service, sent: Sent) -> Answer:
    """Send it."""
    return service.post(sent.path, sent.body, sent.headers)


def predictions(answer: Answer) -> list[float]:
    """The predictions of any protocol's answer."""
    body = answer.json()
    if "outputs" in body:
        return next(output["data"] for output in body["outputs"] if output["name"] == "prediction")
    found = body["predictions"]
    return [one["prediction"] if isinstance(one, dict) else one for one in found]
