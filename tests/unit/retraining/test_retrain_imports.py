"""A process loads no library that it does not need.

Each stage of a retraining is one, and the command that starts them asks every five minutes whether a retraining is due.
"""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "sklearn", "scipy", "pyarrow", "onnx", "onnxruntime", "optuna", "mlflow", "feast", "dvc")


FREE_OF = {
    "commands.retrain": HEAVY,
    "pipeline.data_stages": ("sklearn", "onnx", "mlflow", "whylogs", "matplotlib", "feast"),
    "pipeline.train_stage": ("mlflow", "whylogs", "matplotlib", "feast"),
    "pipeline.evaluate_stage": ("mlflow", "whylogs", "feast"),
    "pipeline.register_stage": ("sklearn", "onnx", "whylogs", "matplotlib", "feast"),
}


@pytest.mark.parametrize("module", FREE_OF)
def test_a_process_imports_no_library_that_it_does_not_need(module: str) -> None:
    code = f"import sys, beacon_retraining.{module}; print([n for n in {FREE_OF[module]} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
