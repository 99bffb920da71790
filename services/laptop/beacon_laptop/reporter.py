"""Reports to the terminal: short lines, and the end of a log for an error."""

import contextlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from beacon_core.domain.masking import mask

LAST_LINES = 5
LAST_BYTES = 65536
# Fields of a log line that are shown beside its message.
FACTS = ("method", "endpoint", "status", "code", "reason", "error")
QUIET = frozenset({"DEBUG", "INFO"})


def report(text: str) -> None:
    """Print `text`, masked; a closed terminal does not interrupt a shutdown."""
    with contextlib.suppress(OSError):
        print(mask(text), flush=True)


def plain_text(line: str) -> str:
    """A log line (docs/reference/logs.md) as plain text; any other line stays as it is."""
    record = _record(line)
    if record is None:
        return line
    stack = str(record.get("exc_info") or "").strip().splitlines()
    facts = [str(record[name]) for name in FACTS if record.get(name) not in {None, ""}]
    text = ": ".join(filter(None, [str(record["message"]), " ".join(facts), *stack[-1:]]))
    level = str(record.get("level", "INFO"))
    return text if level in QUIET else f"{level.lower()}: {text}"


def user_message(line: str) -> str | None:
    """The message of a job's log line that is shown to the user; None for a line that is for the log alone."""
    logger = str((_record(line) or {}).get("logger", ""))
    return plain_text(line) if logger.startswith("beacon") and logger != "beacon.steps" else None


def new_lines(stream: BinaryIO) -> list[str]:
    """The complete lines since the last call; a line that is still being written is left for the next call."""
    begin = stream.tell()
    chunk = stream.read()
    whole = chunk[: chunk.rfind(b"\n") + 1]
    stream.seek(begin + len(whole))
    return whole.decode(errors="replace").splitlines()


def _record(line: str) -> dict[str, object] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "message" in record else None


def log_end(file: Path) -> str:
    """The last lines of a log, indented below its path."""
    try:
        with file.open("rb") as stream:
            begin = stream.seek(max(0, stream.seek(0, os.SEEK_END) - LAST_BYTES))
            whole = stream.read().partition(b"\n")[2] if begin else stream.read()
            lines = whole.decode(errors="replace").splitlines()[-LAST_LINES:]
    except OSError:
        lines = []
    return "\n".join([f"  log: {file}", *(f"  | {plain_text(line)}" for line in lines)])
