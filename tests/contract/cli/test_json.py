"""`--json` of the commands: one object on stdout, of the documented shape; and bars on a terminal alone."""

import contextlib
import importlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from beacon_cli.table import COMMANDS
from beacon_core.platform.results import CommandFailure, Done
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.slow

BEACON = str(Path(sys.executable).with_name("beacon"))
RESULTS = {command.name: command.result for command in COMMANDS if command.environment}


def environment(home: Path) -> dict[str, str]:
    given = {name: text for name, text in os.environ.items() if not name.startswith(("BEACON_", "MAKE"))}
    return given | {"BEACON_HOME": str(home), "PYTHONWARNINGS": ""}


def called(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BEACON, *arguments], cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=250, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "status", "shape"),
    [
        (("check", "--spec"), 0, None),
        (("history",), 0, None),
        (("drift",), 0, None),
        (("migrate",), 0, Done),
        (("doctor", "--quick"), None, None),
        (("keys", "new", "web-shop", "--scopes", "predict"), 0, None),
        (("served",), 1, CommandFailure),
        (("approve", "7", "--reason", "x"), 1, CommandFailure),
        (("score", "/nowhere.csv", "--out", "/tmp/out.csv"), 1, CommandFailure),
        (("new", "Bad Name", "--data", "x", "--target", "y"), 1, CommandFailure),
        (("drift", "--at", "nonsense"), 2, CommandFailure),
        (("golden", "http://127.0.0.1:1/"), 1, CommandFailure),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else None,
)
def test_it_is_one_object_of_the_documented_shape(
    tmp_path: Path, arguments: tuple[str, ...], status: int | None, shape: type[msgspec.Struct] | None
) -> None:
    done = called(tmp_path, *arguments, "--json")
    assert status is None or done.returncode == status, done.stderr
    assert done.stdout.count("\n") == 1
    if shape is None:
        module, name = RESULTS[arguments[0]].split(":")
        shape = getattr(importlib.import_module(module), name)
    found = msgspec.json.decode(done.stdout, type=shape)
    assert set(json.loads(done.stdout)) == {field.encode_name for field in msgspec.structs.fields(shape)}
    if isinstance(found, CommandFailure):
        assert found.exit_status == done.returncode
        assert "\n" not in found.error


def on_a_terminal(home: Path, *arguments: str, **given: str) -> tuple[int, str]:
    """Exit status and all that came to a terminal."""
    ours, theirs = pty.openpty()
    variables = environment(home) | {"TERM": "xterm", "COLUMNS": "120"} | given
    process = subprocess.Popen(
        [BEACON, *arguments], cwd=ROOT, env=variables, stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        parts.append(chunk)
    os.close(ours)
    return process.wait(120), b"".join(parts).decode(errors="replace")


def test_what_takes_long_has_a_bar_on_a_terminal_and_none_in_a_pipe(tmp_path: Path) -> None:
    status, shown = on_a_terminal(tmp_path, "check")
    assert status == 0
    assert "━" in shown
    assert "no errors" in shown
    assert '{"' not in shown
    piped = called(tmp_path, "check")
    assert "no errors" in piped.stdout
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "━" not in piped.stdout + piped.stderr


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    _, coloured = on_a_terminal(tmp_path, "--help")
    _, plain = on_a_terminal(tmp_path, "--help", NO_COLOR="1")
    assert any(f"\x1b[{code}m" in coloured for code in ("33", "1;33", "36", "1;36", "34", "1;34"))
    assert not any(f"\x1b[{code}" in plain for code in ("3", "1;3", "9"))


def test_a_failure_on_a_terminal_says_what_to_do_and_shows_no_stack(tmp_path: Path) -> None:
    (tmp_path / "beacon.db").write_text("no database at all, but a text that is long enough" * 20)
    status, shown = on_a_terminal(tmp_path, "history")
    assert status == 75 or status == 1
    assert "Traceback" not in shown
    assert "beacon doctor" in shown or "history:" in shown


def ended_behind_a_bar(home: Path) -> int:
    """The status of `beacon check` that gets SIGTERM; 0 where it was done before, as on a quick machine."""
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    front = subprocess.Popen([BEACON, "check"], cwd=ROOT, env=environment(home) | {"TERM": "xterm"}, **streams)
    os.close(theirs)
    shown = b""
    while b"check" not in shown:
        shown += os.read(ours, 1 << 16)
    children = psutil.Process(front.pid).children()
    front.terminate()
    with contextlib.suppress(OSError):
        while os.read(ours, 1 << 16):
            pass
    status = front.wait(60)
    assert not any(child.is_running() for child in children)
    os.close(ours)
    return status


def test_sigterm_ends_the_command_behind_a_bar(tmp_path: Path) -> None:
    status = ended_behind_a_bar(tmp_path)
    if status == 0:
        pytest.skip("this machine was done before there was a bar")
    assert status == 128 + signal.SIGTERM


def test_the_doctor_has_colours_on_a_terminal_alone(tmp_path: Path) -> None:
    _, shown = on_a_terminal(tmp_path, "doctor", "--quick")
    assert re.search(r"\x1b\[32mok +git ", shown), shown
    piped = called(tmp_path, "doctor", "--quick")
    assert re.search(r"^ok +git ", piped.stdout, re.MULTILINE)
    assert "\x1b" not in piped.stdout + piped.stderr
