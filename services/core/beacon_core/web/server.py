"""Starts a service under gunicorn: one worker, an event loop, one port for clients and one for metrics."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.observability.logs import configure_logging
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings
from beacon_core.web.worker import BACKLOG

log = logging.getLogger(__name__)


class PropagatingLogger(Logger):  # type: ignore[misc]
    """gunicorn's log through the root logger, so that every line of the process has one shape."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        # The process's level decides; gunicorn's own INFO lines (listening, booting) are part of the story.
        self.error_log.setLevel("INFO")


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured by code: the settings are the one place where an operator sets anything."""

    def __init__(self, create: Callable[[], Any], options: dict[str, Any]) -> None:
        self._create = create
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        try:
            return self._create()
        except ConfigurationError as error:
            log.critical("%s", message_of(error))
            sys.exit(Arbiter.WORKER_BOOT_ERROR)  # gunicorn ends, and starts no other worker


def start(service: str, create: Callable[[Settings], Any], ports: Callable[[Settings], tuple[int, int | None]]) -> int:
    """Serve with the settings of the environment; status 1, after one line, where they or product.yaml break a rule.

    `create` makes the ASGI application, and `ports` names its ports, as `serve` takes them.
    """
    configure_logging(service, Settings().build_version, "INFO")
    try:
        clean_credentials()
        settings = load_settings()
        load_product(settings.product)
    except ConfigurationError as error:
        log.critical("%s", message_of(error))
        return 1
    serve(service, settings, lambda: create(settings), *ports(settings))
    return 0


def serve(service: str, settings: Settings, create: Callable[[], Any], port: int, metrics_port: int | None) -> None:
    """Serve until stopped; `create` makes the ASGI application, inside the worker process.

    `metrics_port` is None where the application shows its metrics on `port` itself.

    One worker: metrics stay exact and memory small; more load is more pods. The control socket is off (a surface, and
    it fails on a read-only root). After SIGTERM requests in flight are answered for up to `graceful_timeout` seconds.
    """
    configure_logging(service, settings.build_version, settings.log_level)
    options = {
        "bind": [f"{settings.host}:{number}" for number in (port, metrics_port) if number is not None],
        "workers": 1,
        "worker_class": "beacon_core.web.worker.Worker",
        "asgi_lifespan": "on",
        "keepalive": 1,  # yes; for how long is up to the connection
        "timeout": 30,
        "graceful_timeout": 10,
        # A closed connection is let go at once. Kept for the usual 3 seconds, 3,000 new ones a second took 200 MB.
        "asgi_disconnect_grace_period": 0,
        "backlog": BACKLOG,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "logger_class": PropagatingLogger,
        "accesslog": None,
        "proc_name": f"beacon-{service}",
        "control_socket_disable": True,
    }
    Server(create, options).run()
