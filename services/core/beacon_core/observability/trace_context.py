"""W3C trace context: read from a request's headers, and written into those of the calls made on its behalf."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from beacon_core.domain.ids import new_id
from beacon_core.observability.trace_settings import propagates

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
        state = ""  # the caller's own matter: it must not make our calls too large to be taken
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
