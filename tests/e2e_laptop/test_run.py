"""`make run`, the real thing: it trains, serves, survives or ends as a whole, and leaves nothing behind.

The tests go through the life of one state folder in the order of this file.
"""

import os
import re
import signal
import socket
import subprocess

import pytest
from e2e_laptop.beacon_run import READY, Run, free_ports, until

from beacon_core.settings import ROOT

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("state") / "a home"


@pytest.fixture
def start(home):
    """Start `make run`; whatever is left of it is ended after the test."""
    runs = []

    def _start():
        runs.append(Run(home, free_ports()))
        return runs[-1]

    yield _start
    for run in runs:
        run.clear()


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def test_a_killed_training_ends_the_whole(start):
    run = start()
    run.wait_for("training the first one", 60)
    until(lambda: run.find("jobs/retrain.py"), "the job", 20)
    for pid in reversed(run.find("jobs/retrain.py")):
        kill(pid)
    assert run.wait_for_end() != 0
    assert "training the first model failed" in run.text()


def test_sigterm_ends_the_training_too(start):
    run = start()
    run.wait_for("training the first one", 60)
    until(lambda: run.find("jobs/retrain.py"), "the job", 20)
    os.kill(run.make.pid, signal.SIGTERM)
    run.wait_for_end()
    assert "stopping everything" in run.text()
    assert "Traceback" not in run.text()


def test_the_first_run_trains_and_everything_killed_comes_back(start):
    run = start()
    run.wait_for(READY, 200)
    by_entity, by_features = run.predictions()
    assert by_entity["model"]["version"] == "1"
    assert by_entity["prediction"] == pytest.approx(by_features["prediction"], abs=1e-4)

    for module in ("beacon_laptop.mlflow_server", "beacon_features", "beacon_inference"):
        for position in range(len(run.find(f"-m {module}"))):
            before = run.find(f"-m {module}")
            kill(before[position])
            # The same number of processes again, the killed one not among them, and the whole answers.
            until(
                lambda module=module, before=before, position=position: (
                    len(now := run.find(f"-m {module}")) == len(before) and before[position] not in now
                ),
                f"{module}, process {position} comes back\n{run.text()}",
                40,
            )
            until(run.all_ready, f"everything is ready after {module}, process {position}\n{run.text()}", 60)
    assert len(run.predictions()) == 2
    for name in ("mlflow", "feature-serving", "inference"):
        assert f"beacon: {name} ended (terminated by SIGKILL) and is started again\n  log: " in run.text()

    (supervisord,) = run.find("-m supervisor.supervisord")
    kill(supervisord)
    assert run.wait_for_end() != 0
    assert "beacon ends: the supervisor was killed by SIGKILL" in run.text()
    assert "Traceback" not in run.text()


def test_the_next_run_is_quick_and_the_only_one(start):
    run = start()
    run.wait_for(READY, 100)
    seconds = float(re.search(f"{READY} ([0-9.]+) s", run.text())[1])
    assert seconds < 20
    assert len(run.predictions()) == 2

    other = start()
    assert other.make.wait(20) != 0
    assert re.search(r"beacon cannot start: it already runs on .* \(pid \d+\)", other.text())
    assert run.all_ready()

    # Ctrl-C, as a terminal sends it: to make and what it runs, not to one of them.
    os.killpg(run.make.pid, signal.SIGINT)
    run.wait_for_end()
    assert "stopping everything" in run.text()
    assert not re.search("Traceback|Error|Exception", run.text()), run.text()


@pytest.mark.parametrize("victim", ["-m beacon_laptop ", "make run "])
def test_without_its_head_nothing_goes_on(start, victim):
    run = start()
    run.wait_for(READY, 100)
    kill(run.find(victim)[0])
    run.wait_for_end()


def test_a_taken_port_is_named(start):
    run = start()
    run.clear()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            ["make", "run"],
            cwd=ROOT,
            env={**run.environment, "BEACON_MLFLOW_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert f"beacon cannot start: port {port} (MLflow) is taken by another program; BEACON_MLFLOW_PORT=" in done.stdout
    assert "Error 2" in done.stderr
