"""Many runs of one program, of which each is a process of its own, for the price of one start.

A process imports the program's modules once, which takes the seconds, and each run is a fork of it. A test of the
start itself, or of what is imported at it, starts the program by its command.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SERVE = """
import importlib, json, os, runpy, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
program, first = sys.argv[1], dict(os.environ)
for line in sys.stdin:
    asked = json.loads(line)
    if "pid" in asked:
        pid, status = os.waitpid(asked["pid"], asked["options"])
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    os.setsid()
    os.chdir(asked["folder"])
    output = os.open(asked["output"], os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, stream in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(file, stream)
    # What an import has set stays, as it would in a process that imports by itself.
    for name in first.keys() - asked["environment"].keys():
        os.environ.pop(name, None)
    os.environ.update(asked["environment"])
    sys.argv = [program, *asked["arguments"]]
    runpy.run_path(program, run_name="__main__")
    break
"""


class Run(NamedTuple):
    """One run, which writes both of its streams to a file."""

    pid: int
    _forks: "Forks"
    _file: Path

    def poll(self) -> int | None:
        """Its exit status once it has ended, as `subprocess` has it; None before."""
        return self._forks.status_of(self.pid, os.WNOHANG)

    def kill(self) -> None:
        """Kill -9 it, and wait."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait()[0] == -signal.SIGKILL

    def wait(self) -> tuple[int, str]:
        """Wait for its end: its exit status, and what it wrote."""
        status = self._forks.status_of(self.pid, 0)
        assert status is not None
        return status, self._file.read_text(encoding="utf-8", errors="replace")


class Forks:
    """A process that forks itself into runs of `program`, a file of Python."""

    def __init__(self, program: Path, modules: Sequence[str], folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._statuses: dict[int, int] = {}
        self._process = subprocess.Popen(
            [python, "-c", SERVE, program, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Run:
        """Start the program in a folder with these arguments and variables alone."""
        number, name = tempfile.mkstemp(dir=self._folder, suffix=".log")
        os.close(number)
        asked = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder), "output": name}
        return Run(int(self._ask(asked)), self, Path(name))

    def status_of(self, pid: int, options: int) -> int | None:
        """The exit status of a run, by the options of waitpid."""
        if pid not in self._statuses:
            status = self._ask({"pid": pid, "options": options})
            if status is None:
                return None
            self._statuses[pid] = status
        return self._statuses[pid]

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that forks has ended with {self._process.wait(10)}"
        return json.loads(answer)

    def end(self) -> None:
        """End it; its runs have ended."""
        self._process.communicate("")


@contextlib.contextmanager
def forks(program: Path, modules: Sequence[str], folder: Path) -> Iterator[Forks]:
    """Such a process, gone afterwards."""
    made = Forks(program, modules, folder)
    try:
        yield made
    finally:
        made.end()
