"""beacon-client's wheel is built and installed into a clean environment by the commands of its page."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.docs_commands import commands

from beacon_core.platform.settings import ROOT

EXTRAS = {
    "": ("httpx",),
    "frames": ("httpx", "pandas", "pyarrow"),
    "plots": ("httpx", "pandas", "pyarrow", "matplotlib"),
}
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
SEE = """
from importlib.metadata import requires, version
from importlib.util import find_spec
import beacon_client
print(version("beacon-client"), *[name for name in ("httpx", "pandas", "pyarrow", "matplotlib") if find_spec(name)])
print(*[name for name in ("beacon_core", "mlflow", "feast") if find_spec(name)])
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UV_PROJECT", "VIRTUAL_ENV", "PYTHONPATH"))
    }
    done = subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build, install = [command.text for command in commands(ROOT / "docs" / "how-to" / "notebook.md")[:2]]
    assert build.endswith(" dist")
    run(UV, *build.split()[1:-1], folder)
    (file,) = folder.glob("*.whl")
    assert f"dist/{file.name}[plots]" in install
    return file


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_clean_environment_has_the_client_and_its_extra_and_nothing_of_beacon(
    wheel: Path, extra: str, tmp_path: Path
) -> None:
    python = tmp_path / "environment" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "environment")
    run(UV, "pip", "install", "--quiet", "--python", python, f"{wheel}[{extra}]" if extra else wheel)
    there, ours = run(python, "-c", SEE, cwd=tmp_path).split("\n")[:2]
    assert there.split() == ["0.1.0", *EXTRAS[extra]]
    assert ours == ""
    if not extra:
        code = "from beacon_client import Beacon; Beacon('http://127.0.0.1:1').predict([])"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert "No module named 'pandas'" in done.stderr
