"""A file's bytes as UTF-8 text: unpacked, decoded and checked, block by block."""

import bz2
import codecs
import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from beacon_core.domain.data_errors import FILE, DataError
from beacon_core.domain.source import Format

BLOCK = 1 << 22
HEAD_BYTES = 1 << 12
READ_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Python also reads bzip2 and LZMA in a zip, but unpacks a block of them whole: 4 kB may be gigabytes in memory."""
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
OTHERS = {
    b"%PDF": "is a PDF",
    b"\xd0\xcf\x11\xe0": "is a workbook of Excel: save it as CSV",
    b"SQLite format 3": "is a SQLite database: write `sql:`",
}
UNDEFINED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
"""Bytes that Windows-1252 has no character for."""
SMALL_BYTES, MOST_TIMES = 1 << 30, 100
"""What a packed file may unpack to: so many bytes, or so many times its own size where that is more."""
UNPACK_ERRORS = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
PARQUET = b"PAR1"


def find_compression(file: Path, name: str, given: str | None) -> str:
    """How the file is packed, by its first bytes; raises `DataError` where it is plainly no table."""
    if given is not None:
        return given
    head = read_head(file, name, "none")
    found = next((kind for mark, kind in COMPRESSIONS.items() if head.startswith(mark)), "none")
    if found == "none" and (other := next((text for mark, text in OTHERS.items() if head.startswith(mark)), "")):
        raise DataError(name, FILE, other)
    return found


def read_head(file: Path, name: str, compression: str) -> bytes:
    """The first bytes of the content."""
    with opened(file, name, compression) as stream:
        return stream.read(HEAD_BYTES)


@contextmanager
def opened(file: Path, name: str, compression: str) -> Iterator["Unpacked"]:
    """The file's content, unpacked; raises `DataError` for one that is damaged or cannot be read."""
    with ExitStack() as stack:
        try:
            limit = max(SMALL_BYTES, MOST_TIMES * file.stat().st_size)
            yield Unpacked(_open(file, name, compression, stack), name, compression, limit)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise DataError(name, FILE, f"cannot be read: {error.strerror}") from error


class Unpacked:
    """A stream of unpacked bytes, which ends with an error where a packed file has more than `limit` of them."""

    def __init__(self, stream: Any, name: str, compression: str, limit: int) -> None:
        self._stream = stream
        self._name = name
        self._compression = compression
        self._limit = limit
        self._count = 0

    def read(self, size: int) -> bytes:
        """The next bytes; raises `DataError`."""
        if self._compression == "none":
            return bytes(self._stream.read(size))
        try:
            block = bytes(self._stream.read(size))
        except UNPACK_ERRORS as error:
            rule = f"is not whole {self._compression}: {error or type(error).__name__}"
            raise DataError(self._name, FILE, rule) from error
        self._count += len(block)
        if self._count > self._limit:
            rule = f"unpacks to more than {MOST_TIMES} times its size, and to more than {self._limit} bytes"
            raise DataError(self._name, FILE, f"{rule}: unpack it yourself, if that is right")
        return block

    def blocks(self) -> Iterator[bytes]:
        """All bytes."""
        while block := self.read(BLOCK):
            yield block


