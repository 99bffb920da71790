"""A process loads no library that it does not need.

Each stage of a retraining is one, and the command that starts them asks every five minutes whether a retraining is due.
"""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "pandas", "sklearn", "scipy", "scipy.stats", "pyarrow", "onnx", "onnxruntime", "optuna", "mlflow", "feast", "dvc",
    "alembic", "whylogs", "matplotlib",
)  # fmt: skip


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


MLFLOWS_CLIENT = "mlflow.tracking.request_header.registry"
# Steps of one process: what is imported is free of all that those after it must be free of, so that it takes nothing
# from them, and a step in brackets is a fork, which leaves nothing.
STEPS = (
    "commands.retrain", "pipeline.stages", "pipeline.data_stages",
    ("pipeline.feature_stage",), ("pipeline.register_stage",), ("registry.register", MLFLOWS_CLIENT),
    "pipeline.train_stage", ("pipeline.package_stage",), ("pipeline.evaluate_stage",),
)  # fmt: skip
IMPORT = """
import importlib, json, os, sys
for step in json.loads(sys.argv[1]):
    alone = isinstance(step, list)
    pid = os.fork() if alone else 0
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        continue
    names = step if alone else [step]
    for name in names:
        importlib.import_module(name)
    print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules} | {*sys.modules})]), flush=True)
    if alone:
        os._exit(0)
"""


def of_retraining(name: str) -> str:
    return name if name == MLFLOWS_CLIENT else f"beacon_retraining.{name}"


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """The modules of a process that imported one, by its name."""
    steps = [of_retraining(step) if isinstance(step, str) else [*map(of_retraining, step)] for step in STEPS]
    command = [sys.executable, "-c", IMPORT, json.dumps(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        names[-1].removeprefix("beacon_retraining."): set(found)
        for names, found in map(json.loads, done.stdout.splitlines())
    }


@pytest.mark.parametrize("module", FREE_OF)
def test_a_process_imports_no_library_that_it_does_not_need(module: str, loaded: dict[str, set[str]]) -> None:
    assert loaded[module] & {*FREE_OF[module]} == set()


def test_a_request_of_mlflows_client_loads_no_feast(loaded: dict[str, set[str]]) -> None:
    assert "mlflow" in loaded[MLFLOWS_CLIENT]
    assert "feast" not in loaded[MLFLOWS_CLIENT]


def test_no_step_takes_from_a_later_one_what_it_must_be_free_of() -> None:
    kept = [step for step in STEPS if isinstance(step, str)]
    for at, step in enumerate(STEPS):
        module = step if isinstance(step, str) else step[-1]
        needed = {*FREE_OF.get(module, ("feast",))}
        for before in kept[: len([one for one in STEPS[:at] if isinstance(one, str)])]:
            assert needed <= {*FREE_OF[before]}, (before, module)
