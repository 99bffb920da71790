"""A process loads no library that it does not need.

Each stage of a retraining is one, and the command that starts them asks every five minutes whether a retraining is due.
"""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "sklearn", "scipy", "pyarrow", "onnx", "onnxruntime", "optuna", "mlflow", "feast", "dvc", "alembic")


FREE_OF = {
    "commands.retrain": HEAVY,
    "pipeline.stages": HEAVY,
    "pipeline.data_stages": ("sklearn", "scipy.stats", "onnx", "mlflow", "whylogs", "matplotlib", "feast", "alembic"),
    "pipeline.feature_stage": ("sklearn", "onnx", "mlflow", "whylogs", "matplotlib", "alembic"),
    "pipeline.train_stage": ("mlflow", "whylogs", "matplotlib", "feast", "alembic"),
    "pipeline.package_stage": ("mlflow", "feast", "alembic"),
    "pipeline.evaluate_stage": ("mlflow", "whylogs", "feast", "alembic"),
    "pipeline.register_stage": ("sklearn", "onnx", "whylogs", "matplotlib", "feast", "alembic"),
}


@pytest.mark.parametrize("module", FREE_OF)
def test_a_process_imports_no_library_that_it_does_not_need(module: str) -> None:
    assert loaded_of(FREE_OF[module], f"import beacon_retraining.{module}") == "[]"


def test_a_request_of_mlflows_client_loads_no_feast() -> None:
    code = "import beacon_retraining.registry.register, mlflow.tracking.request_header.registry"
    assert loaded_of(("feast",), code) == "[]"


def loaded_of(names: tuple[str, ...], code: str) -> str:
    """Which of the modules a process has that ran `code`."""
    code += f"; import sys; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
