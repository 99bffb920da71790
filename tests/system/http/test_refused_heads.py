"""What a proxy could read in another way is refused, and what has no end is given up, by every service."""

import contextlib
import json
import time

import pytest
from support.http_targets import Target
from support.wire import asked, wired

READY = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def get(line: bytes = b"GET /livez HTTP/1.1", fields: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


REFUSED = {
    "a blank before the colon of a length": POST + b"Content-Length : 2\r\n\r\n{}",
    "a tab before the colon of a length": POST + b"Content-Length\t: 2\r\n\r\n{}",
    "a blank before the colon of a coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"A: b\r\n Content-Length: 2\r\n\r\n{}",
    "a folded header by tab": POST + b"A: b\r\n\tc\r\n\r\n",
    "a folded first header": b"POST /p HTTP/1.1\r\n Host: x\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length below nothing": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length with a line below": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length in other digits": POST + "Content-Length: ٢\r\n\r\n{}".encode(),
    "no length in the length": POST + b"Content-Length: \r\n\r\n",
    "a length of 20 digits": POST + b"Content-Length: 10000000000000000000000\r\n\r\n",
    "two lengths in one": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a length after a control character": POST + b"Content-Length: \x0b2\r\n\r\n{}",
    "a length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "something behind chunked": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding nobody knows": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "a coding after a control character": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"2\r\n{}XX0\r\n\r\n",
    "a chunk that ends by a line feed": CHUNKED + b"2\r\n{}\n0\r\n\r\n",
    "a size that ends by a line feed": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "an extension with a line feed": CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "an extension with a carriage return": CHUNKED + b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "a size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size with a sign": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a size with a blank": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "a size of 20 digits": CHUNKED + b"f" * 20 + b"\r\n",
    "a length behind the body": CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
    "no header behind the body": CHUNKED + b"0\r\nno header\r\n\r\n",
    "line feeds alone": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "a line feed in a header": get(fields=b"A: b\nContent-Length: 2\r\n"),
    "a carriage return in a header": get(fields=b"A: b\rContent-Length: 2\r\n"),
    "a carriage return in the target": get(b"GET /livez\r HTTP/1.1"),
    "NUL in the target": get(b"GET /livez\0 HTTP/1.1"),
    "NUL in a header": get(fields=b"A: b\0\r\n"),
    "a tab in the target": get(b"GET /livez\tq HTTP/1.1"),
    "a blank at the end": get(b"GET /livez HTTP/1.1 "),
    "no version": get(b"GET /livez"),
    "another version": get(b"GET /livez HTTP/2.0"),
    "a version in small letters": get(b"GET /livez http/1.1"),
    "a method in small letters": get(b"get /p HTTP/1.1"),
    "a method of 30 letters": get(b"%s /p HTTP/1.1" % (b"G" * 30)),
    "no method": get(b" /p HTTP/1.1"),
    "a target that is none": get(b"GET p HTTP/1.1"),
    "two hosts": get(fields=b"Host: x\r\nHost: y\r\n"),
    "no colon": get(fields=b"Host x\r\n"),
    "no name": get(fields=b": x\r\n"),
    "a control character in a name": get(fields=b"Ho\x01st: x\r\n"),
    "a letter beyond ASCII in a name": get(fields=b"H\xe4st: x\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n",
}


TAKEN = {
    "a version from before": get(b"GET /livez HTTP/1.0", b""),
    "an empty host": get(fields=b"Host:\r\n"),
    "a tab within a value": get(fields=b"Host: x\r\nA: a\tb\r\n"),
    "letters beyond ASCII in a value": get(fields=b"Host: x\r\nA: \xff\r\n"),
    "an empty value": get(fields=b"Host: x\r\nA:\r\n"),
    "line ends before it": b"\r\n\r\n" + get(),
    "a whole address": get(b"GET http://x/livez HTTP/1.1"),
    "a header as long as may be": get(fields=b"Host: x\r\nA: %s\r\n" % (b"a" * 8192)),
    "as many headers as may be": get(fields=b"Host: x\r\n" + b"A: b\r\n" * 99),
    "a target as long as may be": get(b"GET /livez?%s HTTP/1.1" % (b"a" * 4000)),
}
TOO_LONG = {
    "a target": (get(b"GET /livez?%s HTTP/1.1" % (b"a" * 5000)), 414),
    "a header": (get(fields=b"Host: x\r\nA: %s\r\n" % (b"a" * 9000)), 431),
    "one header too many": (get(fields=b"Host: x\r\n" + b"A: b\r\n" * 101), 431),
}
ENDLESS = {
    "a target": b"GET /" + b"a" * 2_000_000,
    "a header's name": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 2_000_000,
    "a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_000_000,
    "headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300_000,
    "the size of a chunk": CHUNKED + b"0" * 2_000_000,
    "a chunk's extension": CHUNKED + b"2;" + b"a" * 2_000_000,
    "trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * 300_000,
    "a trailer": CHUNKED + b"0\r\nA: " + b"b" * 2_000_000,
}


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_be_read_in_another_way_is_refused(target: Target, kind: str, size: int) -> None:
    content = REFUSED[kind]
    with wired(target.port) as wire:
        for at in range(0, len(content), size):
            wire.send(content[at : at + size])
        found = wire.reply()
        assert found.status == 400, found
        told = json.loads(found.body) if found.headers["content-type"] == "application/json" else {}
        if told:
            assert told["code"] == "invalid_request"
            assert len(told["error"].split()) > 2, "it says why, in words"
            assert told["request_id"] == found.headers["x-request-id"]


@pytest.mark.parametrize("kind", TAKEN)
def test_what_can_be_read_in_one_way_alone_is_taken(target: Target, kind: str) -> None:
    with wired(target.port) as wire:
        wire.send(TAKEN[kind])
        assert wire.reply().status == 200
        if "1.0" not in TAKEN[kind].decode("latin-1"):
            wire.send(READY)
            assert wire.reply().status == 200


@pytest.mark.parametrize("kind", TOO_LONG)
def test_what_is_too_long_is_refused(target: Target, kind: str) -> None:
    content, status = TOO_LONG[kind]
    assert asked(target.port, content).status == status


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_given_up(target: Target, kind: str) -> None:
    started = time.monotonic()
    with wired(target.port) as wire:
        wire.send(ENDLESS[kind])
        found = wire.reply()
        assert found.status in {400, 413, 431}, found
        assert wire.is_closed()
    assert time.monotonic() - started < 5


def test_a_host_is_named_once(target: Target) -> None:
    for fields in (b"", b"Host: x\r\nHost: x\r\n", b"host: x\r\nHOST: y\r\n"):
        found = asked(target.port, get(fields=fields))
        assert (found.status, found.code) == (400, "invalid_request")
        assert json.loads(found.body)["field"] == "Host"


def test_the_body_of_a_head_is_its_body(target: Target) -> None:
    hidden = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    with wired(target.port) as wire:
        wire.send(b"HEAD /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden), hidden, READY)
        assert wire.reply(bodiless=True).status == 200
        assert wire.reply().status == 200
        wire.half_close()
        assert wire.is_closed()


def test_a_secret_in_a_refused_head_is_not_repeated(target: Target) -> None:
    found = asked(target.port, get(fields=b"Host: x\r\nAuthorization : Bearer s3cret\r\n"))
    assert found.status == 400
    assert b"s3cret" not in found.body


def test_a_crowd_that_comes_at_once_is_let_in_at_once(target: Target) -> None:
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(wired(target.port)) for _ in range(300)]
        started = time.monotonic()
        for wire in wires:
            wire.send(READY)
        # The console answers in threads, and sheds what would wait for one too long.
        assert {wire.reply().status for wire in wires} <= {200, 503}
        assert time.monotonic() - started < 10
