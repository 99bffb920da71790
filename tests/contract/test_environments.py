"""Each service runs on its own dependency group alone, and imports no other service."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from beacon_core.settings import ROOT

CORE = "services/core"
# Environment (dependency group) -> folders on its path, and the packages that must import there, whole.
SERVICES = {
    "inference": ((CORE, "services/inference"), ("beacon_core", "beacon_inference")),
    "features": ((CORE, "services/feature-serving", "."), ("beacon_core", "beacon_features", "feature_repo")),
    "retrain": ((CORE, "services/retraining", "laptop", "."), ("beacon_core", "beacon_retrain", "feature_repo")),
    "laptop": ((CORE, "laptop"), ("beacon_core", "beacon_laptop")),
}
# Modules that another environment runs: only servers have the serving skeleton; MLflow's server runs in `retrain`.
ELSEWHERE = {"retrain": ("beacon_core.serving",), "laptop": ("beacon_core.serving", "beacon_laptop.mlflow_server")}
# What keeps inference small and safe.
NOT_IN_INFERENCE = ("pandas", "sklearn", "scipy", "mlflow", "feast", "skl2onnx", "whylogs")
OWN_PACKAGES = {"beacon_inference", "beacon_features", "beacon_retrain", "beacon_laptop"}

IMPORT_ALL = """
import importlib, pkgutil, sys
elsewhere = tuple(sys.argv[1].split())
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        skipped = module.name.endswith("__main__") or ".migrations" in module.name
        if not skipped and not (elsewhere and module.name.startswith(elsewhere)):
            importlib.import_module(module.name)
            print(module.name)
"""


def python(environment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folders, _ = SERVICES[environment]
    path = os.pathsep.join(str(ROOT / folder) for folder in folders)
    interpreter = ROOT / ".venvs" / environment / "bin" / "python"
    command = [str(interpreter), "-c", *arguments]
    return subprocess.run(
        command, env={"PYTHONPATH": path, "HOME": os.environ["HOME"]}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("environment", SERVICES)
def test_a_service_imports_everything_of_its_own_with_its_own_group(environment: str) -> None:
    _, packages = SERVICES[environment]
    done = python(environment, IMPORT_ALL, " ".join(ELSEWHERE.get(environment, ())), *packages)
    assert done.returncode == 0, done.stderr[-2000:]
    assert packages[-1] in done.stdout, "nothing was imported"


@pytest.mark.parametrize("library", NOT_IN_INFERENCE)
def test_inference_has_no(library: str) -> None:
    assert python("inference", f"import {library}").returncode == 1


def test_the_check_of_inference_can_fail() -> None:
    assert python("inference", "import onnxruntime").returncode == 0


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_mlflows_server_imports_where_it_runs() -> None:
    done = python("retrain", "import beacon_laptop.mlflow_server")
    assert done.returncode == 0, done.stderr[-2000:]


def test_services_never_import_each_other() -> None:
    files = [*ROOT.glob("services/*/beacon_*/**/*.py"), *ROOT.glob("laptop/beacon_*/**/*.py")]
    assert {file.relative_to(ROOT).parts[-2] for file in files} >= OWN_PACKAGES
    for file in files:
        own = next(part for part in file.relative_to(ROOT).parts if part.startswith("beacon_"))
        foreign = imports(file) & (OWN_PACKAGES - {own})
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"
        if own == "beacon_core":
            assert "feature_repo" not in imports(file)


def test_core_is_light_at_import() -> None:
    heavy = {"pandas", "flask", "feast", "mlflow", "sklearn", "onnxruntime"}
    names = "settings", "product", "errors", "logs", "metrics", "manifest", "release", "store", "ids"
    check = f"import sys, {', '.join(f'beacon_core.{name}' for name in names)}; print(set(sys.modules) & {heavy!r})"
    assert python("retrain", check).stdout.strip() == "set()"
