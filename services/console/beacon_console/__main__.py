"""`python -m beacon_console`: serve the console until SIGTERM."""

import sys
from typing import Any

from beacon_core.platform.settings import Settings
from beacon_core.web.server import start


def create(settings: Settings) -> Any:
    """Import the application in the worker only: gunicorn's own process stays small."""
    from beacon_console.app import create as create_application  # noqa: PLC0415

    return create_application(settings)


if __name__ == "__main__":
    sys.exit(start("console", create, lambda settings: (settings.console_port, settings.console_metrics_port)))
