"""Each service runs on its own dependency group alone, and knows no other service."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from beacon_core.settings import ROOT

SERVICES = ROOT / "services"
PACKAGES = {
    "inference": ("inference", SERVICES / "inference" / "beacon_inference"),
    "features": ("feature-serving", SERVICES / "feature-serving" / "beacon_features"),
    "retrain": ("retraining", SERVICES / "retraining" / "beacon_retrain"),
    "console": ("console", SERVICES / "console" / "beacon_console"),
    "drift": ("drift-profiling", SERVICES / "drift-profiling" / "beacon_drift"),
    "promote": ("promotion", SERVICES / "promotion" / "beacon_promote"),
    "laptop": ("laptop", ROOT / "laptop" / "beacon_laptop"),
}
CORE = SERVICES / "core" / "beacon_core"
# The laptop's MLflow runs where MLflow is.
ELSEWHERE = {"beacon_laptop.mlflow_server": "retrain"}
NOT_FOR_INFERENCE = ("pandas", "sklearn", "mlflow", "feast", "scipy", "onnx", "pyarrow")


def modules(package: Path) -> list[str]:
    """Every module of a package by its dotted name, but for `__main__` (which would start) and migrations."""
    found = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        if "migrations" not in parts and parts[-1] != "__main__":
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def imported(file: Path) -> set[str]:
    """First parts of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def python(environment: str, code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run code on a service's own environment; it sees `folders` and nothing else of this checkout."""
    interpreter = ROOT / ".venvs" / environment / "bin" / "python"
    assert interpreter.exists(), f"make .venvs/{environment}.stamp first"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
    }
    return subprocess.run(
        [interpreter, "-c", code], capture_output=True, text=True, env=variables, timeout=280, check=False, cwd="/"
    )


@pytest.mark.parametrize("environment", PACKAGES)
def test_a_service_imports_all_of_its_own_with_its_own_group(environment: str) -> None:
    package = PACKAGES[environment][1]
    folders = [package.parent, CORE.parent]
    if any("feature_repo" in imported(file) for file in package.rglob("*.py")):
        folders.append(ROOT)
    own = [name for name in modules(package) if name not in ELSEWHERE]
    core = [
        name for name in modules(CORE) if environment in {"inference", "features", "console"} or ".serving" not in name
    ]
    assert len(own) >= 3
    code = f"import importlib\nfor name in {own + core!r}: importlib.import_module(name)\nprint(len({own + core!r}))"
    done = python(environment, code, *folders)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) == len(own) + len(core)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_module_that_runs_elsewhere_imports_there(name: str) -> None:
    folders = (CORE.parent, PACKAGES["laptop"][1].parent, PACKAGES[ELSEWHERE[name]][1].parent)
    done = python(ELSEWHERE[name], f"import {name}", *folders)
    assert done.returncode == 0, done.stderr[-2000:]


def test_inference_has_none_of_the_training_libraries() -> None:
    code = f"from importlib.util import find_spec\nprint([n for n in {NOT_FOR_INFERENCE!r} if find_spec(n)])"
    done = python("inference", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_check_itself_would_see_a_missing_library(tmp_path: Path) -> None:
    (tmp_path / "needs_pandas.py").write_text("import pandas\n")
    done = python("inference", "import needs_pandas", tmp_path)
    assert done.returncode != 0
    assert "No module named 'pandas'" in done.stderr


@pytest.mark.parametrize("environment", PACKAGES)
def test_no_service_imports_another(environment: str) -> None:
    package = PACKAGES[environment][1]
    others = {other.name for _, other in PACKAGES.values()} - {package.name}
    guilty = {file.name: imported(file) & others for file in package.rglob("*.py") if imported(file) & others}
    assert guilty == {}


def test_core_imports_no_service() -> None:
    services = {package.name for _, package in PACKAGES.values()} | {"feature_repo"}
    guilty = {file.name: imported(file) & services for file in CORE.rglob("*.py") if imported(file) & services}
    assert guilty == {}
