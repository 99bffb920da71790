"""What the machine cannot do is told in one line by make, before anything begins."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.slow

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
USE = MAKEFILE[MAKEFILE.index("##@ Use it") : MAKEFILE.index("##@ Check it")]
USED = re.findall(r"^([a-z]+):.* ## ", USE, re.MULTILINE)
NEED_NO_STATE = {"clean", "new"}
FOR_THE_RECIPES = ("bash", "sh", "make", "mkdir", "touch", "awk", "test")


def told(folder: Path, *arguments: str, user: str | None = None, **variables: str) -> str:
    """What make says when it refuses, without its own last line."""
    # Started by `uv run`, pytest has an environment of its own, which uv would find a Python in.
    own = ("BEACON_", "MAKE", "MFLAGS", "UV_", "VIRTUAL_ENV")
    given = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=given | variables,
        user=user,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    said, last = done.stderr.splitlines()
    assert last.startswith("make: *** ")
    return said


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with what make's recipes use, and neither uv nor a Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in FOR_THE_RECIPES:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.fixture
def checkout() -> Iterator[Path]:
    """What make looks at first, where another user can see it."""
    folder = Path(tempfile.mkdtemp(prefix="beacon-checkout-"))
    for name in ("Makefile", "uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def another(checkout: Path) -> str | None:
    """Who may read the checkout but not write to it; None is the user of this process."""
    if os.getuid() == 0:
        return "nobody"
    checkout.chmod(0o555)
    return None


def test_the_commands_are_found() -> None:
    assert {"run", "retrain", "promote", "history"} <= set(USED)


@pytest.mark.parametrize("target", sorted(set(USED) - NEED_NO_STATE))
@pytest.mark.parametrize("kind", ["a file", "below a file", "nowhere one may write"])
def test_a_home_that_cannot_be_written_to_is_told(tmp_path: Path, target: str, kind: str) -> None:
    (tmp_path / "file").touch()
    home = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "home", "nowhere one may write": "/proc/a"}
    said = told(ROOT, target, BEACON_HOME=str(home[kind]))
    assert said == f"make: {home[kind]} is no folder that you may write to; BEACON_HOME names another"


@pytest.mark.parametrize("target", ["run", "test", "retrain", "lint"])
def test_a_checkout_of_somebody_else_is_told(checkout: Path, another: str | None, target: str) -> None:
    said = told(checkout, target, user=another)
    assert said == f"make: {checkout} is not yours to write to; clone the repository for yourself"


def test_a_python_without_pip_is_told(checkout: Path, tools: Path) -> None:
    (tools / "python3").symlink_to(str(shutil.which("false")))
    assert told(checkout, "run", PATH=str(tools)) == "make: a Python 3 with pip is needed to fetch uv by"


def test_a_python_that_is_neither_here_nor_to_be_fetched_is_told(checkout: Path, tools: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    (tools / "uv").symlink_to(uv)
    said = told(checkout, "run", PATH=str(tools), UV_OFFLINE="1", UV_PYTHON_INSTALL_DIR=str(tmp_path / "pythons"))
    assert said.startswith("make: Python 3.11 is neither here nor to be fetched (why: ")
    assert said.endswith("); install python3.11")


@pytest.fixture
def slow(checkout: Path, tools: Path) -> dict[str, str]:
    """Variables by which make finds a uv that takes seconds, and fails where FAILS says so."""
    for name in ("cat", "dirname", "sleep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "uv").write_text('#!/bin/sh\n[ "$1" = sync ] || exit 0\nmkdir -p .venvs; sleep 2.5; exit ${FAILS:-0}\n')
    (tools / "uv").chmod(0o755)
    return {"PATH": str(tools), "HOME": str(checkout)}


def on_terminal(folder: Path, variables: dict[str, str], *arguments: str) -> tuple[str, int]:
    """What make shows on a terminal, and its exit status."""
    return pexpect.run(
        shlex.join(["make", *arguments]), cwd=folder, env=variables, withexitstatus=True, encoding="utf-8"
    )


def test_the_seconds_of_an_environment_are_counted_on_a_terminal(checkout: Path, slow: dict[str, str]) -> None:
    shown, status = on_terminal(checkout, slow, ".venvs/docs.stamp")
    assert status == 0
    assert re.search(r"environment: docs \(1 s\)\renvironment: docs \(\d+ s\)\r", shown), shown
    assert re.search(r"\renvironment: docs \(\d+ s\)\r\n$", shown), shown


def test_they_are_counted_no_longer_where_it_fails(checkout: Path, slow: dict[str, str]) -> None:
    shown, status = on_terminal(checkout, slow | {"FAILS": "3"}, ".venvs/docs.stamp")
    assert status == 2
    assert re.search(r"environment: docs \(\d+ s\)\r", shown), shown
    assert "Error 3" in shown
    assert not (checkout / ".venvs" / "docs.stamp").exists()


def test_elsewhere_an_environment_is_one_line(checkout: Path, slow: dict[str, str]) -> None:
    make = shutil.which("make")
    command = [str(make), ".venvs/docs.stamp"]
    done = subprocess.run(command, cwd=checkout, env=slow, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"environment: docs \(\d+ s\)\n", done.stdout), done.stdout


def test_the_key_of_a_table_is_no_credential() -> None:
    """A variable KEY would be one, and the column's name would be masked in every message."""
    make, key = str(shutil.which("make")), "KEY=order_id"
    shown = subprocess.run(
        [make, "-s", "--no-print-directory", "--eval", "shown: ; @printenv KEY || echo none", "shown", key],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == "none\n"
    recipe = subprocess.run([make, "-n", "new", key], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert '--key "$ENTITY_COLUMNS"' in recipe
