"""`make run`, the real thing: it trains, serves, survives or ends as a whole, and leaves nothing behind.

The tests go through the life of one state folder in the order of this file. Checkout and folder have names that file
systems take and programs trip over.
"""

import json
import os
import re
import signal
import socket
import time

import pytest
from support.checkout import copy_checkout
from support.docs_commands import commands, exported, typed
from support.nasty import TOGETHER
from support.waiting import until
from system.e2e_laptop.beacon_run import READY, Run, ports_of_a_run

from beacon_core.platform.settings import ROOT

HOME, CHECKOUT, _ = TOGETHER
STEADY_LOOKS = 4
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("laptop")


@pytest.fixture(scope="module")
def checkout(folder):
    return copy_checkout(folder / CHECKOUT)


@pytest.fixture(scope="module")
def home(folder):
    (folder / "state").mkdir()
    return folder / "state" / HOME


@pytest.fixture
def start(home, checkout):
    """Start `make run`; whatever is left of it is ended after the test."""
    runs = []

    def _start(given=None):
        runs.append(Run(home, ports_of_a_run() | (given or {}), checkout))
        return runs[-1]

    yield _start
    for run in runs:
        run.clear()


def steady(run, command):
    """Pids of a command, its head first, once none comes or goes for `STEADY_LOOKS` looks.

    What is about to become another program looks like its parent, and on a busy machine it may do so for a second.
    """

    def the_same_for_a_while():
        before = run.find(command)
        for _ in range(STEADY_LOOKS - 1):
            time.sleep(0.5)
            if run.find(command) != before:
                return []
        return before

    return until(the_same_for_a_while, f"{command} is steady")


def whole_again(run, command, before, killed):
    """Pids of a command, once there are as many as `before`, none of them `killed`, and all of the run answers."""

    def as_before():
        now = steady(run, command)
        return now if len(now) == len(before) and not set(now) & set(killed) and run.all_ready() else []

    what = f"{command} comes back without {killed}"
    try:
        return until(as_before, what, 240)
    except AssertionError:
        pytest.fail(f"{what}: {before} were {run.processes()} and the run said\n{run.text()}")


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def test_a_killed_training_ends_the_whole(start):
    run = start()
    run.wait_for("training the first one")
    until(lambda: run.find("jobs/retrain.py"), "the job")
    for pid in reversed(run.find("jobs/retrain.py")):
        kill(pid)
    assert run.wait_for_end() != 0
    assert "training the first model failed" in run.text()


def test_a_killed_make_takes_the_training_along(start):
    run = start()
    run.wait_for("training the first one")
    until(lambda: run.find("jobs/retrain.py"), "the job")
    kill(run.make.pid)
    run.wait_for_end()
    assert "make has ended, stopping everything" in run.text()
    assert "Traceback" not in run.text()


def test_the_first_run_trains_and_everything_killed_comes_back(start):
    run = start()
    run.wait_for(READY)
    by_entity, by_features = run.predictions()
    assert by_entity["model"]["version"] == "1"
    assert by_entity["prediction"] == pytest.approx(by_features["prediction"], abs=1e-4)

    until(lambda: "Model 1 serves; 2 predictions" in run.console("/"), "the console shows both predictions")
    card = run.console("/models/1")
    assert "Intended use" in card, "the model card comes out of MLflow"
    assert by_entity["model"]["sha256"] in card, "and its digest is the one that serves"

    for command in (
        "-m beacon_laptop.mlflow_server",
        "-m beacon_feature_serving",
        "-m beacon_inference",
        "-m beacon_prediction_log",
        "-m beacon_console",
        "-m beacon_laptop.schedule",
        "jobs/promote.py follow",
    ):
        pids = steady(run, command)
        for position in range(len(pids)):
            kill(pids[position])
            # A head takes its workers along; until they are gone, they answer in place of those that come.
            pids = whole_again(run, command, pids, killed=[pids[position]] if position else pids)
    assert len(run.predictions()) == 2
    for name in ("mlflow", "feature-serving", "inference", "prediction-log", "console", "schedule", "promoter"):
        told = f"beacon: {name} ended (terminated by SIGKILL) and is restarted\n  log: "
        until(lambda told=told: told in run.text(), f"the end of {name} is told\n{run.text()}")

    (supervisord,) = run.find("-m supervisor.supervisord")
    kill(supervisord)
    assert run.wait_for_end() != 0
    assert "beacon stops: the supervisor was killed by SIGKILL" in run.text()
    assert "Traceback" not in run.text()


