"""The environment of Spark runs all of the jobs that it is for, and no other one has Spark."""

import subprocess

import pytest

from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.spark
JOBS = (
    "beacon_drift_profiling.commands.drift",
    "beacon_retraining.commands.retrain",
    "beacon_inference.commands.score",
)


def test_the_environment_has_the_jobs_and_spark() -> None:
    own = [file.stem for file in (ROOT / "services" / "spark" / "beacon_spark").glob("*.py") if file.stem != "__init__"]
    assert {"engine", "session", "tasks"} <= set(own)
    names = [*(f"beacon_spark.{name}" for name in own), *JOBS]
    code = (
        f"import importlib, pyspark\nfor name in {names!r}: importlib.import_module(name)\nprint(pyspark.__version__)"
    )
    done = subprocess.run(
        [ROOT / ".venvs" / "spark" / "bin" / "python", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "4.0.1", done.stderr[-2000:]


def test_no_other_environment_has_spark() -> None:
    found = {path.parents[3].name for path in ROOT.glob(".venvs/*/lib/python*/site-packages/pyspark")}
    assert found == {"spark"}
    assert not list(ROOT.glob(".venv/lib/python*/site-packages/pyspark"))


def test_without_java_a_job_says_what_is_missing() -> None:
    variables = {
        "BEACON_ENGINE": "spark", "BEACON_LOG_STORES": "lake", "BEACON_LAKE": "/tmp", "BEACON_JAVA_HOME": "/tmp",
        "BEACON_LOG_FORMAT": "plain", "HOME": "/tmp",
    }  # fmt: skip
    done = subprocess.run(
        [ROOT / ".venvs" / "spark" / "bin" / "python", ROOT / "jobs" / "drift.py"],
        env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "BEACON_JAVA_HOME: /tmp/bin/java is not there; Spark needs Java 17 or 21" in done.stderr
    assert "Traceback" not in done.stderr
