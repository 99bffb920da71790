"""Metadata routes: the model in service, as each protocol describes it."""

from flask import Flask, Response, jsonify

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.models.hot_swap import Models
from beacon_inference.protocols.messages import (
    ModelList,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    TensorMetadata,
    V1Model,
    V1Status,
    V1Version,
)
from beacon_inference.protocols.tensor_data import datatype_of


def inputs_of(product: Product) -> list[TensorMetadata]:
    """The model's inputs: one tensor where all features are numbers, else one named tensor per feature."""
    if all(feature.is_number for feature in product.features):
        return [TensorMetadata("features", "FP64", [-1, len(product.features)])]
    return [TensorMetadata(feature.name, datatype_of(feature), [-1]) for feature in product.features]


def add_metadata(app: Flask, settings: Settings, models: Models) -> None:
    """Add the routes."""
    name_of_model = models.product.name

    @app.get("/version")
    def version() -> Response:
        return Response(settings.build_version, content_type="text/plain")

    @app.get("/v2")
    def v2() -> Response:
        return jsonify(ServerMetadata("beacon", settings.build_version, ["binary_tensor_data"]))

    @app.get("/v2/models")
    def v2_models() -> Response:
        return jsonify(ModelList([name_of_model]))

    @app.get("/v2/models/<name>", defaults={"version": None})
    @app.get("/v2/models/<name>/versions/<version>")
    def v2_model(name: str, version: str | None) -> Response:
        serving = models.find(name, version).pin.version
        inputs = inputs_of(models.product)
        numbers = [TensorMetadata(output, "FP64", [-1]) for output in ("prediction", "low", "high")]
        outputs = [*numbers, TensorMetadata("prediction_id", "BYTES", [-1])]
        return jsonify(ModelMetadata(name_of_model, [serving], "onnxruntime_onnx", inputs, outputs))

    @app.get("/v2/models/<name>/ready", defaults={"version": None})
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def v2_model_ready(name: str, version: str | None) -> Response:
        models.find(name, version)
        return jsonify(ModelReady(name, ready=True))

    @app.get("/v1/models")
    def v1_models() -> Response:
        return jsonify(ModelList([name_of_model]))

    @app.get("/v1/models/<name>")
    def v1_model(name: str) -> Response:
        serving = models.find(name).pin.version
        versions = [V1Version(serving, "AVAILABLE", V1Status("OK", ""))]
        return jsonify(V1Model(name, ready=True, model_version_status=versions))
