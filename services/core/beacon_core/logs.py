"""JSON logs, one shape for every service and job: level, time, service, version, request id, trace id."""

import logging
import sys
from contextvars import ContextVar

from pythonjsonlogger.msgspec import MsgspecFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


class RequestContext(logging.Filter):
    """Puts the ids of the request at hand on every record that does not carry its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
            record.trace_id = trace_id.get()
        return True


def configure_logging(service: str, version: str, level: str) -> None:
    """Send every record of this process, libraries' included, to stderr as one JSON line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestContext())
    handler.setFormatter(
        MsgspecFormatter(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service, "version": version},
            timestamp="time",
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    logging.captureWarnings(True)
