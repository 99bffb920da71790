"""A shell on a terminal that is recorded, and what a person does at it."""

import contextlib
import re
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

import pexpect

from tools.recording.cast import COLUMNS, ROWS, Recorder

# The window's title, which nobody sees, has the exit status of the command before.
PROMPT = r"\[\e]2;$?\a\]\[\e[1;34m\]\w\[\e[0m\] \$ "
PROMPTED = re.compile(r"\x1b\]2;(\d+)\x07[^\n]*[$#] $")
VARIABLES = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": PROMPT}
KEY_SECONDS = 0.05
ENDING_SECONDS = 10
AGAIN_SECONDS = 15
"""Until a second Ctrl-C: some programs take several seconds to end in order, and less order at a second one."""
NEWEST = 4000
"""Characters in which a prompt or an expected text is looked for."""


class Step(NamedTuple):
    """A command that was typed, how long it took, and its exit status."""

    command: str
    seconds: float
    status: int
    output: str


def _heed_interrupts() -> None:
    """Whoever started this in the background of a script has interrupts ignored, and programs inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A shell, from its first prompt on."""

    def __init__(self, command: Sequence[str], recorder: Recorder) -> None:
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            codec_errors="replace",
            preexec_fn=_heed_interrupts,
        )
        self._child.logfile_read = recorder
        self._child.delaybeforesend = None
        self.prompt(60)

    def clear(self) -> None:
        """Clear the screen as Ctrl-L does."""
        self._child.sendcontrol("l")
        self.prompt(10)

    def prompt(self, seconds: float) -> int:
        """Wait for the prompt; the exit status of the command before it. Raises TimeoutError."""
        self.expect(PROMPTED, seconds)
        return int(self._child.match[1])

    def expect(self, pattern: re.Pattern[str], seconds: float) -> str:
        """Wait for the pattern; what was shown up to it, and itself. TimeoutError with what is shown instead."""
        try:
            self._child.expect([pattern], timeout=seconds, searchwindowsize=NEWEST)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise TimeoutError(f"{pattern.pattern!r} did not come within {seconds} s:\n{self._child.before}") from error
        return f"{self._child.before}{self._child.after}"

    def type(self, command: str, *, is_pasted: bool = False) -> float:
        """Type a command and Enter; the moment of Enter."""
        for part in [command] if is_pasted else command:
            self._child.send(part)
            if not is_pasted:
                time.sleep(KEY_SECONDS)
                with contextlib.suppress(pexpect.TIMEOUT):
                    self._child.read_nonblocking(NEWEST, 0)  # so that each key is an event of its own
        self._child.send("\r")
        return time.monotonic()

    def do(self, command: str, seconds: float, *, is_pasted: bool = False) -> Step:
        """Type a command and wait for its end, which an interrupt brings after so many seconds."""
        began = self.type(command, is_pasted=is_pasted)
        try:
            status = self.prompt(seconds)
        except TimeoutError:
            status = self.interrupt(60)
        return Step(command, time.monotonic() - began, status, self._child.before or "")

    def interrupt(self, seconds: float) -> int:
        """Ctrl-C until the prompt comes, as people do: one that comes while the shell starts its command is lost."""
        until = time.monotonic() + seconds
        while True:
            self._child.sendcontrol("c")
            left = until - time.monotonic()
            try:
                return self.prompt(max(0.1, min(AGAIN_SECONDS, left)))
            except TimeoutError:
                if left <= AGAIN_SECONDS:
                    raise

    def close(self) -> None:
        """End the shell, and what it runs: by Ctrl-D, or else by force, which a busy machine may be slow to obey."""
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF, OSError):
            self._child.sendeof()
            self._child.expect(pexpect.EOF, timeout=ENDING_SECONDS)
        with contextlib.suppress(pexpect.ExceptionPexpect):
            self._child.close(force=True)
