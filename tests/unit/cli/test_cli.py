"""The front `beacon`: its table, help, completion, errors, and how it finds a checkout and a product."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beacon_cli import client, exit_statuses, rows
from beacon_cli.app import application, taken
from beacon_cli.errors import CliError
from beacon_cli.project import MARKS, Project, find_project
from beacon_cli.runner import environments_of
from beacon_cli.table import COMMANDS
from beacon_cli.terminal import Stages, console_of
from beacon_core.domain import exit_statuses as of_core
from beacon_core.platform.arguments import USAGE
from beacon_core.platform.settings import ROOT

BEACON = str(Path(sys.executable).with_name("beacon"))
ISSUE = {
    *("run", "new", "check", "predict", "score", "register", "retrain", "drift", "promote", "rollback", "approve"),
    *("reject", "history", "served", "explain", "lineage", "doctor"),
}


def called(*arguments: str, cwd: Path | None = None, **given: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BEACON_")}
    return subprocess.run(
        [BEACON, *arguments], cwd=cwd, env=environment | given, capture_output=True, text=True, timeout=120, check=False
    )


def test_each_command_stands_once_in_the_table_and_in_the_help() -> None:
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert set(names) >= ISSUE
    shown = called("--help", COLUMNS="120").stdout
    assert all(shown.count(f"│ {name} ") == 1 for name in names), shown
    assert set(application().commands) == {*names, "completion"}


def test_the_exit_statuses_are_those_of_core() -> None:
    assert (exit_statuses.REFUSED, exit_statuses.BAD_DATA) == (of_core.REFUSED, of_core.BAD_DATA)
    assert (exit_statuses.TRY_AGAIN, exit_statuses.USAGE) == (of_core.TRY_AGAIN, USAGE)


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("drif",), 2, "beacon: no such command 'drif'. Did you mean 'drift'?; `beacon --help` helps"),
        (("predict", "--jsn"), 2, "beacon predict: no such option '--jsn'. Did you mean '--json'?; "),
        (
            ("predict", "a=1", "--url", "nonsense"),
            2,
            "beacon predict: --url is not an address such as http://HOST:PORT",
        ),
        (("history", "--project", "/nowhere"), 1, "beacon history: --project /nowhere is no checkout of Beacon"),
        (("history", "--product", "/nowhere"), 1, "beacon history: --product /nowhere is neither a product.yaml nor"),
        (("history", "--product"), 2, "beacon history: --product needs a value"),
    ],
)
def test_an_error_is_one_sentence_and_with_json_an_object(arguments: tuple[str, ...], status: int, line: str) -> None:
    done = called(*arguments, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert done.stderr.startswith(line)
    if len(arguments) > 1 and arguments[-1] != "--product":
        answer = json.loads(called(*arguments, "--json", cwd=ROOT).stdout)
        assert answer["exit_status"] == status
        assert line.partition(": ")[2] in answer["error"]


def test_without_a_checkout_only_the_clients_work(tmp_path: Path) -> None:
    wanted = [command.name for command in COMMANDS if not command.environment]
    assert wanted == ["predict", "explain"]
    with pytest.raises(CliError, match="is no checkout of Beacon: it lacks Makefile"):
        find_project(tmp_path)


def test_a_checkout_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MARKS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "products" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "products" / "own")
    assert find_project(None).folder == tmp_path


def test_an_environment_is_current_until_the_lock_is_newer_or_the_checkout_was_moved(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name in ("uv.lock", "pyproject.toml", ".tools/here", ".venvs/own/bin/python", ".venvs/own.stamp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".tools" / "here").write_text(str(tmp_path))
    assert project.is_current("own")
    later = time.time() + 60
    os.utime(tmp_path / "uv.lock", (later, later))
    assert not project.is_current("own")
    os.utime(tmp_path / ".venvs" / "own.stamp", (later, later))
    assert project.is_current("own")
    (tmp_path / ".tools" / "here").write_text("elsewhere")
    assert not project.is_current("own")
    assert not project.is_current("other")


@pytest.mark.parametrize(
    ("name", "engine", "own_code", "environment", "more"),
    [
        ("drift", "", False, "drift-profiling", set()),
        ("drift", "local", False, "drift-profiling", set()),
        ("drift", "spark", False, "spark", {"drift-profiling", "spark"}),
        ("score", "spark", False, "spark", {"retraining", "spark"}),
        ("retrain", "spark", False, "laptop", {"retraining", "spark"}),
        ("retrain", "spark", True, "laptop", {"retraining", "spark", "training"}),
        ("check", "spark", True, "training", {"retraining", "training"}),
        ("history", "spark", False, "promotion", set()),
    ],
)
def test_a_command_runs_in_the_environment_of_its_engine(
    name: str, engine: str, own_code: bool, environment: str, more: set[str]
) -> None:
    command = next(command for command in COMMANDS if command.name == name)
    found, needed = environments_of(command, engine, has_own_code=own_code)
    assert found == environment
    assert set(needed) >= more
    assert ("spark" in needed) is ("spark" in more)


@pytest.mark.parametrize("spelling", ["folder", "file"])
def test_a_product_has_the_state_that_make_gives_it(tmp_path: Path, spelling: str) -> None:
    file = tmp_path / "product.yaml"
    file.write_text('name: "some-goods"\nfeatures: []\n')
    given = tmp_path if spelling == "folder" else file
    rule = 'show: ; @$(CHOOSE); echo "$$BEACON_PRODUCT $$BEACON_HOME"'
    told = subprocess.run(
        ["make", "-s", "--eval", rule, "show", f"PRODUCT={given}"],
        cwd=ROOT, env={name: os.environ[name] for name in ("PATH", "HOME")}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    found = Project(ROOT).variables(given, {})
    assert [found["BEACON_PRODUCT"], found["BEACON_HOME"]] == told
    assert told[1].endswith("/.beacon/products/some-goods")
    assert Project(ROOT).variables(given, {"BEACON_HOME": "/own"})["BEACON_HOME"] == "/own"


def test_the_options_of_the_front_are_taken_wherever_they_stand() -> None:
    assert taken(["--at", "x", "--product", "a b", "--project=/c", "y"]) == (
        ["--at", "x", "y"],
        {"--product": "a b", "--project": "/c"},
    )


def test_a_value_is_text_where_the_server_says_so() -> None:
    texts = {"code"}
    row = rows.row_of(
        ["code=17", "size=17", "flag=True", "none=null", 'quoted="17"', "word=abc"], ["id=a"], lambda: texts
    )
    assert row["features"] == {
        "code": "17", "size": 17, "flag": True, "none": None, "quoted": "17", "word": "abc",
    }  # fmt: skip
    assert row["entity"] == {"id": "a"}
    asked = []
    rows.row_of(["word=abc", "none=null"], [], lambda: asked.append(1) or texts)
    assert asked == [], "the server is asked only where it matters"


def test_the_address_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEACON_INFERENCE_URL", "BEACON_HOST", "BEACON_INFERENCE_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert client.address(None) == "http://127.0.0.1:8080"
    monkeypatch.setenv("BEACON_HOST", "::1")
    monkeypatch.setenv("BEACON_INFERENCE_PORT", "18080")
    assert client.address(None) == "http://[::1]:18080"
    monkeypatch.setenv("BEACON_INFERENCE_URL", "https://beacon.example.com/")
    assert client.address(None) == "https://beacon.example.com"
    assert client.address("http://other:1/below/") == "http://other:1/below"


def progress(done: int) -> str:
    return json.dumps({"logger": "beacon.progress", "message": "search", "done": done, "total": 9, "unit": "trials"})


def test_not_on_a_terminal_there_are_lines_and_no_control_characters() -> None:
    stream = io.StringIO()
    stages = Stages(console_of(stream))
    with stages.working("training"):
        stages.follow(progress(3))
        stages.follow(json.dumps({"logger": "beacon.job", "level": "WARNING", "message": "[slow] {disk}"}))
        stages.follow(json.dumps({"logger": "beacon.steps", "level": "INFO", "message": "stage ended"}))
        stages.follow("no log line [1]")
    assert stream.getvalue() == "warning: [slow] {disk}\nno log line [1]\n"


def test_completion_knows_the_commands_and_their_options() -> None:
    script = called("completion", "bash").stdout
    assert "_BEACON_COMPLETE=bash_complete" in script
    done = called(COMP_WORDS="beacon drift --seg", COMP_CWORD="2", _BEACON_COMPLETE="bash_complete")
    assert done.stdout.split() == ["plain,--segments"]
    done = called(COMP_WORDS="beacon retr", COMP_CWORD="1", _BEACON_COMPLETE="bash_complete")
    assert done.stdout.split() == ["plain,retrain"]
