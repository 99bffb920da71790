"""HTTP as clients speak it: each form of a request is answered as the plain one, on every route that takes a body."""

import threading
import time
from pathlib import Path

import pytest
from support.http_targets import Target
from support.request_forms import CHUNKED, FORMS
from support.wire import REFUSED, Reply, asked, chunked, head, whole, wired

MANY = 20


@pytest.fixture(scope="module")
def plain(target: Target) -> dict[str, Reply]:
    """The answers to plain requests, which are as they should be, and not those to nothing."""
    found = {name: asked(target.port, whole(door)) for name, door in target.doors.items()}
    for name, door in target.doors.items():
        status = found[name].status
        assert status == door.status or (door.status == REFUSED and 400 <= status < 500), (name, found[name])
        nothing = asked(target.port, whole(door, body=b""))
        assert nothing.told() != found[name].told(), name
        assert nothing.status < 500, name
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_answered_as_the_plain_request(target: Target, plain: dict[str, Reply], form: str) -> None:
    for name, door in target.doors.items():
        with wired(target.port) as wire:
            wire.send(FORMS[form](door), whole(door))
            assert (name, wire.final().told()) == (name, plain[name].told())
            assert (name, wire.final().told()) == (name, plain[name].told()), "the connection serves on"


@pytest.mark.parametrize("size", [1, 7, 61])
@pytest.mark.parametrize(
    "form", ["one chunk", "chunks and a trailer", "an offer of h2c, as Java's client makes it", "a query"]
)
def test_a_form_may_come_in_pieces(target: Target, plain: dict[str, Reply], form: str, size: int) -> None:
    name, door = next(iter(target.doors.items()))
    content = FORMS[form](door) + whole(door)
    with wired(target.port) as wire:
        for at in range(0, len(content), size):
            wire.send(content[at : at + size])
        assert [wire.final().told() for _ in range(2)] == [plain[name].told()] * 2


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue", "100-CONTINUE"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_asks_whether_to_go_on_is_told_to(
    target: Target, plain: dict[str, Reply], expectation: str, framing: str
) -> None:
    for name, door in target.doors.items():
        length = CHUNKED if framing == "chunks" else f"Content-Length: {len(door.body)}"
        with wired(target.port) as wire:
            for _ in range(2):
                wire.send(head(door, f"Expect: {expectation}", length))
                assert wire.reply().status == 100, name
                wire.send(chunked(door.body) if framing == "chunks" else door.body)
                assert wire.reply().told() == plain[name].told(), name


@pytest.mark.parametrize("framing", ["length", "chunks", "HTTP/1.0"])
def test_a_client_that_ends_its_half_is_answered(target: Target, plain: dict[str, Reply], framing: str) -> None:
    for name, door in target.doors.items():
        content = {
            "length": whole(door),
            "chunks": head(door, CHUNKED) + chunked(door.body),
            "HTTP/1.0": whole(door, version="1.0"),
        }[framing]
        for _ in range(MANY):
            with wired(target.port) as wire:
                wire.send(content)
                wire.half_close()
                assert wire.reply().told() == plain[name].told(), name
                assert wire.is_closed()


def test_a_client_that_ends_its_half_behind_several_requests_is_answered_each(
    target: Target, plain: dict[str, Reply]
) -> None:
    with wired(target.port) as wire:
        for door in target.doors.values():
            wire.send(whole(door))
        wire.half_close()
        assert [wire.reply().told() for _ in target.doors] == [answer.told() for answer in plain.values()]
        assert wire.is_closed()


def test_a_client_that_ends_its_half_within_a_request_is_let_go(target: Target) -> None:
    for door in target.doors.values():
        for content in (head(door)[:20], whole(door)[:-5], head(door, CHUNKED) + b"5\r\nab"):
            with wired(target.port) as wire:
                wire.send(content)
                wire.half_close()
                assert wire.is_closed()


@pytest.mark.parametrize("lines", [(), ("Connection: Keep-Alive",), ("Connection: close",)])
def test_http_1_0_is_answered_and_told_how_it_goes_on(
    target: Target, plain: dict[str, Reply], lines: tuple[str, ...]
) -> None:
    for name, door in target.doors.items():
        with wired(target.port) as wire:
            wire.send(whole(door, *lines, version="1.0").replace(b"Host: x\r\n", b""))
            found = wire.reply()
            assert found.told() == plain[name].told(), name
            assert found.headers["connection"] == "close"
            assert wire.is_closed()


def test_who_wants_the_connection_closed_gets_that(target: Target, plain: dict[str, Reply]) -> None:
    for name, door in target.doors.items():
        for wish in ("close", "Close", "foo, close"):
            with wired(target.port) as wire:
                wire.send(whole(door, f"Connection: {wish}"))
                found = wire.reply()
                assert (found.told(), found.headers["connection"]) == (plain[name].told(), "close")
                assert wire.is_closed()


def test_what_comes_at_once_is_answered_in_order(target: Target, plain: dict[str, Reply]) -> None:
    doors = list(target.doors) * MANY
    with wired(target.port) as wire:
        sender = threading.Thread(target=wire.send, args=[whole(target.doors[name]) for name in doors])
        sender.start()
        assert [wire.reply().told() for _ in doors] == [plain[name].told() for name in doors]
        sender.join()


