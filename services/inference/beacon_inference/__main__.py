"""`python -m beacon_inference`: serve predictions until SIGTERM."""

import sys
from typing import Any

from beacon_core.platform.settings import Settings
from beacon_core.web.server import start


def create(settings: Settings) -> Any:
    """Import the application in the worker only: gunicorn's own process stays small."""
    from beacon_inference.app import create as create_application  # noqa: PLC0415

    return create_application(settings)


if __name__ == "__main__":
    sys.exit(start("inference", create, lambda settings: (settings.inference_port, settings.inference_metrics_port)))
