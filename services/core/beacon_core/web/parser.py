"""gunicorn's HTTP/1.1 parser in Python, made as strict as its C parser, which is published as source only.

A proxy may read what gunicorn's own lets through in another way, and take one request for two: blanks before a
header's colon, folded lines, lengths such as +2 and 1_0, chunks that do not end where they say. gunicorn's also lets
control characters into the target and keeps on reading a line that never ends.
"""

import re

from gunicorn.asgi import parser as http

LINE_END = b"\r\n"
REQUEST_LINE = re.compile(rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
LENGTH = re.compile(rb"[0-9]{1,18}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")


class Parser(http.PythonProtocol):  # type: ignore[misc]
    """A parser of one request after another: `feed` stops at a request's end, and `remaining` is what lies behind."""

    _chunk_state: str

    def _parse_request_line(self) -> bool:
        while self._buffer.startswith(LINE_END):  # left behind by the request before (RFC 9112 section 2.2)
            del self._buffer[:2]
        line = self._line(self._limit_request_line, http.LimitRequestLine)
        if line is None:
            return False
        match = REQUEST_LINE.fullmatch(line)
        if match is None or not _target_fits(match[1], match[2]):
            raise http.InvalidRequestLine("the request line is METHOD TARGET HTTP/1.1, the method in capitals")
        self.method, self.path = match[1], match[2]
        self.http_version = (1, int(match[3]))
        self._state = "headers"
        return True

    def _parse_headers(self) -> bool:
        while (line := self._header_line()) is not None:
            if line:
                name, value = self._field(line)
                if name == b"content-length" and not LENGTH.fullmatch(value):
                    raise http.InvalidHeader("Content-Length is no number of bytes")
                self._headers_list.append((name, value))
            else:
                self._finish_head()
                return True
        return False

    def _finish_head(self) -> None:
        try:
            self._finalize_headers()
        except http.UnsupportedTransferCoding as error:
            raise http.InvalidHeader(f"Transfer-Encoding {error} is not supported") from error

    def _parse_chunked_body(self) -> bool:
        while self._buffer:
            if self._chunk_state == "data":
                self._take_chunk()
            elif self._chunk_state == "crlf":
                if not LINE_END.startswith(self._buffer[:2]):
                    raise http.InvalidChunkSize("a chunk does not end where it says")
                if len(self._buffer) < 2:
                    return False
                del self._buffer[:2]
                self._chunk_state = "size"
            else:
                line = self._header_line()
                if line is None:
                    return False
                if self._chunk_state == "size":
                    self._begin_chunk(line)
                elif line:
                    self._check_trailer(line)
                else:
                    self._state = "complete"
                    self.is_complete = True
                    self._on_message_complete()
                    return True
        return False

    def _begin_chunk(self, line: bytes) -> None:
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise http.InvalidChunkSize("a chunk begins with its size, a hexadecimal number")
        self._chunk_remaining = int(match[1], 16)
        self._chunk_state = "data" if self._chunk_remaining else "trailer"

    def _take_chunk(self) -> None:
        part = bytes(self._buffer[: self._chunk_remaining])
        del self._buffer[: len(part)]
        self._chunk_remaining -= len(part)
        if not self._chunk_remaining:
            self._chunk_state = "crlf"
        self._on_body(part)

    def _check_trailer(self, line: bytes) -> None:
        name, _ = self._field(line)
        if name in http.RFC9110_6_5_1_FORBIDDEN_TRAILER:
            raise http.InvalidHeaderName(f"{name.decode()} may not follow the body")

    def _header_line(self) -> bytes | None:
        return self._line(self._limit_request_field_size - 2, http.LimitRequestHeaders)

    def _line(self, limit: int, too_long: type[Exception]) -> bytes | None:
        """The next line without its end; None if that has not come."""
        end = self._buffer.find(LINE_END)
        if (len(self._buffer) - 1 if end < 0 else end) > limit:
            raise too_long(f"a line of the head is longer than {limit} bytes")
        if end < 0:
            if b"\n" in self._buffer:
                raise http.ParseError("a line ends with a carriage return and a line feed")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _field(self, line: bytes) -> tuple[bytes, bytes]:
        """Name in lower case and value of a header or trailer."""
        self._header_count += 1
        if self._header_count > self._limit_request_fields:
            raise http.LimitRequestHeaders("there are too many headers")
        match = FIELD.fullmatch(line)
        if match is None:
            # Not worded: it may hold a credential.
            raise http.InvalidHeader("a header is NAME: VALUE, without a blank before the colon or a control character")
        return match[1].lower(), match[2].strip(b" \t")


def _target_fits(method: bytes, target: bytes) -> bool:
    """Whether the target has one of the forms of RFC 9112 section 3.2 that the method allows."""
    if target == b"*":
        return method == b"OPTIONS"
    return target.startswith(b"/") or b"://" in target or method == b"CONNECT"
