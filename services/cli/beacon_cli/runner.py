"""Run a command of a checkout in its environment, with a bar on a terminal while it takes long."""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from beacon_cli.exit_statuses import HINTS
from beacon_cli.project import find_project
from beacon_cli.table import DISPATCHER, Command
from beacon_cli.terminal import COLOURS, Stages, console_of

PATIENCE_SECONDS = 1.0
"""What ends sooner shows no bar."""
JSON = "--json"
ENGINE, SPARK = "BEACON_ENGINE", "spark"
"""The setting, and the engine whose environment is another one."""
FINDING = re.compile(r"(ok|warn|fail) {2,}")
"""How a line of `doctor` begins, whose stdout is no terminal here."""


def run(command: Command, arguments: list[str], folder: Path | None, product: Path | None) -> int:
    """Run `command` to its end and return its exit status; raises `CliError` before it began."""
    project = find_project(folder)
    variables = project.variables(product)
    has_own_code = command.trains and project.has_own_code(variables)
    environment, environments = environments_of(command, variables.get(ENGINE, ""), has_own_code=has_own_code)
    stages = Stages(console_of(sys.stderr))
    project.build(environments, stages)
    # Compiling Feast and MLflow anew at every start takes longer than starting them.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables.setdefault("WHYLOGS_NO_ANALYTICS", "1")
    variables.setdefault("FEAST_USAGE", "False")
    python = str(project.python(environment))
    line = [python, "-m", *_module(command), *arguments]
    if command.stays or not stages.is_live:
        sys.stdout.flush()
        os.execve(python, line, variables)  # noqa: S606 - a command of our own, without a shell
    status = _watched(line, variables, command.name, stages)
    if status in HINTS and JSON not in arguments:
        stages.line(HINTS[status], "dim")
    return status


def environments_of(command: Command, engine: str, *, has_own_code: bool) -> tuple[str, list[str]]:
    """The environment that runs a command, and all that it needs; `engine` is the setting's text."""
    environment, environments = command.environment, [command.environment, *command.needs]
    if command.on_engine and engine == SPARK:
        environments.append(SPARK)
        environment = environment if environment == "laptop" else SPARK
    if has_own_code:
        environments.append("training")
        environment = "training" if command.environment == "retraining" else environment
    return environment, environments


def _module(command: Command) -> list[str]:
    """`run` is known to its own supervision by its module."""
    return ["beacon_laptop"] if command.name == "run" else [DISPATCHER, command.name]


def _watched(line: list[str], variables: dict[str, str], name: str, stages: Stages) -> int:
    """Run with a bar: stderr is a log in JSON, of which a person sees the messages. Signals are the command's own."""
    given = {**variables, "BEACON_PROGRESS": "true"}
    given.setdefault("BEACON_LOG_FORMAT", "json")
    shown = sys.stdout.isatty()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(  # noqa: S603 - a command of our own
            line,
            env=given,
            stdout=subprocess.PIPE if shown else None,
            stderr=subprocess.PIPE,
            preexec_fn=_default_interrupt,  # noqa: PLW1509 - one call, before any thread
        ) as process:
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            _wait_a_moment(process)
            with stages.working(name):
                _follow(process, stages)
            return _status(process.wait())
    finally:
        signal.signal(signal.SIGINT, before)


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_a_moment(process: "subprocess.Popen[bytes]") -> None:
    """Until there is output or a second is over; its pipes hold what it says meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with selectors.DefaultSelector() as ready:
        ready.register(process.stderr or 0, selectors.EVENT_READ)
        ready.select(max(0.0, deadline - time.monotonic()))


def _follow(process: "subprocess.Popen[bytes]", stages: Stages) -> None:
    """Show the lines of both pipes as they come."""
    streams: dict[IO[bytes], bytes] = {pipe: b"" for pipe in (process.stdout, process.stderr) if pipe is not None}
    with selectors.DefaultSelector() as ready:
        for pipe in streams:
            ready.register(pipe, selectors.EVENT_READ)
        while streams:
            for key, _ in ready.select():
                pipe = next(one for one in streams if one is key.fileobj)
                chunk = os.read(pipe.fileno(), 1 << 16)
                *lines, streams[pipe] = (streams[pipe] + chunk).split(b"\n")
                if not chunk:
                    lines += [streams.pop(pipe)]
                    ready.unregister(pipe)
                for line in lines:
                    _show(line.decode(errors="replace"), stages, is_log=pipe is process.stderr, is_last=not chunk)


def _show(line: str, stages: Stages, *, is_log: bool, is_last: bool) -> None:
    if is_log:
        stages.follow(line)
    elif line or not is_last:
        finding = FINDING.match(line)
        stages.line(line, COLOURS[finding[1]] if finding else "")


def _status(code: int) -> int:
    """As a shell has it: 128 and the signal's number where one ended it."""
    return 128 - code if code < 0 else code


def report(name: str, message: str, status: int, *, as_json: bool) -> int:
    """Report an error of the front itself, as the commands report theirs; returns the status."""
    if as_json:
        sys.stdout.write(json.dumps({"error": message, "exit_status": status}) + "\n")
    console_of(sys.stderr).print(f"{name}: {message}", markup=False)
    return status
