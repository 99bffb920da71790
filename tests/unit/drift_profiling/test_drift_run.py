"""The job on a real store with a known population: what it finds, and that repeating it changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from support.traffic import World

from beacon_core.data import drift_results
from beacon_core.domain.product import Product


@pytest.fixture
def world(tmp_path: Path, product: Product) -> World:
    made = World(tmp_path / "home", product)
    made.release()
    return made


def test_quiet_traffic_is_no_alarm(world: World) -> None:
    world.log_rows(world.draw(400))
    run = world.run().run
    assert run is not None
    assert (run.state, run.rows, run.alarms) == (drift_results.OK, 400, [])
    assert len({result.feature for result in run.results}) == len(world.product.features) + 2


def test_a_shift_is_an_alarm_at_once_and_confirmed_by_the_second_run_then_asks_once(world: World) -> None:
    outcomes = []
    for hour in range(3):
        world.log_rows(world.population.shift(world.draw(300), "LSTAT", 1.0), hour)
        outcomes.append(world.run(hour))
    first, second, third = outcomes
    alarms = {result.feature for result in first.run.results if result.alarm}
    assert "LSTAT" in alarms
    assert first.run.state == drift_results.OK  # not confirmed yet
    assert second.run.state == drift_results.DRIFT
    assert [alarm.about for alarm in second.run.alarms] == ["drift:LSTAT"]
    assert "LSTAT" in second.run.messages[0]
    assert second.request.why == "requested"
    assert third.request.why == "requested before"


def test_a_rerun_changes_nothing(world: World) -> None:
    for hour in range(2):
        world.log_rows(world.population.shift(world.draw(250), "RM", -1.0), hour)
        world.run(hour)
    before = world.profiles(), world.results()
    again = world.run(1)
    assert again.profiled.profiles == 0
    assert again.profiled.unchanged >= 1
    assert (world.profiles(), world.results()) == before


def test_the_report_is_one_page_without_anything_from_elsewhere(world: World) -> None:
    world.log_rows(world.draw(300))
    world.run()
    folder = world.settings.home / "reports" / "drift"
    page = (folder / "latest.html").read_text()
    assert "Nothing has changed that matters." in page
    assert page.count("<svg") >= len(world.product.features)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "src=" not in page
    assert (folder / "latest.json").exists()


def test_realised_figures_are_the_rows_own(world: World) -> None:
    rows = world.draw(300)
    ids = world.log_rows(rows)
    world.report_actuals(ids, rows[:, -1], hour=0.9)
    run = world.run().run
    figures = {
        figure.metric: figure
        for part in run.realised
        for figure in part.figures
        if part.window == "7d" and not figure.segment
    }
    assert figures["mae"].value == pytest.approx(1)
    assert figures["rmse"].value == pytest.approx(1)
    assert figures["coverage"].value == 1
    assert figures["r2"].value == pytest.approx(1 - 1 / np.var(rows[:, -1]), abs=1e-6)
    assert figures["label_coverage"].value == 1
    assert figures["in_time_share"].value == 1
    assert figures["estimated_error"].low <= figures["estimated_error"].value <= figures["estimated_error"].high
    assert figures["mae"].rows == 300
