"""What people see while something goes on: a line for each thing that is done, and a bar for the one at work.

Not on a terminal: the same lines without colours, bars or control characters. NO_COLOR is obeyed.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

FACTS = ("method", "endpoint", "status", "code", "reason", "error")
"""Fields of a log line that are shown beside its message."""
QUIET = frozenset({"DEBUG", "INFO"})
PROGRESS, STEPS = "beacon.progress", "beacon.steps"
COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "ok": "green", "warn": "yellow", "fail": "red"}


def console_of(stream: IO[str]) -> Console:
    """A console that has colours and bars on a terminal alone, and breaks no line."""
    return Console(file=stream, force_terminal=stream.isatty(), highlight=False, soft_wrap=True, emoji=False)


def plain_text(line: str) -> str:
    """A log line (docs/reference/logs.md) as plain text; any other line stays as it is."""
    record = record_of(line)
    if record is None:
        return line
    stack = str(record.get("exc_info") or "").strip().splitlines()
    facts = [str(record[name]) for name in FACTS if record.get(name) not in {None, ""}]
    text = ": ".join(filter(None, [str(record["message"]), " ".join(facts), *stack[-1:]]))
    level = str(record.get("level", "INFO"))
    return text if level in QUIET else f"{level.lower()}: {text}"


def record_of(line: str) -> dict[str, Any] | None:
    """The fields of a line of a log; None for any other line."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "message" in record else None


class Stages:
    """Lines on a console, and one bar below them while something is at work."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.is_live = console.is_terminal and not console.is_dumb_terminal
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str, style: str = "") -> None:
        """Print a line above the bar; a closed terminal does not interrupt a shutdown."""
        with contextlib.suppress(OSError):
            self.console.print(escape(text), style=style or None, markup=True)

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show `what` with a spinner and its time during the block, on a terminal."""
        if not self.is_live:
            yield
            return
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=8) as bars:
            self._bars, self._tasks = bars, {}
            self._tasks[""] = bars.add_task(escape(what), total=None, counted="")
            try:
                yield
            finally:
                self._bars = None

    def progress(self, what: str, done: int, total: int, unit: str) -> None:
        """Show how far a part of the work is."""
        if self._bars is None:
            return
        if unit == "stages":
            self._forget()
            self._bars.update(self._tasks[""], completed=done, total=total, counted=f"{what}, {done + 1} of {total}")
            return
        counted = f"{done} of {total} {unit}" if total else f"{done} {unit}"
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(f"  {escape(what)}", total=None, counted=counted)
        self._bars.update(self._tasks[what], completed=done, total=total or None, counted=counted)

    def _forget(self) -> None:
        """Remove the bars of the stage before."""
        for name in [name for name in self._tasks if name]:
            if self._bars is not None:
                self._bars.remove_task(self._tasks.pop(name))

    def follow(self, line: str, indent: str = "") -> None:
        """Show a line of a job's log: its progress as a bar, its messages as text; others are for machines."""
        record = record_of(line)
        if record is None:
            if line.strip():
                self.line(f"{indent}{line}")
        elif record.get("logger") == PROGRESS:
            self.progress(str(record["message"]), int(record["done"]), int(record["total"]), str(record["unit"]))
        elif record.get("logger") != STEPS:
            text = plain_text(line)
            self.line(f"{indent}{text}", COLOURS.get(text.partition(":")[0], ""))


def seconds_since(began: float) -> str:
    """The time since a moment of the monotonic clock, such as 4.2 s."""
    return f"{time.monotonic() - began:.1f} s"
