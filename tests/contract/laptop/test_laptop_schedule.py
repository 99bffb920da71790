"""The jobs that a laptop runs by the clock: their records, and their end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from support.settings import Settings
from support.waiting import until

from beacon_core.data.database import open_store
from beacon_core.data.tables import job_runs
from beacon_core.platform.settings import load_settings
from beacon_laptop.processes import Process
from beacon_laptop.schedule import jobs, run_job

RECORDS = """
import sys
from beacon_core.data.job_runs import recorded
from beacon_core.platform.settings import load_settings
from beacon_core.data.database import open_store
with recorded(open_store(load_settings().database), "own", "p", "s"):
    sys.exit(3)
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def records(settings):
    with open_store(settings.database).connect() as connection:
        return connection.execute(select(job_runs)).mappings().all()


@pytest.mark.parametrize(("code", "expected"), [("0", []), ("75", []), ("3", ["failed"]), ("'no'", ["failed"])])
def test_only_a_failure_without_a_record_gets_one(settings, code, expected):
    run_job(settings, Process("own", "laptop", ("-c", f"import sys; sys.exit({code})")))
    found = records(settings)
    assert [row["state"] for row in found] == expected
    assert all(row["job"] == "own" and "schedule.log" in row["error"] for row in found)


def test_a_job_that_recorded_its_failure_is_not_recorded_twice(settings):
    assert run_job(settings, Process("own", "laptop", ("-c", RECORDS))) == 3
    assert [row["stage"] for row in records(settings)] == ["s"]


def test_each_job_is_there_and_the_retraining_makes_no_processes():
    drift, retrain, *others = jobs(load_settings({}))
    assert retrain.arguments[1:] == ("--here", "--trigger", "requests", "--jobs", "1")
    for job in (drift, retrain, *others):
        assert Path(job.arguments[0]).is_file(), job.name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_ends_with_the_schedule(tmp_path, number):
    note = tmp_path / "pid"
    sleeper = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)"
    code = (
        "import signal, sys\n"
        "from beacon_core.platform.settings import load_settings\n"
        "from beacon_laptop import schedule\n"
        "from beacon_laptop.processes import Process\n"
        "schedule.FIRST_SECONDS = 0.0\n"
        f"schedule.jobs = lambda *_: (Process('own', 'laptop', ('-c', {sleeper!r})),)\n"
        "schedule.main()"
    )
    environment = {**os.environ, "BEACON_HOME": str(tmp_path)}
    schedule = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until(lambda: note.exists() and note.read_text(), "the job runs")
    pid = int(note.read_text())
    schedule.send_signal(number)
    schedule.wait(60)
    until(lambda: not runs(pid), "the job ends")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
