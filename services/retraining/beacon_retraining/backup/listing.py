"""The list of a backup: what it has, and by which digest each part is known."""

import hashlib
from datetime import datetime
from pathlib import Path

import msgspec

from beacon_retraining.backup.errors import BackupError

FORM = 1
"""Of the list and the parts; another one is refused."""
BLOCK = 1 << 20


class BackupPart(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


class BackupList(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that is complete."""

    name: str
    """Its folder's: when it began, in UTC."""
    time: datetime
    """The same."""
    beacon: str
    """Version of the Beacon that made it."""
    parts: tuple[BackupPart, ...]
    """In the order in which they were made."""
    form: int = FORM
    """Of this list."""

    def part(self, name: str) -> BackupPart | None:
        """The part of that name; None where the backup has none."""
        return next((part for part in self.parts if part.name == name), None)


def part_of(file: Path) -> BackupPart:
    """Describe a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return BackupPart(file.name, file.stat().st_size, digest.hexdigest())


def read_list(content: bytes, where: str) -> BackupList:
    """Read a list; raises `BackupError` for one that is none, or of another form."""
    try:
        found = msgspec.json.decode(content, type=BackupList)
    except msgspec.MsgspecError as error:
        raise BackupError(f"{where} is no list of a backup: {error}") from error
    if found.form != FORM:
        raise BackupError(f"{where} has the form {found.form}, and this Beacon reads {FORM}: use the one that made it")
    return found
