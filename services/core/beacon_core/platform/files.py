"""Atomic writes of files and folders: a reader finds the old one or the new one, never half of one.

The content is written to a draft beside its place. A write that fails removes its draft; the draft of a killed process
is removed by the next write to the same place.
"""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DRAFT = ".draft"


def write_atomically(file: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` in the place of `file`, in one step."""
    with draft_of(file, durable=durable) as draft:
        draft.write_bytes(content)


@contextlib.contextmanager
def draft_of(file: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a draft file that replaces `file` in one step after the block; it is removed if the block fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_drafts_of_the_dead(file)
    # Two processes may write the same file at once: each has a draft of its own.
    draft = file.with_name(f".{file.name}.{os.getpid()}{DRAFT}")
    try:
        yield draft
        replace(draft, file, durable=durable)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def replace(draft: Path, file: Path, *, durable: bool = True) -> None:
    """Put `draft` in the place of `file`, in one step.

    `durable`: both the content and the name are on the disk when this returns, so that they survive a power failure.
    That costs milliseconds: leave it out where a request waits or where the file can be written again.
    """
    if durable:
        sync(draft)
    draft.replace(file)
    if durable:
        sync(file.parent)


@contextlib.contextmanager
def draft_folder_of(folder: Path) -> Iterator[Path]:
    """Yield a draft folder that replaces `folder` after the block; it is removed if the block fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The temporary folder is private to its owner; the folder inside it has the mode of the umask.
    with tempfile.TemporaryDirectory(prefix=f"{DRAFT}-", dir=folder.parent) as beside:
        draft = Path(beside) / folder.name
        draft.mkdir()
        yield draft
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_drafts_of_the_dead(file: Path) -> None:
    start = f".{file.name}."
    for left in file.parent.glob(f"{glob.escape(start)}*{DRAFT}"):
        number = left.name[len(start) : -len(DRAFT)]
        if number.isdecimal() and not _lives(int(number)):
            left.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
