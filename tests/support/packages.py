"""A tiny model package, built by code: a linear model in ONNX, with a manifest like the real one's."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import Level
from beacon_core.model_package.manifest import (
    EXPLANATION_FILE,
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
from beacon_core.model_package.model_inputs import FeatureMap, column_names, to_columns
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


def row_of(product: Product) -> list[Any]:
    """A complete, valid row, as clients send it: the middle of each range, the first level, else the example."""
    return [_ordinary_value(feature) for feature in product.features]


def golden_row(product: Product, levels: Mapping[str, tuple[Level, ...]]) -> list[float]:
    """`row_of` as the model sees it, by the package's own levels."""
    values = row_of(product)
    pairs = list(zip(product.features, values, strict=True))
    numbers = np.array([[feature.to_number(value) for feature, value in pairs]])
    texts = {(0, at): value for at, (feature, value) in enumerate(pairs) if feature.keeps_text(numbers[0, at])}
    row: list[float] = FeatureMap(product.features, product.schema, levels)(numbers, texts)[0].tolist()
    return row


def _ordinary_value(feature: Feature) -> Any:
    if feature.type in {"float", "int"} and feature.valid is not None and None not in feature.valid:
        return sum(feature.bounds) / 2 if feature.type == "float" else feature.example
    return float(feature.known_levels[0]) if feature.has_number_levels else feature.example


def _levels(feature: Feature) -> tuple[Level, ...] | None:
    """The levels of a category of text, as training would list them."""
    if feature.type != "category" or feature.has_number_levels:
        return None
    return feature.known_levels or (f"not {feature.example}", str(feature.example))


def build_package(
    models: Path,
    product: Product,
    version: str = "1",
    bias: float = 20.0,
    weight: float = 0.001,
    explained: bool = False,
    **changes: object,
) -> Pin:
    """Write a package below `models`; `changes` replace fields of the manifest. Answers are about `bias`.

    `explained` ones have an explanation.npz, as retraining makes it.

    The figures of the manifest that are in the target's unit have the size of `bias`.
    """
    folder = models / product.name / version
    folder.mkdir(parents=True)
    model = linear_onnx(np.full(len(column_names(product.schema)), weight), bias)
    (folder / MODEL_FILE).write_bytes(model)
    levels = {feature.name: found for feature in product.features if (found := _levels(feature))}
    row, created, scale = golden_row(product, levels), datetime.now(UTC), 10.0 ** round(math.log10(abs(bias) / 20))
    columns = to_columns(np.array([row]), product.schema, np.array([created.timestamp()]))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answer = session.run(None, {"features": columns.astype(np.float32)})[0].ravel()[0]
    facts = tuple(
        FeatureFacts(
            name=feature.name,
            fill=value,
            min=value - 1,
            max=value + 1,
            quantiles=(value - 0.5, value - 0.4, value - 0.2, value, value + 0.2, value + 0.4, value + 0.5),
            importance=1.0 if feature.name == product.key_features[0] else 0.1,
            levels=levels.get(feature.name),
        )
        for feature, value in zip(product.features, row, strict=True)
    )
    fields: dict[str, object] = {
        "manifest_version": MANIFEST_VERSION,
        "product": product.name,
        "version": version,
        "created_at": created.isoformat(),
        "schema": product.schema,
        "features": facts,
        "decimals": 5,
        "target_quantiles": tuple(scale * value for value in (5.0, 10.0, 15.0, 20.0, 25.0, 35.0, 50.0)),
        "prediction_min": 5.0 * scale,
        "prediction_max": 50.0 * scale,
        "prediction_quantiles": tuple(scale * value for value in (10.0, 15.0, 20.0, 25.0, 35.0)),
        "interval": Interval("test", product.training.interval_coverage, 3.0 * scale, 4.0 * scale, 0.9),
        "expected_absolute_error": 2.0 * scale,
        "scores": (Score("rmse", 3.0 * scale, "test"),),
        "algorithm": "linear",
        "data": TrainingData("test", "0" * 64, 1),
        "revision": "test",
        "libraries": {"onnxruntime": onnxruntime.__version__},
        "golden": (GoldenRequest(tuple(row), float(answer)),),
        "golden_tolerance": 0.0001 * scale,
        "files": {MODEL_FILE: digest(model)},
    }
    if explained:
        from beacon_retraining.packaging.explanation import make_explanation

        rows = (columns + np.random.default_rng(0).normal(size=(40, columns.shape[1]))).astype(np.float32)
        answers = session.run(None, {"features": rows})[0].ravel().astype(np.float64)
        content = make_explanation(model, product.schema, rows.astype(np.float64), answers)
        (folder / EXPLANATION_FILE).write_bytes(content)
        fields["files"] = {MODEL_FILE: digest(model), EXPLANATION_FILE: digest(content)}
    manifest = Manifest(**(fields | changes))  # type: ignore[arg-type]
    return Pin(product.name, version, write_manifest(folder, manifest))


def release_package(home: Path, product: Product, **options: object) -> Pin:
    """Build a package below `home`/models and put it into service."""
    pin = build_package(home / "models", product, **options)  # type: ignore[arg-type]
    write_release(home / "release.json", Release(pin))
    assert package_folder(home / "models", pin).is_dir()
    return pin
