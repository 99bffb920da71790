"""What a person reads at the terminal is for people: stages in plain lines, no JSON; the log is in a file, whole.

Reported of a first `make run`: the training printed its JSON log to the terminal.
"""

import json
import types

import pytest
from support.settings import Settings

from beacon_cli.terminal import plain_text
from beacon_laptop.first_model import TrainingError
from beacon_laptop.processes import Process
from beacon_laptop.reporter import log_end, new_lines, user_message
from beacon_laptop.run import Laptop
from beacon_laptop.stop_request import StopRequest

JOB = """
import logging, sys, time, warnings
from beacon_core.platform.job import log, run_job
from beacon_core.observability.logs import steps

def main():
    log.info("fetch     sample (0.1 s)")
    steps.info("stage ended", extra={"job": "retrain", "stage": "fetch"})
    logging.getLogger("beacon_retraining.data.fetch").warning("a file is old")
    logging.getLogger("mlflow").warning("a library has its own opinion")
    warnings.warn("deprecated", stacklevel=1)
    print("INFO [alembic] a library prints", "{'a': 1}", flush=True)
    sys.stderr.write("progress 10%\\rprogress 100%\\r"); sys.stderr.flush()
    sys.stdout.buffer.write(b"\\xff\\xfe no text\\n"); sys.stdout.flush()
    time.sleep(0.6)
    log.info('train     {"kernel"}, RMSE 3.08')
    sys.stderr.write('{"half a'); sys.stderr.flush()
    time.sleep(0.6)
    sys.stderr.write(' line": 1}\\n'); sys.stderr.flush()
    HOW
    return 0

sys.exit(run_job("retrain", main))
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run a job as `make run` runs the training; what was on the terminal is in capsys, the log is returned."""
    monkeypatch.setattr(Laptop, "check_processes", lambda _: None)
    (tmp_path / "logs").mkdir()

    def run(how, environment=()):
        (tmp_path / "job.py").write_text(JOB.replace("HOW", how))
        job = Process("retrain", "retraining", (str(tmp_path / "job.py"),))
        laptop = Laptop(Settings(home=tmp_path), job, StopRequest())
        laptop.environment |= dict(environment)
        laptop.supervisor = types.SimpleNamespace(gone=lambda: None, logs=tmp_path / "logs")
        (tmp_path / "release.json").touch()
        try:
            laptop.train()
        finally:
            run.log = (tmp_path / "logs" / "retrain.log").read_bytes().decode(errors="replace")
        return run.log

    return run


@pytest.mark.parametrize("log_format", ["", "auto", "plain", "json"])
def test_the_training_is_reported_in_plain_lines_and_logged_in_json(train, capfd, log_format):
    log = train("pass", {"BEACON_LOG_FORMAT": log_format})
    terminal = capfd.readouterr()
    assert terminal.out.splitlines() == [
        "beacon: no model yet; training the first one",
        "  fetch     sample (0.1 s)",
        "  warning: a file is old",
        '  train     {"kernel"}, RMSE 3.08',
    ]
    assert terminal.err == ""
    for words in ('"stage":"fetch"', "own opinion", "deprecated", "a library prints", "progress 100%", '"job ended"'):
        assert words in log, words


@pytest.mark.parametrize(
    ("how", "reason", "advice"),
    [
        ("raise ValueError('it is broken')", "error: unexpected error: ValueError: it is broken", "the log says more"),
        (
            "log.error('retraining failed: %s', 'MEDV: too high'); return 65",
            "error: retraining failed: MEDV: too high",
            "`make check` lists",
        ),
        ("import os; os._exit(7)", None, "the log says more"),
    ],
)
def test_a_training_that_fails_says_why_in_plain_lines(train, capfd, how, reason, advice):
    with pytest.raises(TrainingError, match="training the first model failed") as failed:
        train(how)
    terminal = capfd.readouterr().out
    if reason is not None:
        assert f"  {reason}" in terminal.splitlines()
        assert f"failed: {reason.removeprefix('error: ')}" in str(failed.value)
    assert advice in str(failed.value)
    assert "retrain.log" in str(failed.value)
    assert '{"level"' not in terminal + str(failed.value)
    assert '"exc_info"' in train.log or "ValueError" not in how


LINE = {"level": "INFO", "logger": "beacon.access", "message": "request", "service": "inference", "time": "2026-01-01"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE | {"logger": "beacon.job", "message": "done"}, "done"),
        (LINE | {"level": "WARNING", "message": "slow"}, "warning: slow"),
        (LINE | {"method": "GET", "endpoint": "/", "status": 503, "code": "internal"}, "request: GET / 503 internal"),
        (LINE | {"level": "ERROR", "message": "refused", "reason": "is gone"}, "error: refused: is gone"),
        (LINE | {"message": "bad", "exc_info": "Traceback\n  File x\nKeyError: 'a'"}, "bad: KeyError: 'a'"),
        (LINE | {"message": None, "exc_info": None, "status": 0}, "None: 0"),
        ("plain text", "plain text"),
        ("", ""),
        ("[1, 2]", "[1, 2]"),
        ('{"no": "log"}', '{"no": "log"}'),
        ('{"message": "cut', '{"message": "cut'),
    ],
)
def test_a_log_line_is_reported_as_plain_text(line, words):
    assert plain_text(line if isinstance(line, str) else json.dumps(line)) == words


def test_lines_of_machines_and_libraries_are_not_reported():
    for logger in ("beacon.steps", "mlflow", "py.warnings", ""):
        assert user_message(json.dumps(LINE | {"logger": logger})) is None
    assert user_message("no log line") is None
    assert user_message(json.dumps(LINE | {"logger": "beacon_retraining.x", "message": "m"})) == "m"


def test_the_end_of_a_service_s_log_has_no_json_and_no_half_line(tmp_path):
    """As it is shown when a service ends."""
    file = tmp_path / "inference.log"
    lines = [json.dumps(LINE | {"message": f"number {number}", "padding": "x" * 30_000}) for number in range(9)]
    file.write_text("\n".join(lines) + "\n")
    assert log_end(file).splitlines() == [f"  log: {file}", "  | number 7", "  | number 8"]


def test_a_line_is_read_once_it_is_whole(tmp_path):
    with (tmp_path / "log").open("wb", buffering=0) as writer, (tmp_path / "log").open("rb") as reader:
        writer.write(b"one\ntw")
        assert new_lines(reader) == ["one"]
        writer.write(b"o\nthree\n")
        assert new_lines(reader) == ["two", "three"]
        assert new_lines(reader) == []
