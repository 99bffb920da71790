"""JSON logs, one shape for every service and job: docs/reference/logs.md lists the fields."""

import logging
import sys
import threading
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from pythonjsonlogger.msgspec import MsgspecFormatter

from beacon_core.domain.masking import mask, mask_all

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)

steps = logging.getLogger("beacon.steps")
"""The log of ended jobs and stages, for machines; disabled where a job logs plain lines for a person."""


class RequestContext(logging.Filter):
    """Adds the current request's ids to every record that has none."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in (("request_id", request_id.get()), ("trace_id", trace_id.get()), ("prediction_id", None)):
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


FIXED = frozenset({"level", "logger", "service", "version", "time", "request_id", "trace_id", "prediction_id"})
"""Fields that need no masking."""


class JsonFormatter(MsgspecFormatter):
    """Formats a record as a JSON line, masked."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: value if name in FIXED else mask_all(value) for name, value in log_data.items()}


class PlainFormatter(logging.Formatter):
    """Formats a record as a plain line: the message, with its level from WARNING on."""

    def format(self, record: logging.LogRecord) -> str:
        text = mask(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def configure_logging(service: str, version: str, level: str) -> None:
    """Send every record of this process, libraries' included, to stderr as one JSON line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestContext())
    handler.setFormatter(
        JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service, "version": version},
            timestamp="time",
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda given: _log_uncaught(given.exc_type, given.exc_value, given.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, stack: TracebackType | None) -> None:
    """Log an uncaught exception: Python's own output would not be masked."""
    if error is None or issubclass(kind, SystemExit | KeyboardInterrupt):
        return
    logging.getLogger("beacon").critical("unexpected error", exc_info=(kind, error, stack))


def configure_job_logging(job: str, version: str, level: str, log_format: str = "auto") -> None:
    """Configure the logs of a job: libraries log from WARNING on; for plain lines see `Settings.log_format`."""
    configure_logging(job, version, level)
    least = logging.getLevelNamesMapping()[level]
    logging.root.setLevel(max(least, logging.WARNING))
    logging.getLogger("beacon").setLevel(least)
    steps.disabled = log_format == "plain" or (log_format == "auto" and sys.stderr.isatty())
    if steps.disabled:
        logging.root.handlers[0].setFormatter(PlainFormatter())


def relay(line: bytes, logger: logging.Logger) -> None:
    """Write a child process's log line: one in Beacon's JSON shape unchanged, any other as a record."""
    if line.startswith(b'{"'):  # in Beacon's shape, and masked by the child
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    elif steps.disabled:
        sys.stderr.buffer.write(mask(line.decode(errors="surrogateescape")).encode(errors="surrogateescape"))
        sys.stderr.buffer.flush()
    elif text := line.decode(errors="replace").strip():
        logger.info(text)
