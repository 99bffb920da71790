"""The folder of state as one file (tar), while others write to it, and back.

Files are replaced whole or appended to, so each is copied as it is; a database of SQLite is copied by its own online
backup. The order matters: first the spool, whose records go into the database, then the databases, then what they
name. So a record is in the spool or in the database or in both, where it counts once.
"""

import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from beacon_core.platform.files import DRAFT

FILE = "home.tar"
NOT_KEPT = frozenset({"run", "logs", "lost+found"})
"""Folders of the state that are about processes that run, or the volume's own."""
SPOOL = "spool"
SQLITE = b"SQLite format 3\0"
BESIDE_SQLITE = ("-wal", "-shm", "-journal")
WAIT_SECONDS = 60.0


def pack(home: Path, to: Path, scratch: Path) -> None:
    """Write all that is kept of `home` into the file `to`; databases are copied into `scratch` first."""
    with tarfile.open(to, "w", dereference=False) as archive:
        _add(archive, home, _below(home / SPOOL))
        databases = [file for file in _files(home) if _is_database(file)]
        for number, file in enumerate(databases):
            copy = scratch / f"{number}.db"
            _copy_database(file, copy)
            archive.add(copy, file.relative_to(home), recursive=False)
            copy.unlink()
        besides = {file.with_name(file.name + end) for file in databases for end in BESIDE_SQLITE}
        left_out = {*databases, *besides}
        rest = (file for file in _files(home) if file not in left_out and home / SPOOL not in (file, *file.parents))
        _add(archive, home, rest)


def kept_of(home: Path) -> list[str]:
    """What `home` has that a backup would keep: names at its top."""
    return sorted(path.name for path in home.iterdir() if path.name not in NOT_KEPT) if home.is_dir() else []


def clear(home: Path) -> None:
    """Delete what a backup would bring."""
    for name in kept_of(home):
        path = home / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _files(home: Path) -> Iterator[Path]:
    """Files, folders and links, without what is not kept at the top; pipes and sockets are of processes."""
    for path in (home / name for name in kept_of(home)):
        yield from _below(path)


def _below(path: Path) -> Iterator[Path]:
    if DRAFT in path.name:
        return
    if path.is_dir() and not path.is_symlink():
        yield path
        with suppress(FileNotFoundError):
            for inner in sorted(path.iterdir()):
                yield from _below(inner)
    elif path.is_symlink() or path.is_file():
        yield path


def _add(archive: tarfile.TarFile, home: Path, paths: Iterator[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            archive.add(path, path.relative_to(home), recursive=False)


def _is_database(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as stream:
        return file.is_file() and not file.is_symlink() and stream.read(len(SQLITE)) == SQLITE
    return False


def _copy_database(file: Path, to: Path) -> None:
    """Copy as of one moment; writers go on."""
    with closing(sqlite3.connect(file, timeout=WAIT_SECONDS)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