@pytest.mark.parametrize(
    "query", [b"\xff", b"a=\xc3\xa4", b"a=%zz", b"a=%", b"a=\\", b'a="<>"', b"a[]={}|^`", b"a=b#c"]
)
def test_bytes_in_a_query_are_no_fault_of_ours(target: Target, plain: dict[str, Reply], query: bytes) -> None:
    for name, door in target.doors.items():
        found = asked(target.port, whole(door, target="TARGET").replace(b"TARGET", door.path.encode() + b"?" + query))
        assert found.told() in [plain[name].told(), (400, "invalid_request")], name


@pytest.mark.parametrize("path", [b"/\xff", b"/%ff", b"/%00", b"/%2e%2e/x", b"//x", b"/a%0d%0ab", b"/;a", b"/\xc3\xa4"])
def test_bytes_in_a_path_are_no_fault_of_ours(target: Target, path: bytes) -> None:
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
        with wired(target.port) as wire:
            wire.send(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.reply(bodiless=method == b"HEAD").status in {200, 308, 400, 404, 405}


BODY_TOO_LARGE = 30_000_000


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_sends_far_too_much_can_read_why_it_is_refused(target: Target, framing: str) -> None:
    content = b" " * BODY_TOO_LARGE
    for name, door in target.doors.items():
        with wired(target.port) as wire:
            if framing == "length":
                wire.client.sendall(head(door, f"Content-Length: {BODY_TOO_LARGE}") + content)
            else:
                wire.client.sendall(head(door, CHUNKED) + chunked(content))
            found = wire.reply()
            assert (name, found.status) == (name, 413)
            assert found.headers["connection"] == "close"
            assert wire.is_closed()


def test_who_asks_before_sending_far_too_much_need_not_send_it(target: Target) -> None:
    for name, door in target.doors.items():
        with wired(target.port) as wire:
            wire.send(head(door, "Expect: 100-continue", f"Content-Length: {BODY_TOO_LARGE}"))
            assert (name, wire.reply().status) == (name, 413)


@pytest.mark.parametrize("length", ["4294967296", "9223372036854775807"])
def test_a_length_beyond_all_is_refused_before_it_comes(target: Target, length: str) -> None:
    for name, door in target.doors.items():
        assert (name, asked(target.port, head(door, f"Content-Length: {length}")).status) == (name, 413)


def test_a_body_that_stays_away_is_given_up(target: Target) -> None:
    for content in (b"Content-Length: 100", b"Transfer-Encoding: chunked"):
        name, door = next(iter(target.doors.items()))
        with wired(target.port) as wire:
            started = time.monotonic()
            wire.send(head(door, content.decode()))
            found = wire.reply()
            assert (name, found.status, found.headers["connection"]) == (name, 408, "close")
            assert time.monotonic() - started < 20


def memory(target: Target, name: str) -> int:
    """VmRSS (now) or VmHWM (its peak) of the worker, in bytes."""
    text = (worker(target) / "status").read_text()
    (found,) = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(found) * 1024


def worker(target: Target) -> Path:
    master = target.server.process.pid
    (pid,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return Path(f"/proc/{pid}")


SIZE = 1_999_000
MANY_VALUES = {
    "rows of CSV": b"a\n" * (SIZE // 2),
    "columns of CSV": b"a," * (SIZE // 2),
    "blank lines of CSV": b"\n" * SIZE,
    "old lines of CSV": b"a\r" * (SIZE // 2),
    "empty objects": b'{"rows":[%s]}' % b",".join([b"{}"] * 600_000),
    "lists of entities": b'{"entities":{"a":[%s]},"features":["a:b"]}' % b",".join([b"1"] * 900_000),
    "columns of a push": b'{"push_source_name":"a","df":{%s}}' % b",".join(b'"%d":[1]' % n for n in range(150_000)),
    "fields of a form": b"a=1&" * (SIZE // 4),
    "members": b"{%s}" % b",".join(b'"%d":1' % n for n in range(150_000)),
}


@pytest.mark.parametrize("kind", MANY_VALUES)
def test_a_body_of_many_values_is_bounded_before_it_is_parsed(target: Target, kind: str) -> None:
    for name, door in target.doors.items():
        asked(target.port, whole(door, body=b" " * SIZE))  # the room that any body of this size takes
        before = memory(target, "VmRSS")
        (worker(target) / "clear_refs").write_text("5")
        content = whole(door, body=MANY_VALUES[kind])
        found = asked(target.port, content)
        peak = memory(target, "VmHWM") - before
        assert found.status in {400, 401, 413, 415, 422}, (name, found)
        assert peak < 20 << 20, (name, kind, peak >> 20, found.status)


@pytest.mark.parametrize(
    "length", ["²", "٢".encode().decode("latin-1"), "-1", "+5", "1e3", "0x5", "5 5", "9" * 30, "1_0"]
)
def test_the_length_of_a_json_part_is_a_number_of_bytes(target: Target, length: str) -> None:
    for name, door in target.doors.items():
        found = asked(
            target.port,
            whole(door._replace(headers=(*door.headers[:-1], f"Inference-Header-Content-Length: {length}"))),
        )
        assert found.status < 500, (name, found)
        if "v2" in name:
            assert (found.status, found.code) == (400, "invalid_body"), name
