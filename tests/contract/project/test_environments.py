"""Each service runs on what its own package asks for alone, and knows no other service."""

import ast
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.slow

SERVICES = ROOT / "services"
SERVERS = ("inference", "prediction-log", "feature-serving", "console")
ENVIRONMENTS = (*SERVERS, "retraining", "drift-profiling", "promotion", "laptop")
PACKAGES = {name: SERVICES / name / f"beacon_{name.replace('-', '_')}" for name in (*ENVIRONMENTS, "prober", "spark")}
CORE = SERVICES / "core" / "beacon_core"
# The laptop's MLflow runs where MLflow is, the prober in inference's image, and batch scoring where tables are read.
SCORING = (
    "commands.score",
    *(
        f"scoring.{name}"
        for name in ("columns", "entities", "inputs", "outputs", "parts", "run", "score", "scored_log")
    ),
)
OF_MODELS = {"model_inputs", "batch_model", "tree_kernel", "tree_masks", "session", "explanation"}
"""Modules of core that compute with numpy and ONNX Runtime: only where models run and are trained are these there."""
OF_DATA = {"data", "cluster_secrets", "expire", "forget", "make_secrets", "migrate", "sql"}
"""Modules of core that open a database, or know its roles."""
OF_OBJECTS = {"s3_client", "s3_files"}
"""Modules of core that speak S3."""
NEEDS_CONVERTERS = {"beacon_retraining.packaging.conversion.convert_sklearn"}
"""What the root's group `foreign` alone has libraries for; tests/system/retraining imports it."""
ELSEWHERE = {"beacon_laptop.mlflow_server": "retraining", "beacon_prober.prober": "inference"} | {
    f"beacon_inference.{name}": "retraining" for name in SCORING
}
NOT_FOR_INFERENCE = (
    "pandas",
    "sklearn",
    "mlflow",
    "feast",
    "scipy",
    "onnx",
    "pyarrow",
    "pyiceberg",
    "kubernetes",
    "confluent_kafka",
)
DATABASE = ("sqlalchemy", "alembic", "psycopg", "psycopg_binary")
SHIPS = {"inference": {"beacon_prober"}}


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


def extras_of_core(environment: str) -> set[str]:
    """The extras of core that a service asks for."""
    given = tomllib.loads((SERVICES / environment / "pyproject.toml").read_text(encoding="utf-8"))
    (core,) = [need for need in given["project"]["dependencies"] if need.startswith("beacon-core")]
    return set(core.partition("[")[2].rstrip("]").replace("-", "_").split(",")) - {""}


def python(environment: str, code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run code on a service's own environment; of this checkout it sees what is installed there, and `folders`."""
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


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_service_imports_all_of_its_own_with_what_it_asks_for(environment: str) -> None:
    own = [name for name in modules(PACKAGES[environment]) if name not in ELSEWHERE and name not in NEEDS_CONVERTERS]
    without = {"web", "feature_store", "kubernetes", "sources", "spool", "lake"} - extras_of_core(environment)
    without |= {"lake_table"} & {f"{name}_table" for name in without}
    without |= set() if "data" in extras_of_core(environment) else OF_DATA
    without |= set() if "objects" in extras_of_core(environment) else OF_OBJECTS
    without |= set() if environment in {"inference", "retraining"} else OF_MODELS
    core = [name for name in modules(CORE) if not without & set(name.split("."))]
    assert len(own) >= 3
    # First, so that nothing of the service's own has imported for it what it needs.
    names = [*(name for name, place in ELSEWHERE.items() if place == environment), *own, *core]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(len({names!r}))"
    done = python(environment, code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) == len(names)


def test_a_module_that_runs_elsewhere_is_imported_there() -> None:
    assert set(ELSEWHERE.values()) <= set(ENVIRONMENTS)
    assert set(ELSEWHERE) <= {name for package in PACKAGES.values() for name in modules(package)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_holds_its_own_packages_and_no_other_services(environment: str) -> None:
    names = {package.name for package in PACKAGES.values()}
    code = f"from importlib.util import find_spec\nprint(*[n for n in {sorted(names)!r} if find_spec(n)])"
    expected = {PACKAGES[environment].name, *SHIPS.get(environment, set())}
    # By their extras `laptop`, `score` and `forget`, which images do without.
    if environment in {"retraining", "promotion"}:
        expected.add("beacon_laptop")
    if environment == "retraining":
        expected |= {"beacon_inference", "beacon_prober", "beacon_prediction_log"}
    assert set(python(environment, code).stdout.split()) == expected


def test_inference_has_none_of_the_training_libraries_and_no_database() -> None:
    unwanted = NOT_FOR_INFERENCE + DATABASE
    code = f"from importlib.util import find_spec\nprint([n for n in {unwanted!r} if find_spec(n)])"
    done = python("inference", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_logs_process_has_no_library_of_lake_or_kafka_in_memory_before_it_ships_there() -> None:
    """They take a second and 100 MB, and most logs have neither."""
    libraries = "{'pyarrow', 'pyiceberg', 'confluent_kafka'}"
    code = f"import sys, beacon_prediction_log.program; print({libraries} & sys.modules.keys())"
    done = python("prediction-log", code)
    assert done.stdout == "set()\n", done.stderr
    assert python("prediction-log", "import pyarrow, pyiceberg, confluent_kafka").returncode == 0


def test_the_check_itself_would_see_a_missing_library(tmp_path: Path) -> None:
    (tmp_path / "needs_pandas.py").write_text("import pandas\n")
    done = python("inference", "import needs_pandas", tmp_path)
    assert done.returncode != 0
    assert "No module named 'pandas'" in done.stderr


@pytest.mark.parametrize("environment", PACKAGES)
def test_no_service_imports_another(environment: str) -> None:
    package = PACKAGES[environment]
    others = {other.name for other in PACKAGES.values()} - {package.name}
    guilty = {file.name: imported(file) & others for file in package.rglob("*.py") if imported(file) & others}
    assert guilty == {}


def test_core_imports_no_service() -> None:
    services = {package.name for package in PACKAGES.values()}
    guilty = {file.name: imported(file) & services for file in CORE.rglob("*.py") if imported(file) & services}
    assert guilty == {}
