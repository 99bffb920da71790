"""The first ten minutes as a person has them: what is typed on a bare machine, and how long it takes."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from bare.machine import Machine

from tools.recording.cast import Recorder
from tools.recording.terminal import VARIABLES, Step, Terminal

USER, HOME = "someone", "/home/someone"
ORIGIN = "/srv/beacon.git"
TEN_MINUTES = 600.0
PATIENCE = 1800.0
READY = re.compile(r"beacon is ready after [0-9.]+ s")
TRIED = re.compile(r"what else there is[^\n]*\n\s*\n")
"""The end of what `make run` says when it is ready."""
PASTED = re.compile(r"^((?:curl |\.venvs/)[^\r\n]*)\r?$", re.MULTILINE)
ANSWERED = re.compile(r"""(?:version \d+, |"prediction_id": ?")([\w-]+)""")
STOPPED = re.compile(r"beacon: stopped in [0-9.]+ s")
PATH = 'export PATH="$PATH:$PWD/.venvs/laptop/bin"'


class Played(NamedTuple):
    """What was typed until the end, and the moments that count, in seconds since `make run` was typed."""

    steps: list[Step]
    ready: float
    first_prediction: float


class Player:
    """A person at a bare machine, with two terminals."""

    def __init__(self, bare: Machine, recorder: Recorder, variables: dict[str, str]) -> None:
        self._bare = bare
        self._recorder = recorder
        self._variables = VARIABLES | variables
        self._open: list[Terminal] = []
        self.steps: list[Step] = []

    def terminal(self, folder: str) -> Terminal:
        """Open a terminal in a folder of the machine."""
        shell = ("env", "-C", folder, "bash", "--norc", "--noprofile", "-i")
        command = self._bare.command(USER, shell, {"HOME": HOME, **self._variables}, is_terminal=True)
        self._recorder.write("\x1b[H\x1b[2J")
        self._open.append(Terminal(command, self._recorder))
        return self._open[-1]

    def do(self, terminal: Terminal, command: str, seconds: float = PATIENCE, *, is_pasted: bool = False) -> Step:
        """Type a command, wait for its end, and note it."""
        self.steps.append(terminal.do(command, seconds, is_pasted=is_pasted))
        return self.steps[-1]

    def start(self, terminal: Terminal) -> tuple[float, list[str]]:
        """`make run` until it is ready; when it was typed, and the commands that it shows to paste."""
        began = terminal.type("make run")
        terminal.expect(READY, PATIENCE)
        self.steps.append(Step("make run", time.monotonic() - began, 0, ""))
        return began, PASTED.findall(terminal.expect(TRIED, 60))

    def stop(self, terminal: Terminal) -> None:
        """Ctrl-C ends `make run`."""
        began = time.monotonic()
        status = terminal.interrupt(120)
        self.steps.append(Step("Ctrl-C", time.monotonic() - began, status, ""))

    def close(self) -> None:
        """Close all terminals."""
        for terminal in self._open:
            terminal.close()


def play(player: Player, recorder: Recorder, look: Callable[[str], None] | None) -> Played:
    """Clone, run, paste; with `look`, which is given a prediction's id, also what else ten minutes have room for."""
    recorder.mark("clone")
    first = player.terminal(HOME)
    player.do(first, f"git clone {ORIGIN}")
    player.do(first, "cd beacon")
    recorder.mark("run")
    first.clear()
    began, pasted = player.start(first)
    ready = time.monotonic() - began
    recorder.mark("predict")
    second = player.terminal(f"{HOME}/beacon")
    answered = player.do(second, pasted[0], is_pasted=True)
    first_prediction = time.monotonic() - began
    found = ANSWERED.search(answered.output)
    if answered.status or found is None:
        raise RuntimeError(f"the first line to paste is not answered: {answered.output}")
    for line in pasted[1:]:
        player.do(second, line, is_pasted=True)
    if look is not None:
        look(found[1])
        _look_around(player, recorder, second, found[1])
    recorder.mark("stop")
    player.stop(first)
    if look is not None:
        recorder.mark("run-again")
        first.clear()
        player.start(first)
        player.stop(first)
    return Played(player.steps, ready, first_prediction)


def _look_around(player: Player, recorder: Recorder, terminal: Terminal, prediction: str) -> None:
    """What the pages say to do next, until the ten minutes are over."""
    for name, command in (
        ("doctor", "make doctor"),
        ("help", f"{PATH}; beacon --help"),
        ("explain", f"beacon explain --id {prediction}"),
        ("retrain", "make retrain"),
        ("history", "make history"),
    ):
        left = TEN_MINUTES - recorder.seconds
        if left < 30:
            return
        recorder.mark(name)
        terminal.clear()
        for part in command.split("; "):
            player.do(terminal, part, left)
