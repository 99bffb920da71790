"""Forms of an HTTP request that each mean the same as the plain one."""

from collections.abc import Callable

from support.wire import Door, chunked, head, whole

CHUNKED = "Transfer-Encoding: chunked"
H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)

# One request in another form. Each is answered as the plain one, and so is a plain one behind it.
FORMS: dict[str, Callable[[Door], bytes]] = {
    "one chunk": lambda door: head(door, CHUNKED) + chunked(door.body),
    "many chunks": lambda door: head(door, CHUNKED) + chunked(door.body, 7),
    "chunks in capitals": lambda door: head(door, "TRANSFER-ENCODING: CHUNKED") + chunked(door.body, 50),
    "chunks with extensions": lambda door: head(door, CHUNKED) + chunked(door.body, 50, b';name="a b"'),
    "chunks and a trailer": lambda door: (
        head(door, CHUNKED, "Trailer: X-Sum") + chunked(door.body, 50, b"", b"X-Sum: 1\r\n")
    ),
    "chunks and a trailer that is a header": lambda door: (
        head(door, CHUNKED) + chunked(door.body, 50, b"", b"Content-Type: text/nonsense\r\n")
    ),
    "a chunked body after Expect": lambda door: head(door, CHUNKED, "Expect: 100-continue") + chunked(door.body),
    "names in capitals": lambda door: (
        head(door, f"CONTENT-LENGTH: {len(door.body)}").replace(b"Content-Type", b"CONTENT-TYPE") + door.body
    ),
    "names in small letters": lambda door: (
        head(door, f"content-length: {len(door.body)}").replace(b"Content-Type", b"content-type") + door.body
    ),
    "no blank behind the colon": lambda door: head(door, f"Content-Length:{len(door.body)}") + door.body,
    "blanks around the length": lambda door: head(door, f"Content-Length:\t {len(door.body)} \t") + door.body,
    "zeros before the length": lambda door: head(door, f"Content-Length: 00{len(door.body)}") + door.body,
    "line ends before it": lambda door: b"\r\n\r\n" + whole(door),
    "a whole address": lambda door: whole(door, target=f"http://beacon.example:8080{door.path}"),
    "a whole address of https": lambda door: whole(door, target=f"HTTPS://beacon.example{door.path}"),
    "a query": lambda door: whole(door, target=f"{door.path}?a=1&b=%ff%C3%A4&c"),
    "an empty query": lambda door: whole(door, target=f"{door.path}?"),
    "a media type in capitals": lambda door: whole(door, kind=door.kind.upper()),
    "a media type with a parameter": lambda door: whole(door, kind=f"{door.kind.title()} ; Charset=UTF-8"),
    "the coding identity": lambda door: whole(door, "Content-Encoding: identity"),
    "the coding identity in capitals": lambda door: whole(door, "Content-Encoding: Identity"),
    "an offer of h2c, as Java's client makes it": lambda door: whole(door, *H2C),
    "an offer of h2c in chunks": lambda door: head(door, CHUNKED, *H2C) + chunked(door.body, 50),
    "an offer of websockets": lambda door: whole(door, "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    "keep-alive in so many words": lambda door: whole(door, "Connection: Keep-Alive"),
    "a header nobody knows": lambda door: whole(door, "X-Anything: \xe4\xff", "X-Empty:"),
    "many headers": lambda door: whole(door, *(f"X-{number}: a" for number in range(80))),
}
