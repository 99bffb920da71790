"""One list of suites: what the Makefile names, .ci/run and GitHub's CI run, and nothing is in no list."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.waiting import until

from beacon_core.platform.settings import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CHECKS = re.findall(
    r"^([a-z0-9-]+):.* ## ", MAKEFILE[MAKEFILE.index("##@ Check it") : MAKEFILE.index("##@ Deploy it")], re.MULTILINE
)
NEED_A_CLUSTER = {"e2e"}
NEED_AN_IMAGE = {"test-bare"}
PREPARED = {".venv/.stamp", "kafka-jars"}
"""What CI asks of make beside the suites."""
CLUSTER = """
bare_image() { %(there)s; }
cluster_up() { %(there)s; }
cluster_images() { :; }
cluster_down() { echo "the cluster is down"; }
container_options=
"""
MAKE = """#!/usr/bin/env bash
if [ "${*: -1}" = suites ]; then exec %(make)s "$@"; fi
echo "$1" >> %(ran)s
echo "$1: closing line"
if [ "$1" = "${HANGS:-}" ]; then echo $$ > %(pid)s; exec sleep 300; fi
[ "$1" != "${FAILS:-}" ]
"""


# A make above these tests, if there is one, is none of theirs.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def shown(*arguments: str) -> str:
    """What make prints."""
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout


def listed() -> list[str]:
    suites: list[str] = json.loads(shown("-s", "suites"))
    return suites


def of_lane(suites: list[str], *, waiting: bool) -> list[str]:
    """Those that mostly wait and run beside the others, or the others, in their order."""
    lane = re.search(r'^WAITING="(.*)"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert lane, "CI has two lanes"
    assert set(lane[1].split()) <= set(listed())
    return [name for name in suites if (name in lane[1].split()) is waiting]


def assert_ran(ran: Path, suites: list[str]) -> None:
    """Each of them once, after the environments were made, and each lane in the order of the list."""
    found = [name for name in ran.read_text().split() if name not in PREPARED]
    assert sorted(found) == sorted(suites)
    for waiting in (True, False):
        assert of_lane(found, waiting=waiting) == of_lane(suites, waiting=waiting)


def run_beside_the_container() -> list[str]:
    """What CI runs where it has a bare machine: test-bare has run all of `make test`."""
    return [name for name in listed() if name != "test"]


def variable(name: str) -> list[str]:
    match = re.search(rf"^{name} := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert match, name
    return match[1].replace("\\\n", " ").split()


def test_every_check_is_a_suite_of_ci_or_said_to_be_run_by_hand() -> None:
    suites, by_hand = listed(), variable("BY_HAND")
    assert suites == variable("SUITES")
    assert not set(suites) & set(by_hand)
    assert sorted(CHECKS) == sorted(suites + by_hand)


def test_what_makes_up_its_input_has_more_of_it_in_a_suite_of_its_own() -> None:
    uses = re.compile(r"^from support(\.fuzzing)? import .*\b(fuzzing|cases)\b", re.MULTILINE)
    files = [file for room in ("unit", "contract") for file in (ROOT / "tests" / room).rglob("test_*.py")]
    assert {str(file.relative_to(ROOT)) for file in files if uses.search(file.read_text())} == set(variable("FUZZED"))


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A checkout whose `make` notes what it is asked for, and a PATH with what .ci/run would install."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "services" / "inference").mkdir(parents=True)
    shutil.copy2(ROOT / ".ci" / "run", tmp_path / ".ci")
    shutil.copy2(ROOT / "Makefile", tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    ran = tmp_path / "ran"
    (programs / "make").write_text(MAKE % {"make": shutil.which("make"), "ran": ran, "pid": tmp_path / "pid"})
    for name in ("chromium", "promtool", "amtool", "docker-registry", "pgbouncer", "java"):
        (programs / name).write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    return ran


def start_ci(ran: Path, *, cluster: bool, **variables: str) -> subprocess.Popen[str]:
    folder = ran.parent
    (folder / ".ci" / "cluster").write_text(CLUSTER % {"there": "true" if cluster else "false"})
    path = f"{folder / 'programs'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [folder / ".ci" / "run"],
        env=ENVIRONMENT | {"PATH": path} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_ci(ran: Path, *, cluster: bool, **variables: str) -> subprocess.CompletedProcess[str]:
    with start_ci(ran, cluster=cluster, **variables) as process:
        stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_ci_runs_the_list_in_its_order_and_ends_with_closing_lines(ran: Path) -> None:
    done = run_ci(ran, cluster=True)
    assert done.returncode == 0, done.stderr
    assert_ran(ran, run_beside_the_container())
    closing = done.stdout.partition("== all passed\n")[2].splitlines()
    others, waiting = (of_lane(listed(), waiting=waiting) for waiting in (False, True))
    assert [line.split()[0] for line in closing[:-1]] == others + waiting
    of_container = f"{'test':15} passed in the container of test-bare"
    assert [line for line in closing[:-1] if not line.endswith(": closing line")] == [of_container]
    assert closing[-1] == "the cluster is down"


def test_ci_without_images_and_cluster_runs_all_the_others(ran: Path) -> None:
    done = run_ci(ran, cluster=False)
    assert done.returncode == 0, done.stderr
    assert_ran(ran, [name for name in listed() if name not in NEED_A_CLUSTER | NEED_AN_IMAGE])


@pytest.mark.parametrize("name", ["test-bare", "lint", "test-reports", "test-charts", "e2e"])
def test_a_suite_that_fails_ends_ci(ran: Path, name: str) -> None:
    done = run_ci(ran, cluster=True, FAILS=name)
    assert done.returncode != 0
    assert "== all passed" not in done.stdout
    suites, found = of_lane(run_beside_the_container(), waiting=False), ran.read_text().split()
    found = of_lane([suite for suite in found if suite not in PREPARED], waiting=False)
    assert found == suites[: suites.index(name) + 1]
    assert "the cluster is down" in done.stdout


@pytest.mark.parametrize("name", ["test-promotion", "test-products"])
def test_a_suite_that_fails_beside_the_others_ends_ci(ran: Path, name: str) -> None:
    done = run_ci(ran, cluster=True, FAILS=name, HANGS="e2e")
    assert done.returncode != 0
    assert "== all passed" not in done.stdout
    assert f"{name}: closing line" in done.stdout
    suites = of_lane(listed(), waiting=True)
    found = of_lane([suite for suite in ran.read_text().split() if suite != ".venv/.stamp"], waiting=True)
    assert found == suites[: suites.index(name) + 1]
    assert "the cluster is down" in done.stdout


def has_ended(pid: int) -> bool:
    """Whether nothing of it runs; who adopted it may still have to note its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.parametrize("name", ["test-rules", "test-faults"], ids=["of one lane", "of the other"])
