"""The process that starts the stages loads no library that only a stage needs.

It also asks, every five minutes, whether a retraining is due.
"""

import subprocess
import sys

HEAVY = ("pandas", "sklearn", "scipy", "pyarrow", "onnx", "onnxruntime", "optuna", "mlflow", "feast", "dvc")


def test_the_command_imports_none_of_the_stages_libraries() -> None:
    code = f"import sys, beacon_retraining.commands.retrain; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
