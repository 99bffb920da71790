"""Metadata routes: which model serves, as each protocol asks for it."""

from typing import Any

from flask import Flask, Response

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.models.hot_swap import Models


def add_metadata(app: Flask, settings: Settings, product: Product, models: Models) -> None:  # noqa: C901 - a list
    """Add the routes."""

    def version_in_service(name: str, version: str | None) -> str:
        if name != product.name:
            raise BeaconError("unknown_model", f"there is no model {name[:64]}; it is {product.name}", "name")
        if models.serving is None:
            raise BeaconError("model_not_ready", "no model is in service yet")
        serving = models.serving.model.pin.version
        if version not in {None, serving}:
            raise BeaconError("unknown_model", f"version {version} is not in service; {serving} is", "version")
        return serving

    @app.get("/version")
    def version() -> Response:
        return Response(settings.build_version, content_type="text/plain")

    @app.get("/v2")
    def v2() -> Any:
        return {"name": "beacon", "version": settings.build_version, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/models")
    def v2_models() -> Any:
        return {"models": [product.name]}

    @app.get("/v2/models/<name>", defaults={"version": None})
    @app.get("/v2/models/<name>/versions/<version>")
    def v2_model(name: str, version: str | None) -> Any:
        serving = version_in_service(name, version)
        count = len(product.features)
        outputs = [{"name": output, "datatype": "FP64", "shape": [-1]} for output in ("prediction", "low", "high")]
        return {
            "name": product.name,
            "versions": [serving],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, count]}],
            "outputs": [*outputs, {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]}],
        }

    @app.get("/v2/models/<name>/ready", defaults={"version": None})
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def v2_model_ready(name: str, version: str | None) -> Any:
        version_in_service(name, version)
        return {"name": name, "ready": True}

    @app.get("/v1/models")
    def v1_models() -> Any:
        return {"models": [product.name]}

    @app.get("/v1/models/<name>")
    def v1_model(name: str) -> Any:
        serving = version_in_service(name, None)
        status = {"error_code": "OK", "error_message": ""}
        versions = [{"version": serving, "state": "AVAILABLE", "status": status}]
        return {"name": name, "ready": True, "model_version_status": versions}
