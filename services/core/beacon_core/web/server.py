"""Starts a service under gunicorn: one worker, an event loop, one port for clients and one for metrics."""

import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn_worker import UvicornWorker

from beacon_core.domain.addresses import in_url
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.observability.logs import configure_logging
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings
from beacon_core.web.access import check_api_keys
from beacon_core.web.connection import Connection

log = logging.getLogger(__name__)

# Connections that the kernel holds until they are accepted.
BACKLOG = 2048
# After SIGTERM: for requests in flight, and for these and all that the application does at its end.
ANSWER_SECONDS, STOP_SECONDS = 8, 14


class Worker(UvicornWorker):  # type: ignore[misc]
    """gunicorn's worker that runs uvicorn, silent about requests, which the application logs itself."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "beacon_core.web.loop:Loop",
        "http": Connection,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": ANSWER_SECONDS,
    }

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        logger = logging.getLogger("uvicorn.error")
        logger.propagate = True
        logger.setLevel(logging.ERROR)


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


def start(
    service: str,
    create: Callable[[Settings], Any],
    ports: Callable[[Settings], tuple[int, int | None]],
    check: Callable[[Product], object] = lambda _product: None,
) -> int:
    """Serve with the settings of the environment; status 1, after one line, where they or product.yaml break a rule.

    `create` makes the ASGI application, and `ports` names its ports, as `serve` takes them. `check` raises
    `ConfigurationError` for a product that the service is not for.
    """
    configure_logging(service, Settings().build_version, "INFO")
    try:
        clean_credentials()
        settings = load_settings()
        check(load_product(settings.product))
        check_api_keys(settings)
        _check_host(settings.host)
    except ConfigurationError as error:
        log.critical("%s", message_of(error))
        return 1
    serve(service, settings, lambda: create(settings), *ports(settings))
    return 0


def _check_host(host: str) -> None:
    """Raise ConfigurationError for a host that no server of this machine can listen on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(f"BEACON_HOST: {host} is no address of this machine ({error.strerror})") from error


def serve(service: str, settings: Settings, create: Callable[[], Any], port: int, metrics_port: int | None) -> None:
    """Serve until stopped; `create` makes the ASGI application, inside the worker process.

    `metrics_port` is None where the application shows its metrics on `port` itself.

    One worker: metrics stay exact and memory small; more load is more pods. The control socket is off (a surface, and
    it fails on a read-only root).
    """
    configure_logging(service, settings.build_version, settings.log_level)
    options = {
        "bind": [f"{in_url(settings.host)}:{number}" for number in (port, metrics_port) if number is not None],
        "workers": 1,
        "worker_class": Worker,
        "timeout": 30,
        "graceful_timeout": STOP_SECONDS,
        "backlog": BACKLOG,
        "when_ready": partial(_bound_silence, settings.idle_timeout_seconds),
        "logger_class": PropagatingLogger,
        "accesslog": None,
        "proc_name": f"beacon-{service}",
        "control_socket_disable": True,
    }
    Server(create, options).run()


def _bound_silence(seconds: float, arbiter: Arbiter) -> None:
    """Let the kernel end connections whose client takes nothing of an answer for so long."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        for listener in arbiter.LISTENERS:  # connections have it from whom they came through
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