def assert_the_tutorial_is_true(run):
    """Each command of the tutorial, and the one of README, in their order, beside a run that is ready."""
    tutorial = [each for each in commands(ROOT / "docs/tutorials/laptop.md") if each.text != "make run"]
    of_readme = [each for each in commands(ROOT / "README.md") if each.text.split()[0] in {"curl", "export", "beacon"}]
    assert len(of_readme) == 4
    answers = {}
    environment = dict(run.environment)
    for command in [*of_readme, *tutorial]:
        if command.text.startswith("export "):
            environment |= exported(command, run.checkout, environment)
            continue
        done = typed(command, run.checkout, environment, run.ports)
        assert done.returncode == 0, f"{command.text}\n{done.stdout}{done.stderr}"
        answers[command.text] = json.loads(done.stdout) if command.text.startswith("curl ") else done.stdout
    asked = [answer for text, answer in answers.items() if "/v1/predict " in text]
    assert [answer.get("code") for answer in asked] == [None, None, "unknown_feature"]
    assert asked[1]["prediction_id"] == "my-first"
    assert answers["curl -s http://127.0.0.1:8080/v1/predictions/my-first"]["actual"]["value"] == 24.0
    (explained,) = [answer for text, answer in answers.items() if "/v1/explain " in text]
    assert explained["explanations"][0]["prediction"] == asked[1]["prediction"]
    assert len((run.checkout / "predictions.csv").read_text().splitlines()) > 400
    assert "version 1" in answers["make served"].lower() or " 1 " in answers["make served"]
    assert "version 1, " in answers["beacon predict --entity tract_id=17"]
    assert ", 0 broken" in answers["make doctor"]


def test_the_next_run_is_quick_and_the_only_one(start, home, folder):
    run = start()
    run.wait_for(READY)
    # Five seconds of two cores are ten seconds of work, whatever else the machine does meanwhile; MLflow comes after.
    assert run.cpu_seconds() < 12
    assert len(run.predictions()) == 2

    other = start()
    assert other.make.wait(120) != 0
    assert re.search(r"beacon cannot start: it is already running on .* \(pid \d+\)", other.text())
    until(run.all_ready, "all of it answers, and MLflow, which comes last", 120)

    assert_the_tutorial_is_true(run)

    # The jobs by hand, and beside it nothing that some program took the paths for.
    assert "retraining: " in run.do("drift")
    assert "register" in run.do("retrain", "ARGS=--repeats 1 --folds 3 --budget-seconds 0 --force")
    assert "evaluate" in run.do("dvc", "ARGS=dag")
    assert {path.name for path in folder.iterdir()} == {"state", CHECKOUT}
    assert [path.name for path in home.parent.iterdir() if not path.name.startswith("tmp")] == [HOME]

    # Ctrl-C, as a terminal sends it: to make and what it runs, not to one of them.
    os.killpg(run.make.pid, signal.SIGINT)
    run.wait_for_end()
    assert "stopping everything" in run.text()
    assert not re.search("Traceback|Error|Exception", run.text()), run.text()


def test_without_its_head_nothing_goes_on(start):
    run = start()
    run.wait_for(READY)
    (runner,) = run.find("-m beacon_laptop ")
    kill(runner)
    run.wait_for_end()


def test_sigterm_ends_what_has_only_begun(start):
    run = start()
    run.wait_for("starting feature-serving")
    os.kill(run.make.pid, signal.SIGTERM)
    run.wait_for_end()
    assert "stopping everything" in run.text()
    assert "Traceback" not in run.text()


def test_a_taken_port_is_named(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start({"BEACON_MLFLOW_PORT": str(port)})
        assert run.make.wait(120) != 0
    assert f"beacon cannot start: port {port} (MLflow) is taken by " in run.text()
    assert f"(pid {os.getpid()}: " in run.text()
    assert "; stop it, or set another port by BEACON_MLFLOW_PORT=" in run.text()
    assert "Error 2" in run.text()