def test_ci_that_is_ended_ends_its_suite_and_its_cluster(ran: Path, name: str) -> None:
    with start_ci(ran, cluster=True, HANGS=name) as process:
        file = ran.parent / "pid"
        until(lambda: file.exists() and file.read_text(), "the suite runs")
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the cluster is down" in stdout
    until(lambda: has_ended(int(file.read_text())), "the suite has ended", 5)


@pytest.mark.parametrize("makefile", ["suites:\n\t@false\n", "suites:\n\t@echo '[]'\n"], ids=["failing", "empty"])
def test_ci_without_a_list_fails(ran: Path, makefile: str) -> None:
    (ran.parent / "Makefile").write_text(makefile)
    done = run_ci(ran, cluster=True)
    assert done.returncode != 0
    assert not ran.exists()


def test_github_runs_the_same_list_but_what_needs_a_cluster() -> None:
    jobs: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["suites"]["steps"][-1]["run"] == 'echo "suites=$(make -s suites)" >> "$GITHUB_OUTPUT"'
    matrix = jobs["check"]["strategy"]["matrix"]
    assert matrix["suite"] == "${{ fromJSON(needs.suites.outputs.suites) }}"
    assert {entry["suite"] for entry in matrix["exclude"]} == NEED_A_CLUSTER
    assert jobs["check"]["steps"][-1] == {"run": "make ${{ matrix.suite }}"}


def test_the_daily_targets_are_targets_and_few() -> None:
    daily = variable("DAILY")
    assert len(daily) <= 14
    assert re.findall(r"^  make ([a-z0-9-]+) ", shown("help"), re.MULTILINE) == [*daily, "help-all"]


def test_all_targets_are_shown_by_help_all() -> None:
    targets = set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", MAKEFILE, re.MULTILINE)) - {"always"}
    assert targets
    assert set(re.findall(r"^  make ([a-z0-9-]+) ", shown("help-all"), re.MULTILINE)) == targets


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Where the mark has no effect nothing fails, but each worker starts every server and trains every model."""
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith("@together")


@pytest.fixture(scope="module")
def made_once() -> str:
    return "by the module"


def test_tests_that_share_what_their_module_makes_go_to_one_worker(
    request: pytest.FixtureRequest, made_once: str
) -> None:
    assert made_once
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith("@test_suites")
