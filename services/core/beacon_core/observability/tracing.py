"""W3C trace context in and out, and the spans of a job.

Where spans are off, OpenTelemetry's SDK is not imported, and only one header is parsed.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from beacon_core.domain.ids import new_id
from beacon_core.observability.trace_settings import is_traced, propagates, read_trace_settings

if TYPE_CHECKING:
    from beacon_core.observability.spans import Tracer

log = logging.getLogger("beacon.traces")

TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)

# W3C: 512 characters must pass, and there are at most 32 members.
STATE_LENGTH = 512
STATE_MEMBERS = 32
SAMPLED = 1


class Trace(NamedTuple):
    """The trace that work belongs to; `parent_id` is empty where the trace begins here."""

    trace_id: str
    parent_id: str = ""
    flags: int = 0
    state: str = ""


def read_trace(headers: Iterable[tuple[bytes, bytes]]) -> Trace:
    """Continue the caller's trace, or begin a new one where the header is absent, doubled or invalid."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1 or not propagates():
        return Trace(new_id())
    match = TRACEPARENT.fullmatch(parents[0].strip(b" \t"))
    if match is None:
        return Trace(new_id())
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest) or not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return Trace(new_id())
    state = b",".join(value for name, value in headers if name == b"tracestate").decode("latin-1")
    if len(state) > STATE_LENGTH or state.count(",") >= STATE_MEMBERS:
        state = ""  # dropped, so that it cannot make our own requests too large
    # Unknown flags are cleared: only `sampled` and `random` are passed on.
    return Trace(trace_id.decode(), parent_id.decode(), int(flags, 16) & 0x03, state)


def outgoing_headers(trace: Trace, span_id: str = "") -> dict[str, str]:
    """Trace headers of a call made on behalf of the request; every call has a parent id of its own."""
    if not propagates():
        return {}
    headers = {"traceparent": f"00-{trace.trace_id}-{span_id or os.urandom(8).hex()}-{trace.flags:02x}"}
    if trace.state:
        headers["tracestate"] = trace.state
    return headers


@contextlib.contextmanager
def span(name: str, attributes: dict[str, str]) -> Iterator[None]:
    """Make the block a span of the current job, a failed one if it raises; does nothing where traces are off."""
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
    """Return this process's tracer, or None where traces are off; log each setting that is not supported."""
    settings = read_trace_settings()
    for problem in settings.problems:
        log.warning("%s", problem)
    if not settings.exporters:
        return None
    from beacon_core.observability.spans import Tracer  # noqa: PLC0415 - the SDK takes a third of a second

    try:
        return Tracer(service, version, settings)
    except (ValueError, OSError) as error:
        # For example a limit that is not a number, or a key that cannot be read: predictions go on without traces.
        log.warning("no traces are sent: OpenTelemetry's settings: %s", error)
        return None
