"""W3C trace context: a valid parent is continued, anything else begins a new trace; nothing is ever refused."""

import pytest

from beacon_core.domain.ids import new_id
from beacon_core.observability.trace_context import Trace, outgoing_headers, read_trace
from beacon_core.web.middlewares.spans import open_spans

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def read(*parents, states=()):
    headers = [(b"host", b"x")] + [(b"traceparent", parent.encode("latin-1")) for parent in parents]
    return read_trace(headers + [(b"tracestate", state.encode()) for state in states])


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (PARENT, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-ff", 3),
        (f"01-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", 1),
        (f" \t{PARENT} ", 1),
    ],
)
def test_a_valid_parent_is_continued(parent, flags):
    assert read(parent) == Trace(TRACE, SPAN, flags)


INVALID = [
    "",
    "00",
    PARENT.upper(),
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN.upper()}-01",
    f"00-{TRACE}-{SPAN}-0A",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-01-more",
    f"00-{TRACE}-{SPAN}-01.",
    f"01-{TRACE}-{SPAN}-01more",
    f"0-{TRACE}-{SPAN}-01",
    f"000-{TRACE}-{SPAN}-01",
    f"00-{TRACE[:-1]}-{SPAN}-01",
    f"00-{TRACE}0-{SPAN}-01",
    f"00-{TRACE}-{SPAN}0-01",
    f"00-{TRACE}-{SPAN}-1",
    f"00-{TRACE}-{SPAN}-xy",
    f"00_{TRACE}_{SPAN}_01",
    f"00-{TRACE}-{SPAN}",
    f".0-{TRACE}-{SPAN}-01",
    f"00-{TRACE[:-1]}g-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01\n",
    "x" * 1024,
    PARENT * 20,
    "\xe9\xff",
]


@pytest.mark.parametrize("parent", INVALID)
def test_an_invalid_parent_begins_a_new_trace(parent):
    trace = read(parent, states=["a=1"])
    assert trace.trace_id != TRACE
    assert len(trace.trace_id) == 32
    assert int(trace.trace_id, 16) > 0
    assert (trace.parent_id, trace.state) == ("", "")


def test_two_parents_begin_a_new_trace():
    assert read(PARENT, PARENT).parent_id == ""
    assert read().parent_id == ""


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["a=1"], "a=1"),
        (["a=1,b=2", "c=3"], "a=1,b=2,c=3"),
        ([",".join(f"k{n}=1" for n in range(32))], ",".join(f"k{n}=1" for n in range(32))),
        ([",".join(f"k{n}=1" for n in range(100))], ""),
        (["k=" + "v" * 8000, "l=" + "v" * 8000], ""),
    ],
    ids=["one", "two headers", "32 members", "100 members", "16 kB"],
)
def test_the_callers_state_goes_with_its_trace_unless_it_is_too_long(states, kept):
    assert read(PARENT, states=states) == Trace(TRACE, SPAN, 1, kept)


def test_calls_on_behalf_of_a_request_belong_to_its_trace():
    trace = Trace(TRACE, SPAN, 1, "a=1")
    first, second = outgoing_headers(trace), outgoing_headers(trace)
    assert first["tracestate"] == "a=1"
    assert first["traceparent"] != second["traceparent"], "each call has a parent id of its own"
    assert read(first["traceparent"]).trace_id == TRACE
    assert outgoing_headers(trace, SPAN)["traceparent"] == PARENT
    assert "tracestate" not in outgoing_headers(Trace(new_id()))


def test_no_span_is_made_where_no_collector_is_set(monkeypatch):
    assert open_spans("inference", "1") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    spans = open_spans("inference", "1")
    assert spans is not None
    spans.close()
