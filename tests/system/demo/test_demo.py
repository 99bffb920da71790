"""`make demo` whole, against a real `make run`: what it plays is found, and what is found is answered."""

import json
import subprocess
import time

import pytest
from sqlalchemy import select
from support.docs_commands import commands, typed
from system.e2e_laptop.beacon_run import READY, Run, ports_of_a_run

from beacon_core.data.database import open_store
from beacon_core.data.tables import drift_runs, model_error, predictions, promotions, retrain_requests
from beacon_core.platform.settings import ROOT
from beacon_laptop.simulated_traffic import CHANGE_DAY

pytestmark = pytest.mark.timeout(900)
LIMIT_SECONDS = 600


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A run on which the demo was played, what the demo said, and how long it took."""
    run = Run(tmp_path_factory.mktemp("state") / "home", ports_of_a_run())
    try:
        run.wait_for(READY, 240)
        began = time.monotonic()
        demo = subprocess.run(
            ["make", "demo"], cwd=ROOT, env=run.environment, capture_output=True, text=True, check=False
        )
        print(demo.stdout, demo.stderr[-3000:])
        assert demo.returncode == 0
        print(f"demo: {time.monotonic() - began:.0f} s")
        yield run, demo.stdout, time.monotonic() - began
    finally:
        run.clear()


def rows(run, *columns, order):
    engine = open_store(run.settings.database)
    with engine.connect() as connection:
        found = connection.execute(select(*columns).order_by(order)).all()
    engine.dispose()
    return found


def test_it_ends_in_time_with_addresses(played):
    run, said, seconds = played
    assert seconds < LIMIT_SECONDS
    assert f"http://127.0.0.1:{run.settings.console_port}/drift" in said


def test_the_quiet_days_are_quiet_and_the_change_is_found(played):
    run, _, _ = played
    states = [state for (state,) in rows(run, drift_runs.c.state, order=drift_runs.c.period)]
    days = states[-60:]
    assert not {"drift", "error"} & set(days[: CHANGE_DAY - 1])
    assert "drift" in days[CHANGE_DAY - 1 : CHANGE_DAY + 2]
    assert "error" in days


def test_each_request_is_answered_and_a_new_model_serves(played):
    run, _, _ = played
    asked = rows(run, retrain_requests.c.state, retrain_requests.c.outcome, order=retrain_requests.c.id)
    assert asked
    assert {state for state, _ in asked} <= {"done", "waiting"}
    assert any("pass" in str(outcome) for _, outcome in asked)
    served = [version for (version,) in rows(run, predictions.c.model_version, order=predictions.c.time)]
    assert served[0] == "1"
    assert served[-1] != "1"
    release = json.loads(run.settings.release_file.read_text())
    assert release["model"]["version"] == served[-1]
    ends = rows(
        run, promotions.c.step, promotions.c.outcome, promotions.c.message, promotions.c.actor, order=promotions.c.id
    )
    ends = [(outcome, message, actor) for step, outcome, message, actor in ends if step == "end"]
    assert ("promoted", f"version {served[-1]} serves", "the gate") in ends
    assert not [outcome for outcome, *_ in ends if outcome == "rolled_back"]


def test_the_error_rises_and_falls_again(played):
    run, _, _ = played
    table = model_error.c
    found = rows(run, table.metric, table.segment, table.window, table.model_version, table.value, order=table.period)
    errors = [
        (version, value)
        for metric, segment, window, version, value in found
        if (metric, segment, window) == ("mae", "", "7d") and value is not None
    ]
    last = json.loads(run.settings.release_file.read_text())["model"]["version"]
    # Drift alone may bring a second model, which knows nothing of the new prices: its error rises like the first one's.
    before = [value for version, value in errors if version != last]
    after = [value for version, value in errors if version == last]
    assert max(before) > 1.5 * min(before)
    assert after
    assert after[-1] < 0.75 * max(before)


def test_the_console_says_that_it_is_a_simulation(played):
    run, _, _ = played
    for path in ("/", "/drift", "/models", "/promotions", "/jobs", "/predictions"):
        assert "A simulation: Beacon's clock is" in run.console(path), path


def test_what_its_page_says_to_do_then_works(played):
    run, _, _ = played
    page = commands(ROOT / "docs/tutorials/drift-to-promotion.md")
    assert [command.text for command in page[:2]] == ["make run", "make demo"]
    said = {}
    for command in page[2:]:
        done = typed(command, ROOT, run.environment, run.ports)
        assert done.returncode == 0, f"{command.text}\n{done.stdout}{done.stderr}"
        said[command.text] = done.stdout + done.stderr
    assert "a rehearsal" in said['make history ARGS="--most 3"']