def _open(file: Path, name: str, compression: str, stack: ExitStack) -> Any:
    if compression == "zip":
        return _open_zip(file, name, stack)
    stream: IO[bytes] = stack.enter_context(file.open("rb"))
    if compression == "none":
        return stream
    if compression == "zstd":
        return stack.enter_context(pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    openers: dict[str, Any] = {"gzip": gzip.GzipFile, "bz2": bz2.BZ2File, "xz": lzma.LZMAFile}
    keyword = {"fileobj": stream} if compression == "gzip" else {"filename": stream}
    return stack.enter_context(openers[compression](mode="rb", **keyword))


def _open_zip(file: Path, name: str, stack: ExitStack) -> Any:
    """The one file of a zip."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
        if any(entry.filename.startswith("xl/") for entry in entries):
            raise DataError(name, FILE, "is a workbook of Excel: save it as CSV")
        if len(entries) != 1:
            held = ", ".join(entry.filename for entry in entries[:5]) or "nothing"
            raise DataError(name, FILE, f"is a zip of {len(entries)} files ({held}), must hold one")
        if entries[0].compress_type not in READ_METHODS:
            raise DataError(name, FILE, "is a zip whose method is not read; Deflate is")
        return stack.enter_context(archive.open(entries[0]))
    except DataError:
        raise
    except (EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise DataError(name, FILE, f"is not a whole zip file: {error}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def find_encoding(file: Path, name: str, compression: str, given: str | None) -> str:
    """The encoding of the text: the one given, that of the byte order mark, UTF-8, or one of Western Europe."""
    with opened(file, name, compression) as stream:
        head = stream.read(HEAD_BYTES)
        marked = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
        if given is not None:
            return "utf-8-sig" if codecs.lookup(given).name == "utf-8" else given
        if marked is not None:
            return marked
        if (wide := _wide(head)) is not None:
            return wide
        return _utf8_or_european(chain([head], stream.blocks()))


def _utf8_or_european(blocks: Iterator[bytes]) -> str:
    """UTF-8, also for a text that is UTF-8 until a damaged byte; else an encoding of one byte per character."""
    check = codecs.getincrementaldecoder("utf-8")()
    is_utf8, has_wide = True, False
    found: set[int] = set()
    for block in blocks:
        if is_utf8:
            try:
                has_wide = not check.decode(block).isascii() or has_wide
            except UnicodeDecodeError as error:
                if has_wide or not bytes(error.object[: error.start]).isascii():
                    return "utf-8-sig"  # whose reader tells the line of the byte
                is_utf8 = False
        if not is_utf8:
            found |= set(block)
    if is_utf8 and (has_wide or not check.getstate()[0]):
        return "utf-8-sig"
    return "latin-1" if found & UNDEFINED else "cp1252"


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of a header in Latin letters is zero."""
    even, odd = head[0::2], head[1::2]
    if len(head) < 4 or not head.count(0):
        return None
    if odd.count(0) > 0.4 * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > 0.4 * len(even) and odd.count(0) == 0 else None


def text_blocks(file: Path, name: str, compression: str, encoding: str) -> Iterator[bytes]:
    """The text as blocks of UTF-8 without a byte order mark; raises `DataError` for what is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    is_utf8 = encoding == "utf-8-sig"
    with opened(file, name, compression) as stream:
        is_first = True
        for block in stream.blocks():
            if is_utf8 and not is_first and block.isascii() and not decoder.getstate()[0]:
                text = block
            else:
                text = _decoded(decoder, block, name, encoding, line)
            is_first = False
            if b"\0" in text:
                line += text[: text.index(b"\0")].count(b"\n")
                raise DataError(name, FILE, f"contains NUL bytes, in line {line}: must be text")
            yield text
            line += text.count(b"\n")
        _decoded(decoder, b"", name, encoding, line, final=True)


def _decoded(
    decoder: codecs.IncrementalDecoder, block: bytes, name: str, encoding: str, line: int, *, final: bool = False
) -> bytes:
    try:
        return decoder.decode(block, final).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        line += bytes(error.object[: error.start]).count(b"\n")
        shown = "UTF-8" if encoding == "utf-8-sig" else encoding
        byte = error.object[error.start]
        raise DataError(name, FILE, f"must be text in {shown}, has the byte 0x{byte:02x} in line {line}") from error


class Utf8File(NamedTuple):
    """A file of UTF-8 text; it begins at the byte `start`, behind a byte order mark."""

    path: Path
    encoding: str
    start: int
    quotes: int


@contextmanager
def utf8_file(file: Path, name: str, compression: str, given: Format) -> Iterator[Utf8File]:
    """The file itself where it is plain UTF-8, else a copy that is; raises `DataError` for what is no text.

    `quotes` counts the quote marks.
    """
    encoding = find_encoding(file, name, compression, given.encoding)
    quote = ('"' if given.quote is None else given.quote).encode()
    quotes = 0
    is_plain = compression == "none" and encoding == "utf-8-sig"
    with ExitStack() as stack:
        copy = None if is_plain else stack.enter_context(tempfile.NamedTemporaryFile(prefix="beacon-text-"))
        for block in text_blocks(file, name, compression, encoding):
            quotes += block.count(quote) if quote else 0
            if copy is not None:
                copy.write(block)
        if copy is not None:
            copy.flush()
        path = file if copy is None else Path(copy.name)
        with path.open("rb") as stream:
            start = len(codecs.BOM_UTF8) if stream.read(3) == codecs.BOM_UTF8 else 0
        yield Utf8File(path, encoding, start, quotes)


def check_format(name: str, head: bytes) -> None:
    """Raise `DataError` for content that is plainly no table of text."""
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise DataError(name, FILE, "is HTML or XML, must be CSV")


def find_type(head: bytes, name: str, given: Format) -> str:
    """csv, parquet or jsonlines: as it is said, or by the first bytes."""
    if given.type is not None:
        return given.type
    if head.startswith(PARQUET):
        return "parquet"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_json = start[:1] == b"{" or (start[:1] == b"[" and start[1:].lstrip()[:1] == b"{")
    return "jsonlines" if is_json or name.lower().endswith((".jsonl", ".ndjson")) else "csv"
