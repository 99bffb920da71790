"""Inference's application in process, with the prediction log's process beside it, as threads of this one."""

from typing import Any

from prometheus_client import generate_latest
from support.service import samples

from beacon_core.platform.settings import Settings
from beacon_core.web.asgi import Application
from beacon_inference import app
from beacon_prediction_log.service import LogProcess, running


class LoggedInference:
    """The application; while it lives, what it logs is shipped, and at its end all of it is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Application = app.create(settings)
        self.log: LogProcess | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        with running(self._settings) as self.log:
            await self._app(scope, receive, send)

    def log_metrics(self) -> dict[str, float]:
        """The metrics of the log's process."""
        assert self.log is not None, "it has not begun"
        return samples(generate_latest(self.log.registry).decode())


def create(settings: Settings) -> Any:
    """As `beacon_inference.app.create`."""
    return LoggedInference(settings)
