"""Many runs of one program, of which each is a process of its own, for the price of one start.

A process imports the program's modules once, which takes the seconds, and each run is a fork of it. A test of the
start itself, or of what is imported at it, starts the program by its command.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SERVE = """
import importlib, json, os, runpy, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
program, first = sys.argv[1], dict(os.environ)
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid:
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.chdir(asked["folder"])
    for file, stream in ((os.devnull, 0), (asked["output"], 1), (asked["errors"], 2)):
        os.dup2(os.open(file, os.O_RDWR | os.O_APPEND), stream)
    # What an import has set stays, as it would in a process that imports by itself.
    for name in first.keys() - asked["environment"].keys():
        os.environ.pop(name, None)
    os.environ.update(asked["environment"])
    sys.argv = [program, *asked["arguments"]]
    runpy.run_path(program, run_name="__main__")
    break
"""


class Forks:
    """A process that forks itself into runs of `program`, a file of Python."""

    def __init__(self, program: Path, modules: Sequence[str], folder: Path, python: str | Path) -> None:
        self._files = {name: folder / name for name in ("output", "errors")}
        self._process = subprocess.Popen(
            [python, "-c", SERVE, program, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> "subprocess.CompletedProcess[str]":
        """Run the program to its end in a folder, with these arguments and variables alone."""
        for file in self._files.values():
            file.write_bytes(b"")
        asked: dict[str, object] = {"arguments": list(arguments), "environment": dict(environment)}
        status = self._ask(asked | {"folder": str(folder)} | {name: str(file) for name, file in self._files.items()})
        output, errors = (file.read_text(encoding="utf-8", errors="replace") for file in self._files.values())
        return subprocess.CompletedProcess(list(arguments), status, output, errors)

    def _ask(self, question: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that forks has ended with {self._process.wait(10)}"
        return int(answer)

    def end(self) -> None:
        """End it."""
        self._process.communicate("")


@contextlib.contextmanager
def forks(program: Path, modules: Sequence[str], folder: Path, python: str | Path = sys.executable) -> Iterator[Forks]:
    """Such a process, gone afterwards; what a run writes lies in `folder`."""
    made = Forks(program, modules, folder, python)
    try:
        yield made
    finally:
        made.end()
