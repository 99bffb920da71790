"""A job as a process of its own: how it ends, what it writes, and which trace it belongs to."""

import importlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.exit_statuses import BAD_DATA, REFUSED, TRY_AGAIN
from beacon_core.observability import logs
from beacon_core.observability.trace_context import Trace
from beacon_core.platform.job import EXIT_STATUS_OF, incoming_trace, status_of, trace_environment
from beacon_core.platform.locks import BusyError
from beacon_core.platform.settings import SettingsError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEAD = """
import logging, sys
from beacon_core.platform.job import log, run_job
from beacon_core.data.job_runs import recorded
from beacon_core.platform.settings import load_settings
from beacon_core.data.database import migrate, open_store

def main():
"""
WELL = """
    engine = open_store(load_settings().database)
    migrate(engine)
    with recorded(engine, "own", "today", "work") as run:
        run.rows = 3
    log.info("three rows, %s", "done")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("careful")
    return 0
"""
TAIL = '\nsys.exit(run_job("own", main))\n'


def start(home: Path, body: str, stderr: int = subprocess.PIPE, **environment: str) -> "subprocess.Popen[bytes]":
    given = {"BEACON_HOME": str(home), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", HEAD + body + TAIL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=given | environment)


def run(home: Path, body: str, **environment: str) -> tuple[int, list[dict[str, object]]]:
    with start(home, body, **environment) as process:
        out, err = process.communicate(timeout=60)
    assert out == b""
    return process.returncode, [json.loads(line) for line in err.splitlines()]


def test_stages_and_end_are_told_with_their_figures(tmp_path: Path) -> None:
    status, lines = run(tmp_path, WELL, TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    assert status == 0
    assert [line["message"] for line in lines] == ["stage ended", "three rows, done", "careful", "job ended"]
    for line in lines:
        assert {"level", "time", "service", "version", "logger", "request_id", "prediction_id"} <= line.keys()
        assert (line["service"], line["trace_id"]) == ("own", TRACE)
    stage, _, _, end = lines
    assert (stage["job"], stage["stage"], stage["state"], stage["rows"]) == ("own", "work", "done", 3)
    assert end["status"] == 0
    assert 0 <= float(str(stage["seconds"])) <= float(str(end["seconds"]))


def test_a_stage_that_fails_is_told_and_a_mistake_of_ours_is_one_line_with_its_stack(tmp_path: Path) -> None:
    status, lines = run(tmp_path, WELL.replace("run.rows = 3", "raise ValueError('no rows')"))
    assert status == 1
    assert [line["level"] for line in lines] == ["WARNING", "ERROR", "ERROR"]
    assert (lines[0]["state"], lines[0]["error"]) == ("failed", "ValueError: no rows")
    assert "ValueError: no rows" in str(lines[1]["exc_info"])
    assert (lines[2]["message"], lines[2]["status"]) == ("job ended", 1)


def test_a_setting_that_is_wrong_is_named(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "    return 0\n", BEACON_LOUD="1")
    assert status == 1
    assert lines[0]["message"] == "BEACON_LOUD is not a setting of Beacon"


@pytest.mark.parametrize(
    ("log_format", "expected"), [("auto", ["three rows, done", "warning: careful"]), ("json", None)], ids=str
)
def test_a_person_at_a_terminal_reads_plain_lines(tmp_path: Path, log_format: str, expected: list[str] | None) -> None:
    ours, theirs = pty.openpty()
    with start(tmp_path, WELL, theirs, BEACON_LOG_FORMAT=log_format) as process:
        process.wait(60)
    lines = os.read(ours, 1 << 16).decode().splitlines()
    os.close(ours)
    os.close(theirs)
    if expected is None:
        assert json.loads(lines[0])["message"] == "stage ended"
    else:
        assert lines == expected


def test_what_a_job_starts_belongs_to_its_trace() -> None:
    assert incoming_trace({"TRACEPARENT": f"00-{TRACE}-{SPAN}-01", "TRACESTATE": "a=1"}) == Trace(TRACE, SPAN, 1, "a=1")
    assert incoming_trace({"TRACEPARENT": "\udcff nonsense"}).parent_id == ""
    token = logs.trace_id.set(TRACE)
    try:
        assert incoming_trace(trace_environment()).trace_id == TRACE
    finally:
        logs.trace_id.reset(token)


def test_the_errors_of_libraries_are_named_as_they_are() -> None:
    for name in EXIT_STATUS_OF:
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FileNotFoundError("gone"), TRY_AGAIN),
        (OperationalError("SELECT", {}, Exception("down")), TRY_AGAIN),
        (sqlite3.OperationalError("locked"), TRY_AGAIN),
        (sqlite3.DatabaseError("not a database"), REFUSED),
        (SettingsError("BEACON_HOME: is nowhere"), REFUSED),
        (DataError("a.csv", "RM", "is missing"), BAD_DATA),
        (BusyError("another run is at work"), TRY_AGAIN),
        (ValueError("a mistake of ours"), None),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else str(given),
)
def test_an_error_knows_the_status_that_it_asks_for_and_a_mistake_of_ours_does_not(
    error: Exception, status: int | None
) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("SettingsError('bad')", 1, ("ERROR", "work refused: bad")),
        ("OSError('away')", 75, ("ERROR", "work failed, try again: away")),
        ("BusyError('at work')", 75, ("WARNING", "work left alone: at work")),
        ("ValueError('ours')", 1, ("ERROR", "unexpected error")),
    ],
)
def test_a_job_ends_as_its_error_asks_for_in_one_line(
    tmp_path: Path, error: str, status: int, told: tuple[str, str]
) -> None:
    body = f"""
    from beacon_core.platform.job import map_errors
    from beacon_core.platform.locks import BusyError
    from beacon_core.platform.settings import SettingsError

    @map_errors("work refused", "work failed, try again", "work left alone")
    def work():
        raise {error}

    return work()
"""
    ended, lines = run(tmp_path, body)
    assert ended == status
    assert [(line["level"], line["message"]) for line in lines[:-1]] == [told]
    assert ("exc_info" in lines[0]) == (told[1] == "unexpected error")
