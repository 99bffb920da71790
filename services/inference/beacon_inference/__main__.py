"""`python -m beacon_inference`: serve predictions until told to stop."""

from typing import Any

from beacon_core.serving.server import serve
from beacon_core.settings import load_settings

if __name__ == "__main__":
    settings = load_settings()

    def create() -> Any:
        """Import the application in the worker only: gunicorn's own process stays small."""
        from beacon_inference.app import create as create_application  # noqa: PLC0415

        return create_application(settings)

    serve("inference", settings, create, settings.inference_port, settings.inference_metrics_port)
