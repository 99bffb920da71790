"""The wheel of `beacon`, installed by `uv tool install` where there is no checkout, against a running server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.inference import Inference
from support.packages import release_package

from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("clients")
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


@pytest.fixture(scope="module")
def beacon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that the wheel installed."""
    folder = tmp_path_factory.mktemp("installed")
    build = [UV, "build", "--quiet", "--package", "beacon-cli", "--wheel", "--out-dir", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    given = {**os.environ, "UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    install = [UV, "tool", "install", "--quiet", "--python", sys.executable, str(wheel)]
    subprocess.run(install, cwd=folder, env=given, check=True)
    return folder / "bin" / "beacon"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    release_package(folder / "home", product, explained=True)
    with Inference(folder / "home", folder) as server:
        yield f"http://{server.host}"


def called(beacon: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [beacon, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_holds_nothing_of_the_checkout(beacon: Path, tmp_path: Path) -> None:
    (python,) = beacon.parent.parent.glob("tools/*/bin/python")
    code = "import importlib.util as u, sys; print(u.find_spec('beacon_core'), u.find_spec('beacon_cli').origin)"
    found = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found.startswith("None ")
    assert str(ROOT) not in found


def test_it_predicts_and_explains(beacon: Path, url: str, row: dict[str, float], tmp_path: Path) -> None:
    pairs = [f"{name}={value}" for name, value in row.items()]
    done = called(beacon, tmp_path, "predict", "--json", "--url", url, *pairs)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"]["version"]
    done = called(beacon, tmp_path, "explain", "--json", "--url", url, *pairs)
    assert len(json.loads(done.stdout)["explanations"]) == 1, done.stderr
    told = called(beacon, tmp_path, "predict", "--url", url, *pairs).stdout
    assert "version 1" in told
    assert "\x1b" not in told


def test_what_needs_a_checkout_says_so_and_works_with_project(beacon: Path, tmp_path: Path) -> None:
    done = called(beacon, tmp_path, "history")
    assert done.returncode == 1
    assert done.stderr.startswith("beacon history: this needs a checkout of Beacon: start it in one, or name it by ")
    help_text = called(beacon, tmp_path, "drift", "--help").stdout
    assert "--segments" in help_text
    environment = {"BEACON_HOME": str(tmp_path / "state"), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    done = subprocess.run(
        [beacon, "history", "--json", "--project", str(ROOT)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)) == (0, {"entries": []}), done.stderr
