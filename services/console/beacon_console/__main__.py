"""`python -m beacon_console`: show the console until told to stop."""

from typing import Any

from beacon_core.serving.server import serve
from beacon_core.settings import load_settings

if __name__ == "__main__":
    settings = load_settings()

    def create() -> Any:
        """Import the application in the worker only: gunicorn's own process stays small."""
        from beacon_console.app import create as create_application  # noqa: PLC0415

        return create_application(settings)

    serve("console", settings, create, settings.console_port, None)
