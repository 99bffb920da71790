"""The HTTP/1.1 parser: what a proxy could read in another way is refused, however it comes in pieces."""

from typing import Any

import pytest
from gunicorn.asgi.parser import LimitRequestHeaders, LimitRequestLine, ParseError

from beacon_core.web.parser import Parser

LINE, FIELDS, FIELD = 400, 10, 800
POST = b"POST /p HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\n\r\n"


def get(line: bytes = b"GET /p HTTP/1.1", fields: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


class Reading:
    """A parser that is fed in pieces, as a connection does it: nothing more once the request is whole."""

    def __init__(self, content: bytes, piece: int) -> None:
        self.body = b""
        self.parser: Any = Parser(
            on_headers_complete=lambda: False,
            on_body=self._take,
            on_message_complete=lambda: None,
            limit_request_line=LINE,
            limit_request_fields=FIELDS,
            limit_request_field_size=FIELD,
        )
        fed = 0
        while fed < len(content) and not self.parser.is_complete:
            self.parser.feed(content[fed : fed + piece])
            fed += piece
        self.rest = self.parser.remaining() + content[fed:]

    def _take(self, part: bytes) -> None:
        self.body += part


TAKEN = {
    "no body": (get(), b""),
    "a length": (POST + b"Content-Length: 2\r\n\r\n{}", b"{}"),
    "a length with zeros before": (POST + b"Content-Length: 002\r\n\r\n{}", b"{}"),
    "blanks around a value": (POST + b"Content-Length:\t 2 \t\r\n\r\n{}", b"{}"),
    "chunks": (CHUNKED + b"2\r\n{}\r\nA\r\n0123456789\r\n0\r\n\r\n", b"{}0123456789"),
    "line ends within a chunk": (CHUNKED + b"6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n"),
    "a chunk's extension": (CHUNKED + b'2;a="b c"\r\n{}\r\n0;d\r\n\r\n', b"{}"),
    "a trailer": (CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", b""),
    "chunked in capitals": (POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n", b""),
    "line ends before it": (b"\r\n\r\n" + get(), b""),
    "a whole address": (get(b"GET http://x/p HTTP/1.1"), b""),
    "all of the server": (get(b"OPTIONS * HTTP/1.1"), b""),
    "an old version": (get(b"GET /p HTTP/1.0"), b""),
    "a method nobody knows": (get(b"BREW /p HTTP/1.1"), b""),
    "letters beyond ASCII": (get(b"GET /\xc3\xa4 HTTP/1.1", b"A: \xff\r\n"), b""),
    "a tab within a value": (get(fields=b"A: a\tb\r\n"), b""),
    "an empty value": (get(fields=b"A:\r\n"), b""),
    "a line as long as may be": (get(b"GET /%s HTTP/1.1" % (b"a" * (LINE - 14))), b""),
    "a header as long as may be": (get(fields=b"A: %s\r\n" % (b"a" * (FIELD - 5))), b""),
    "as many headers as may be": (get(fields=b"A: b\r\n" * FIELDS), b""),
}

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
    "two lengths in one": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a length of 19 digits": POST + b"Content-Length: 1000000000000000000\r\n\r\n",
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
    "line feeds alone": b"GET /p HTTP/1.1\nHost: x\n\n",
    "a line feed in a header": get(fields=b"A: b\nContent-Length: 2\r\n"),
    "a carriage return in a header": get(fields=b"A: b\rContent-Length: 2\r\n"),
    "a carriage return in the target": get(b"GET /p\r HTTP/1.1"),
    "NUL in the target": get(b"GET /p\0 HTTP/1.1"),
    "NUL in a header": get(fields=b"A: b\0\r\n"),
    "a tab in the target": get(b"GET /p\tq HTTP/1.1"),
    "two blanks": get(b"GET  /p HTTP/1.1"),
    "a blank at the end": get(b"GET /p HTTP/1.1 "),
    "no version": get(b"GET /p"),
    "another version": get(b"GET /p HTTP/2.0"),
    "a version in small letters": get(b"GET /p http/1.1"),
    "a method in small letters": get(b"get /p HTTP/1.1"),
    "a method of 30 letters": get(b"%s /p HTTP/1.1" % (b"G" * 30)),
    "no method": get(b" /p HTTP/1.1"),
    "a target that is none": get(b"GET p HTTP/1.1"),
    "all of the server for a page": get(b"GET * HTTP/1.1"),
    "two hosts": get(fields=b"Host: x\r\nHost: y\r\n"),
    "no colon": get(fields=b"Host x\r\n"),
    "no name": get(fields=b": x\r\n"),
    "a control character in a name": get(fields=b"Ho\x01st: x\r\n"),
    "a letter beyond ASCII in a name": get(fields=b"H\xe4st: x\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n",
}

TOO_LONG = {
    "a line": (get(b"GET /%s HTTP/1.1" % (b"a" * (LINE - 13))), LimitRequestLine),
    "a line that never ends": (b"GET /" + b"a" * 5000, LimitRequestLine),
    "a header": (get(fields=b"A: %s\r\n" % (b"a" * (FIELD - 4))), LimitRequestHeaders),
    "a header that never ends": (POST + b"A: " + b"a" * 5000, LimitRequestHeaders),
    "one header too many": (get(fields=b"A: b\r\n" * (FIELDS + 1)), LimitRequestHeaders),
    "headers without end": (b"GET /p HTTP/1.1\r\n" + b"A: b\r\n" * 5000, LimitRequestHeaders),
    "a size that never ends": (CHUNKED + b"2;" + b"a" * 5000, LimitRequestHeaders),
    "trailers without end": (CHUNKED + b"0\r\n" + b"A: b\r\n" * 5000, LimitRequestHeaders),
}

pieces = pytest.mark.parametrize("piece", [1, 7, 1 << 16])


@pieces
@pytest.mark.parametrize("kind", TAKEN)
def test_a_request_is_read_to_its_end_and_no_further(kind: str, piece: int) -> None:
    content, body = TAKEN[kind]
    reading = Reading(content + BEHIND, piece)
    assert reading.parser.is_complete
    assert (reading.body, reading.rest) == (body, BEHIND)
    reading.parser.reset()
    reading.parser.feed(reading.rest)
    assert (reading.parser.is_complete, reading.parser.path) == (True, b"/behind")


@pieces
@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_be_read_in_another_way_is_refused(kind: str, piece: int) -> None:
    with pytest.raises(ParseError) as refused:
        Reading(REFUSED[kind], piece)
    assert not isinstance(refused.value, LimitRequestLine | LimitRequestHeaders)
    assert len(str(refused.value).split()) > 2, "it says why, in words"


@pieces
@pytest.mark.parametrize("kind", TOO_LONG)
def test_what_is_too_long_is_refused_before_it_has_come_to_its_end(kind: str, piece: int) -> None:
    content, error = TOO_LONG[kind]
    with pytest.raises(error):
        Reading(content, piece)


def test_a_header_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(ParseError) as refused:
        Reading(get(fields=b"Authorization : Bearer s3cret\r\n"), 1 << 16)
    assert "s3cret" not in str(refused.value)
