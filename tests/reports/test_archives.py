"""Zips that are not one whole file at the top: taken where it is plain what is meant, else one line says what is wrong.

Reported of data sets that were packed by Windows (Deflate64, backslashes), by macOS, by people (folders, zips in zips),
and of archives that are meant to harm.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from support.kaggle import spoilt, zipped

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.domain.source import Format
from beacon_core.sources import text_bytes
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_retraining.data.archive import max_file_bytes, unpack

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

NAME = "data.csv"
ROWS = b"a,b\n" + b"1,2\n" * 400
LIMIT = 1 << 20


def packed(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def streamed(*files: tuple[str, bytes]) -> bytes:
    """As a server packs that cannot go back: each size behind its file."""

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, content: "Buffer") -> int:
            parts.append(bytes(content))
            return len(parts[-1])

    parts: list[bytes] = []
    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return b"".join(parts)


def patched(archive: bytes, local: int, central: int, value: int, kind: str = "<H") -> bytes:
    """The archive with a field of its one entry changed, in both of the headers that hold it."""
    content = bytearray(archive)
    struct.pack_into(kind, content, local, value)
    struct.pack_into(kind, content, archive.rindex(b"PK\x01\x02") + central, value)
    return bytes(content)


def of_method(number: int) -> bytes:
    return patched(packed((NAME, ROWS)), 8, 10, number)


def of_flags(flags: int) -> bytes:
    return patched(packed((NAME, ROWS)), 6, 8, flags)


def lying(size: int, method: int = zipfile.ZIP_DEFLATED, unpacked: int = 8 << 20) -> bytes:
    """An entry that says it is smaller than it is: a bomb behind a small number."""
    whole = packed((NAME, b"0" * unpacked), method=method)
    return patched(patched(whole, 22, 24, size, "<L"), 14, 16, zlib.crc32(b"0" * size), "<L")


TAKEN = {
    "at the top": packed((NAME, ROWS)),
    "in a folder": packed((f"archive/{NAME}", ROWS)),
    "in folders of Windows": packed((f"archive\\deep\\{NAME}", ROWS)),
    "beside others": packed(("readme.txt", b"x"), (NAME, ROWS), ("old/other.csv", b"y")),
    "at the top, and an older one in a folder": packed((NAME, ROWS), (f"old/{NAME}", b"old")),
    "with what macOS adds": packed((f"d/{NAME}", ROWS), (f"__MACOSX/d/._{NAME}", b"?"), (f"__MACOSX/{NAME}", b"?")),
    "stored": packed((NAME, ROWS), method=zipfile.ZIP_STORED),
    "behind a program that unpacks it": b"MZ" * 900 + packed((NAME, ROWS)),
    "with a dot before it": packed((f"./{NAME}", ROWS)),
    "with its sizes behind it, as it was streamed": streamed((NAME, ROWS)),
    "a folder of that name beside it": packed((f"{NAME}/", b""), (f"x/{NAME}", ROWS)),
}


@pytest.mark.parametrize("form", TAKEN)
def test_what_is_plainly_meant_is_taken(form: str, tmp_path: Path) -> None:
    archive = tmp_path / "in" / "set.zip"
    archive.parent.mkdir()
    archive.write_bytes(TAKEN[form])
    assert unpack(archive, NAME, LIMIT).read_bytes() == ROWS
    assert sorted(tmp_path.rglob("*")) == [archive.parent, archive.parent / NAME, archive], "and nothing else"


WHOLE = packed((NAME, ROWS))
REFUSALS: dict[str, tuple[bytes, int, str]] = {
    "Deflate64": (of_method(9), REFUSED, "data.csv is packed by Deflate64, which is not read; Deflate is"),
    "bzip2": (packed((NAME, ROWS), method=zipfile.ZIP_BZIP2), REFUSED, "data.csv is packed by bzip2"),
    "LZMA": (packed((NAME, ROWS), method=zipfile.ZIP_LZMA), REFUSED, "data.csv is packed by LZMA"),
    "Zstandard": (of_method(93), REFUSED, "data.csv is packed by Zstandard"),
    "an unknown method": (of_method(77), REFUSED, "data.csv is packed by method 77"),
    "encrypted": (of_flags(0x1), REFUSED, "data.csv is encrypted"),
    "strongly encrypted": (of_flags(0x41), REFUSED, "data.csv is encrypted"),
    "a patch": (of_flags(0x20), REFUSED, "cannot be read"),
    "a bomb": (packed((NAME, b"0" * (8 << 20))), REFUSED, f"unpacks to {8 << 20} bytes; {LIMIT} bytes is the limit"),
    "a bomb of another name": (packed(("b", b"0" * (64 << 20))), TRY_AGAIN, "holds no data.csv, but b"),
    "two in folders": (
        packed((f"a/{NAME}", ROWS), (f"b/{NAME}", ROWS)),
        REFUSED,
        "more than once: a/data.csv, b/data.csv",
    ),
    "a path out": (packed((f"../{NAME}", ROWS)), TRY_AGAIN, "holds no data.csv, but ../data.csv"),
    "a path out of Windows": (packed((f"..\\..\\{NAME}", ROWS)), TRY_AGAIN, "holds no data.csv, but ..\\..\\data.csv"),
    "an absolute path": (packed((f"/tmp/{NAME}", ROWS)), TRY_AGAIN, "holds no data.csv, but /tmp/data.csv"),
    "a zip in a zip": (packed((f"{NAME}.zip", WHOLE)), TRY_AGAIN, "but data.csv.zip, an archive in the archive"),
    "another name": (packed(("other.csv", ROWS)), TRY_AGAIN, "holds no data.csv, but other.csv"),
    "another case": (packed(("Data.CSV", ROWS)), TRY_AGAIN, "holds no data.csv, but Data.CSV"),
    "a folder of that name": (packed((f"{NAME}/", b"")), TRY_AGAIN, "holds no data.csv, but nothing"),
    "nothing in it": (packed(), TRY_AGAIN, "holds no data.csv, but nothing"),
    "many others": (packed(*((f"{n}.csv", b"x") for n in range(9))), TRY_AGAIN, "4.csv and 4 more"),
    "a name of two lines": (packed(("a\nb.csv", ROWS)), TRY_AGAIN, "but 'a\\nb.csv'"),
    "cut at half": (WHOLE[: len(WHOLE) // 2], TRY_AGAIN, "is not a whole zip file"),
    "cut at its end": (WHOLE[:-10], TRY_AGAIN, "is not a whole zip file"),
    "empty": (b"", TRY_AGAIN, "is not a whole zip file"),
    "a page": (b"<html>sign in</html>", TRY_AGAIN, "is not a whole zip file"),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), TRY_AGAIN, "is not a whole zip file"),
    "wrong bytes": (spoilt(zipped(NAME, ROWS, zipfile.ZIP_STORED)), TRY_AGAIN, "data.csv is damaged"),
}


@pytest.mark.parametrize("form", REFUSALS)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(form: str, tmp_path: Path) -> None:
    content, status, said = REFUSALS[form]
    archive = tmp_path / "in" / "set.zip"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(FetchError) as refused:
        unpack(archive, NAME, LIMIT)
    assert str(refused.value).startswith("set.zip: ")
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.exit_status == status
    assert isinstance(refused.value, FetchRefusedError) == (status == REFUSED)
    left = [file for file in tmp_path.rglob("*") if file.is_file() and file != archive]
    assert left in ([], [archive.parent / NAME]), "nothing beside the temporary folder"


def test_a_bomb_that_says_it_is_small_is_read_no_further_than_it_says(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(lying(4096))
    assert unpack(archive, NAME, LIMIT).stat().st_size == 4096


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_that_says_it_is_small_takes_no_memory(method: int, tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(lying(4096, method, 256 << 20))
    tracemalloc.start()
    try:
        with contextlib.suppress(FetchRefusedError):
            unpack(archive, NAME, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_grows_with_the_rows_that_the_product_may_have(product: Product) -> None:
    assert max_file_bytes(product) > 10 * product.sample_path.stat().st_size
    assert max_file_bytes(product) < 200 * product.data.rows.max * (len(product.features) + len(product.excluded) + 9)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
    "zip": lambda content: packed((NAME, content)),
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_source_is_unpacked_no_further_than_a_table_would_be(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_bytes, "SMALL_BYTES", 1 << 16)
    file, content = tmp_path / "table.csv.packed", b"a,b\n" + b"0,0\n" * (16 << 20)
    file.write_bytes(PACKED[kind](content))
    assert text_bytes.MOST_TIMES * file.stat().st_size < len(content)
    tracemalloc.start()
    try:
        with (
            pytest.raises(DataError, match=r"unpacks to more than 100 times its size"),
            text_bytes.utf8_file(file, file.name, kind, Format()),
        ):
            pass
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    file.write_bytes(PACKED[kind](content[: 1 << 16]))
    with text_bytes.utf8_file(file, file.name, kind, Format()) as text:
        assert text.path.stat().st_size == 1 << 16
