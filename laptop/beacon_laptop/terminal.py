"""What a person at the terminal reads: short lines, and the end of a log where it explains something."""

import contextlib
import os
from pathlib import Path

from beacon_core.masking import mask

LAST_LINES = 5
LAST_BYTES = 4096


def say(text: str) -> None:
    """Print `text`, masked; a terminal that has been closed is no reason to stop half-way through stopping."""
    with contextlib.suppress(OSError):
        print(mask(text), flush=True)


def log_end(file: Path) -> str:
    """The last lines of a log, indented below its path."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    except OSError:
        lines = []
    return "\n".join([f"  log: {file}", *(f"  | {line}" for line in lines)])
