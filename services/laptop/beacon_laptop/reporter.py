"""Reports to the terminal: short lines, a bar for what is at work, and the end of a log for an error."""

import functools
import os
import sys
from pathlib import Path
from typing import BinaryIO

from beacon_cli.terminal import PROGRESS, STEPS, Stages, console_of, plain_text, record_of
from beacon_core.domain.masking import mask
from beacon_core.platform import results

LAST_LINES = 5
LAST_BYTES = 65536


@functools.cache
def _stages(stream_number: int) -> Stages:
    return Stages(console_of(sys.stderr if stream_number == 2 else sys.stdout))


def terminal() -> Stages:
    """The terminal: stdout, or stderr where stdout is for JSON."""
    found = _stages(2 if results.is_json() else 1)
    found.console.file = sys.stderr if results.is_json() else sys.stdout
    return found


def report(text: str, style: str = "") -> None:
    """Print `text`, masked; a closed terminal does not interrupt a shutdown."""
    terminal().line(mask(text), style)


def report_stage(name: str, text: str, seconds: float) -> None:
    """Print that a stage of the start is done, and its time."""
    report(f"  {name:<16} {text} ({seconds:.1f} s)")


def follow(line: str) -> None:
    """Show a line of a job's log: its progress as a bar, what it says to people as a line."""
    record = record_of(line) or {}
    if record.get("logger") == PROGRESS:
        terminal().follow(line)
    elif (text := user_message(line)) is not None:
        report(f"  {text}")


def user_message(line: str) -> str | None:
    """The message of a job's log line that is shown to the user; None for a line that is for the log alone."""
    logger = str((record_of(line) or {}).get("logger", ""))
    return plain_text(line) if logger.startswith("beacon") and logger not in {STEPS, PROGRESS} else None


def reason_of(line: str) -> str | None:
    """Why a job failed, if this line of its log says so."""
    record = record_of(line) or {}
    is_error = record.get("level") in {"ERROR", "CRITICAL"} and record.get("logger") != STEPS
    return plain_text(line).partition(": ")[2] if is_error else None


def new_lines(stream: BinaryIO) -> list[str]:
    """The complete lines since the last call; a line that is still being written is left for the next call."""
    begin = stream.tell()
    chunk = stream.read()
    whole = chunk[: chunk.rfind(b"\n") + 1]
    stream.seek(begin + len(whole))
    return whole.decode(errors="replace").splitlines()


def log_end(file: Path) -> str:
    """The last lines of a log, indented below its path."""
    try:
        with file.open("rb") as stream:
            begin = stream.seek(max(0, stream.seek(0, os.SEEK_END) - LAST_BYTES))
            whole = stream.read().partition(b"\n")[2] if begin else stream.read()
            lines = whole.decode(errors="replace").splitlines()
    except OSError:
        lines = []
    shown = [line for line in lines if (record_of(line) or {}).get("logger") != PROGRESS][-LAST_LINES:]
    return "\n".join([f"  log: {file}", *(f"  | {plain_text(line)}" for line in shown)])
