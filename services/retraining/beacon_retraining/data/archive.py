"""The data file of a downloaded zip: no other file is unpacked, and no path of the archive is used.

Sizes are checked first, and reading ends at the declared size, whatever the bytes would unpack to.
"""

import zipfile
from pathlib import Path, PurePosixPath

from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.sources.errors import FetchError, FetchRefusedError

BLOCK = 1 << 20
ENCRYPTED = 0x1
READ = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Python also reads bzip2 and LZMA, but unpacks a block of them whole: 4 kB may be gigabytes in memory."""
METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
    99: "AES encryption",
}
MIN_BYTES, ROW_BYTES, CELL_BYTES = 1 << 20, 1024, 64
"""The limit of a file's size: a constant, a size per row, and a size per cell."""
SUFFIXES = (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz")
NAMES_SHOWN = 5


def max_file_bytes(product: Product) -> int:
    """The limit of the data file's size: `data.rows.max` large rows."""
    columns = len(product.features) + len(product.excluded) + 1
    return MIN_BYTES + product.data.rows.max * (ROW_BYTES + CELL_BYTES * columns)


def unpack(archive: Path, name: str, max_bytes: int) -> Path:
    """Write the archive's file `name` beside it, of at most `max_bytes` bytes.

    Raises `FetchError` or `FetchRefusedError`.
    """
    try:
        opened = zipfile.ZipFile(archive)
    except (EOFError, ValueError, NotImplementedError, OSError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive.name}: is not a whole zip file: {message_of(error)}") from error
    with opened:
        entry = _only(archive, opened.infolist(), name)
        if entry.flag_bits & ENCRYPTED:
            raise FetchRefusedError(f"{archive.name}: {entry.filename} is encrypted")
        if entry.compress_type not in READ:
            method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            rule = f"{entry.filename} is packed by {method}, which is not read; Deflate is"
            raise FetchRefusedError(f"{archive.name}: {rule}")
        if entry.file_size > max_bytes:
            limit = f"{max_bytes} bytes is the limit that data.rows.max of product.yaml sets"
            raise FetchRefusedError(f"{archive.name}: {entry.filename} unpacks to {entry.file_size} bytes; {limit}")
        try:
            return _write(opened, entry, archive.parent / name)
        except NotImplementedError as error:
            raise FetchRefusedError(f"{archive.name}: {entry.filename} cannot be read: {message_of(error)}") from error
        except Exception as error:  # zlib has errors of its own
            if isinstance(error, OSError) and error.errno is not None:
                raise  # this machine's disk
            raise FetchError(f"{archive.name}: {entry.filename} is damaged: {message_of(error)}") from error


def _only(archive: Path, entries: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    """The one entry of that name, at the top or else in a folder; a path out of the archive does not count."""
    files = [entry for entry in entries if not entry.is_dir()]
    inside = [entry for entry in files if _path(entry).name == name and _is_inside(entry)]
    found = [entry for entry in inside if len(_path(entry).parts) == 1] or inside
    if len(found) == 1:
        return found[0]
    if found:
        raise FetchRefusedError(f"{archive.name}: holds {name} more than once: {_names(found)}")
    hint = ", an archive in the archive" if any(entry.filename.lower().endswith(SUFFIXES) for entry in files) else ""
    raise FetchError(f"{archive.name}: holds no {name}, but {_names(files) or 'nothing'}{hint}")


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))  # as some programs on Windows write it


def _is_inside(entry: zipfile.ZipInfo) -> bool:
    path = _path(entry)
    return not path.is_absolute() and not {"..", "__MACOSX"} & set(path.parts)


def _names(entries: list[zipfile.ZipInfo]) -> str:
    names = [name if (name := entry.filename).isprintable() else repr(name) for entry in entries]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> Path:
    with opened.open(entry) as packed, target.open("wb") as stream:
        while block := packed.read(BLOCK):
            stream.write(block)
    return target
