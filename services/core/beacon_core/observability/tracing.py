"""The spans of a process and of a job.

Where no span is made OpenTelemetry's SDK is not imported.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from beacon_core.observability.trace_settings import is_traced, read_trace_settings

if TYPE_CHECKING:
    from beacon_core.observability.spans import Tracer

log = logging.getLogger("beacon.traces")


@contextlib.contextmanager
def span(name: str, attributes: dict[str, str]) -> Iterator[None]:
    """Make the block a span of the job at hand, and a failed one if it raises; nothing where traces are off."""
    if not is_traced():
        yield
        return
    from opentelemetry.trace import get_tracer  # noqa: PLC0415 - only where spans are made

    from beacon_core.observability.spans import recording_failures  # noqa: PLC0415

    with (
        get_tracer("beacon").start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as current,
        recording_failures(current),
    ):
        yield


def open_tracer(service: str, version: str) -> "Tracer | None":
    """Return this process's maker of spans, or None where none is made; log what is not supported, a line each."""
    settings = read_trace_settings()
    for problem in settings.problems:
        log.warning("%s", problem)
    if not settings.exporters:
        return None
    from beacon_core.observability.spans import Tracer  # noqa: PLC0415 - the SDK takes a third of a second

    try:
        return Tracer(service, version, settings)
    except (ValueError, OSError) as error:
        # A limit of OpenTelemetry's that is no number, a key that cannot be read: predictions go on without traces.
        log.warning("no traces are sent: OpenTelemetry's settings: %s", error)
        return None
