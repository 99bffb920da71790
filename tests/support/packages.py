"""A tiny model package, built by code: a linear model in ONNX, with a manifest like the real one's."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import (
    MANIFEST_VERSION,
    MODEL_FILE,
    FeatureFacts,
    GoldenRequest,
    Interval,
    Manifest,
    Score,
    TrainingData,
    digest,
    write_manifest,
)
from beacon_core.model_package.release import Release, package_folder, write_release


def linear_onnx(weights: np.ndarray, bias: float) -> bytes:
    """prediction = features @ weights + bias, as ONNX."""
    count = len(weights)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["prediction"]),
        ],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, count])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        [
            numpy_helper.from_array(weights.reshape(-1, 1).astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def row_of(product: Product) -> list[float]:
    """A complete, valid row: the middle of each range, the first category."""
    return [
        float(feature.categories[0]) if feature.categories else sum(feature.valid or (0, 0)) / 2
        for feature in product.features
    ]


def build_package(
    models: Path, product: Product, version: str = "1", bias: float = 20.0, weight: float = 0.001, **changes: object
) -> Pin:
    """Write a package below `models`; `changes` replace fields of the manifest. Answers are about `bias`."""
    folder = models / product.name / version
    folder.mkdir(parents=True)
    weights = np.full(len(product.features), weight)
    model = linear_onnx(weights, bias)
    (folder / MODEL_FILE).write_bytes(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    row = row_of(product)
    answer = session.run(None, {"features": np.array([row], dtype=np.float32)})[0].ravel()[0]
    facts = tuple(
        FeatureFacts(
            name=feature.name,
            type=feature.type,
            fill=value,
            min=value - 1,
            max=value + 1,
            quantiles=(value - 0.5, value - 0.4, value - 0.2, value, value + 0.2, value + 0.4, value + 0.5),
            importance=1.0 if feature.name == product.key_features[0] else 0.1,
        )
        for feature, value in zip(product.features, row, strict=True)
    )
    fields: dict[str, object] = {
        "manifest_version": MANIFEST_VERSION,
        "product": product.name,
        "version": version,
        "created_at": datetime.now(UTC).isoformat(),
        "schema_version": product.schema_version,
        "schema_hash": product.schema_hash,
        "features": facts,
        "target": product.target.name,
        "unit": product.target.unit,
        "prediction_min": 5.0,
        "prediction_max": 50.0,
        "prediction_quantiles": (10.0, 15.0, 20.0, 25.0, 35.0),
        "interval": Interval("test", product.training.interval_coverage, 3.0, 4.0, 0.9),
        "expected_absolute_error": 2.0,
        "scores": (Score("rmse", 3.0, "test"),),
        "algorithm": "linear",
        "data": TrainingData("test", "0" * 64, 1),
        "revision": "test",
        "libraries": {"onnxruntime": onnxruntime.__version__},
        "golden": (GoldenRequest(tuple(row), float(answer)),),
        "golden_tolerance": 0.0001,
        "files": {MODEL_FILE: digest(model)},
    }
    manifest = Manifest(**(fields | changes))  # type: ignore[arg-type]
    return Pin(product.name, version, write_manifest(folder, manifest))


def release_package(home: Path, product: Product, **options: object) -> Pin:
    """Build a package below `home`/models and put it into service."""
    pin = build_package(home / "models", product, **options)  # type: ignore[arg-type]
    write_release(home / "release.json", Release(pin))
    assert package_folder(home / "models", pin).is_dir()
    return pin
