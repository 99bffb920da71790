"""Notes as files of a folder: written whole and to the disk, or not at all."""

from pathlib import Path

from beacon_core.platform.files import write_atomically


class FileNotes:
    """`Notes` (target.py) in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """What was written under the name last, or None."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes | None) -> None:
        """Keep it; None removes it."""
        file = self._folder / name
        if content is None:
            file.unlink(missing_ok=True)
            return
        write_atomically(file, content)
