"""The files that services share: below BEACON_FILES, which is a folder or an address of S3. One face for both.

Readers get a whole file, and writers replace it whole. Two writers at once lose nothing: in a folder they wait for one
lock; in S3 the second one is refused by the server, and reads again before it writes.
"""

import contextlib
import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.platform.files import draft_of
from beacon_core.platform.locks import wait_for

Write = Callable[[Path], None]
"""Writes the new content into the file that it is given."""
Change = Callable[[Path], Write | None]
"""Gets the file as it is, which may not exist; None where there is nothing to change. It may be called again."""


class SharedFilesError(ConfigurationError):
    """BEACON_FILES cannot be used as it is: its bucket, the keys, or what the server can do."""


class SharedFilesUnavailableError(Exception):
    """The S3 of BEACON_FILES does not answer, or others write the same file all the time."""

    exit_status = TRY_AGAIN


class SharedFile(Protocol):
    """A file that several services read and write.

    In S3 every method raises `SharedFilesUnavailableError`, and `SharedFilesError` where the place cannot be used.
    """

    address: str

    @property
    def name(self) -> str:
        """Its name, without the folder."""
        ...

    def exists(self) -> bool: ...

    def version(self) -> str:
        """A text that is another one when the content changes; empty without a file."""
        ...

    def reading(self) -> contextlib.AbstractContextManager[Path]:
        """The whole file, as it is for the length of the block, on this machine; the path may not exist."""
        ...

    def update(self, change: Change, *, durable: bool = True) -> None:
        """Replace it in one step by what `change` makes of it.

        `durable`: in a folder, it survives a power failure (`platform.files.replace`).
        """
        ...

    def sibling(self, name: str) -> "SharedFile":
        """The file of that name beside it."""
        ...

    def beside(self, pattern: str) -> list["SharedFile"]:
        """The files beside it whose names match; sorted."""
        ...


def shared_file(address: str) -> SharedFile:
    """The file at an absolute path or an address of S3."""
    if is_remote(address):
        from beacon_core.platform.s3_files import S3File  # noqa: PLC0415 - its client takes a while to import

        return S3File(address)
    return FolderFile(Path(address))


def is_remote(address: str) -> bool:
    """Whether it is an address and no path."""
    return "://" in address


def to_bytes(content: bytes) -> Write:
    """Writes these bytes."""

    def write(draft: Path) -> None:
        draft.write_bytes(content)

    return write


class FolderFile:
    """A file of a folder that all services mount; its lock holds off other threads and processes."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._path = path
        self._lock = path.with_suffix(".lock")

    @property
    def name(self) -> str:
        return self._path.name

    def exists(self) -> bool:
        return self._path.is_file()

    def version(self) -> str:
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            return ""
        return f"{facts.st_mtime_ns} {facts.st_size} {facts.st_ino}"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path]:
        if not self._path.parent.is_dir():
            yield self._path
            return
        # A reader opens a file once for its schema and once more for its rows.
        with wait_for(self._lock, shared=True):
            yield self._path

    def update(self, change: Change, *, durable: bool = True) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with wait_for(self._lock):
            write = change(self._path)
            if write is not None:
                with draft_of(self._path, durable=durable) as draft:
                    write(draft)

    def sibling(self, name: str) -> SharedFile:
        return FolderFile(self._path.with_name(name))

    def beside(self, pattern: str) -> list[SharedFile]:
        names = sorted(path.name for path in self._path.parent.glob("*") if fnmatch.fnmatchcase(path.name, pattern))
        return [self.sibling(name) for name in names]
