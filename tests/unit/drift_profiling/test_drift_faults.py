"""Bad input and faults: each has a defined result, none stops the run, and a killed run is completed by the next."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from support.traffic import EPOCH, HOUR, World

from beacon_core.data import drift_results, erasure, profiles
from beacon_core.data.drift_results import DriftResult
from beacon_core.data.run_lock import only_one
from beacon_core.domain.product import Product
from beacon_core.platform.locks import BusyError
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, OUT_OF_RANGE, UNSEEN
from beacon_drift_profiling.run import Outcome


@pytest.fixture
def world(tmp_path: Path, product: Product) -> World:
    made = World(tmp_path / "home", product)
    made.release()
    return made


def found(outcome: Outcome, feature: str, effect: str, window: str = "1d", version: str = "1") -> DriftResult:
    wanted = (feature, effect, window, version)
    (one,) = [r for r in outcome.run.results if (r.feature, r.effect, r.window, r.model_version) == wanted]
    return one


def figure(outcome: Outcome, metric: str, version: str = "1") -> Any:
    parts = [part for part in outcome.run.realised if part.window == "7d" and part.model_version == version]
    (one,) = [f for part in parts for f in part.figures if (f.metric, f.segment) == (metric, "")]
    return one


def column(world: World, name: str) -> int:
    return world.population.columns.index(name)


def test_an_empty_log_and_an_empty_window_wait(world: World) -> None:
    nothing = world.run()
    assert (nothing.run.state, nothing.run.rows, nothing.run.results) == (drift_results.WAITING, 0, [])
    world.log_rows(world.draw(300))
    world.run()
    later = world.run(hour=48)
    assert found(later, "DIS", DISTANCE).state == drift_results.FEW_ROWS
    assert found(later, "DIS", DISTANCE).rows == 0
    assert found(later, "DIS", DISTANCE, "7d").rows == 300


def test_one_row_is_few_rows_and_no_alarm(world: World) -> None:
    world.log_rows(world.draw(1))
    outcome = world.run()
    assert outcome.run.state == drift_results.WAITING
    assert {result.state for result in outcome.run.results if result.kind != "target"} == {drift_results.FEW_ROWS}
    assert not any(result.alarm for result in outcome.run.results)


def test_all_nulls_are_an_alarm_of_the_null_rate_alone(world: World) -> None:
    rows = world.draw(300)
    rows[:, column(world, "TAX")] = np.nan
    world.log_rows(rows)
    outcome = world.run()
    assert found(outcome, "TAX", NULL_RATE).alarm
    assert found(outcome, "TAX", NULL_RATE).score > 0.9
    assert found(outcome, "TAX", DISTANCE).state == drift_results.FEW_ROWS
    assert {result.feature for result in outcome.run.results if result.alarm} == {"TAX"}


def test_a_constant_is_another_distribution(world: World) -> None:
    rows = world.draw(300)
    rows[:, column(world, "NOX")] = 0.5
    world.log_rows(rows)
    outcome = world.run()
    assert found(outcome, "NOX", DISTANCE).alarm
    assert not found(outcome, "NOX", OUT_OF_RANGE).alarm


def test_infinities_are_counted_outside_the_range_and_spoil_no_figure(world: World) -> None:
    world.log_rows(world.draw(100))
    big = dict(zip(world.product.feature_names, map(float, world.draw(1)[0]), strict=False))
    names = world.log_rows(world.draw(100))
    names += world.log_rows(world.draw(100))
    # JSON has no infinity; a number too large for a double is how one comes in.
    content = "{" + ", ".join(f'"{name}": {1 if np.isnan(value) else value}' for name, value in big.items()) + "}"
    content = content.replace(f'"DIS": {1 if np.isnan(big["DIS"]) else big["DIS"]}', '"DIS": 1e999')
    with world.engine.begin() as connection:
        for name in names:
            connection.execute(text("UPDATE predictions SET features = :f WHERE id = :i"), {"f": content, "i": name})
    outcome = world.run()
    if outcome.profiled.set_aside:
        assert outcome.profiled.set_aside == 200
    else:
        result = found(outcome, "DIS", OUT_OF_RANGE)
        assert result.alarm
        assert result.score == pytest.approx(2 / 3, abs=0.02)
    assert all(np.isfinite(result.score or 0) for result in outcome.run.results)


def test_a_category_that_training_never_saw_is_named(world: World) -> None:
    rows = world.draw(300)
    rows[:30, column(world, "RAD")] = 7.5
    world.log_rows(rows)
    outcome = world.run()
    assert found(outcome, "RAD", UNSEEN).alarm
    assert found(outcome, "RAD", UNSEEN).score == pytest.approx(0.1, abs=0.01)


def test_a_version_without_a_reference_says_why_and_keeps_its_figures(world: World) -> None:
    world.release("2", profile=False)
    world.log_rows(world.draw(300), version="2")
    outcome = world.run()
    (one, *_) = [result for result in outcome.run.results if result.window == "1d"]
    assert one.state == drift_results.NO_REFERENCE
    assert "reference.profile" in one.details["reason"]
    assert one.rows == 300
    assert outcome.run.state == drift_results.WAITING
    assert figure(outcome, "in_time_share", "2").rows == 300


def test_a_damaged_package_is_no_reference_and_a_mended_one_is_profiled_anew(world: World) -> None:
    file = world.settings.models_dir / world.product.name / "1" / "reference.profile"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    world.log_rows(world.draw(300))
    assert {result.state for result in world.run().run.results} == {drift_results.NO_REFERENCE}
    file.write_bytes(content)
    assert found(world.run(), "DIS", DISTANCE).rows == 300


def test_two_versions_in_one_window_are_compared_each_with_its_own(world: World) -> None:
    world.release("2")
    world.log_rows(world.draw(300), version="1")
    world.log_rows(world.population.shift(world.draw(300), "RM", -1.5), version="2")
    outcome = world.run()
    assert outcome.run.serving == "2"
    assert not found(outcome, "RM", DISTANCE, version="1").alarm
    assert found(outcome, "RM", DISTANCE, version="2").alarm
    assert found(outcome, "RM", DISTANCE, version="1").rows == 300


def test_clocks_ahead_and_behind_lose_no_row(world: World) -> None:
    world.log_rows(world.draw(250), hour=0)
    world.log_rows(world.draw(30), hour=3, logged_at=EPOCH)  # a clock three hours ahead
    first = world.run(0)
    assert (first.profiled.rows, first.profiled.ahead) == (280, 30)
    assert found(first, "DIS", DISTANCE).rows == 250
    # A spool that ships late: made in hour 0, logged in hour 4.
    world.log_rows(world.draw(20), hour=0, minutes=30, logged_at=EPOCH + 4 * HOUR)
    assert found(world.run(4), "DIS", DISTANCE).rows == 300
    # A database's clock that is far ahead must not move the watermark past rows that come afterwards.
    world.log_rows(world.draw(10), hour=5, logged_at=EPOCH + 1000 * HOUR)
    world.run(5)
    world.log_rows(world.draw(10), hour=5, minutes=50)
    assert found(world.run(5), "DIS", DISTANCE).rows == 320


def test_late_actuals_are_judged_where_they_are_and_the_newest_counts(world: World) -> None:
    rows = world.draw(300)
    names = world.log_rows(rows)
    world.run(0)
    for hour in (24 * 20, 24 * 20):  # twenty days late, and twice
        world.report_actuals(names, rows[:, -1], hour=hour)
    outcome = world.run(24 * 20)
    late = figure(outcome, "mae")
    assert (late.value, late.rows) == (pytest.approx(1), 300)
    (until,) = {part.until for part in outcome.run.realised if any(f.metric == "mae" for f in part.figures)}
    assert until == EPOCH + HOUR
    world.report_actuals(names, rows[:, -1] + 100, hour=24 * 20 + 1)  # a correction
    corrected = figure(world.run(24 * 20 + 1), "mae")
    assert corrected.value == pytest.approx(100, abs=1)
    assert corrected.rows == 300


def test_an_actual_of_an_entity_belongs_to_the_last_prediction_before_it(world: World) -> None:
    rows = world.draw(3)
    for hour, row in enumerate(rows):
        world.log_rows(row[np.newaxis], hour, entity="7")
    with world.engine.begin() as connection:
        moment = (EPOCH + 1.5 * HOUR).strftime("%Y-%m-%d %H:%M:%S.%f")
        connection.execute(
            text("INSERT INTO actuals (entity, value, observed_at, received_at, source) VALUES ('7', 21, :m, :m, 't')"),
            {"m": moment},
        )
    world.run(3)
    labelled = {key[1]: content["labelled"] for key, (_, content) in world.profiles().items()}
    assert labelled == {EPOCH: 0, EPOCH + HOUR: 1, EPOCH + 2 * HOUR: 0}


@pytest.mark.parametrize(
    "damage",
    [
        "features = '{'",
        "features = '[1]'",
        'features = \'{"RM": "six"}\'',
        "prediction = 'much'",
        "out_of_range = 'null'",
        "latency_seconds = 'x'",
    ],
)
def test_a_row_that_does_not_parse_is_counted_named_and_set_aside(world: World, damage: str) -> None:
    names = world.log_rows(world.draw(210))
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE predictions SET {damage} WHERE id = :id"), {"id": names[3]})
    outcome = world.run()
    assert (outcome.profiled.set_aside, outcome.profiled.set_aside_ids) == (1, [names[3]])
    assert outcome.run.rows == 209


def test_a_row_without_a_readable_time_is_counted(world: World) -> None:
    names = world.log_rows(world.draw(210))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE predictions SET time = 'noon' WHERE id = :id"), {"id": names[3]})
    outcome = world.run()
    assert outcome.profiled.undated == 1
    assert outcome.run.rows == 209


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("after", [0, 1, 3])
def test_killed_between_any_two_profiles_the_next_run_completes_it(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    worlds = [World(tmp_path / name, product) for name in ("whole", "killed")]
    for world in worlds:
        world.release()
        for hour in range(4):
            world.log_rows(world.population.shift(world.draw(60), "LSTAT", 1.0), hour)
    whole, killed = worlds
    whole.run(4)
    original, count = profiles.put, 0

    def put(*arguments: Any) -> None:
        nonlocal count
        if count == after:
            raise Killed
        count += 1
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(profiles, "put", put)
        with pytest.raises(Killed):
            killed.run(4)
    assert len(killed.profiles()) == after
    killed.run(4)
    assert killed.profiles() == whole.profiles()
    assert killed.results() == whole.results()


def test_of_two_at_once_one_works_and_the_other_leaves(world: World) -> None:
    world.log_rows(world.draw(200))
    with only_one(world.engine, world.settings.home / "run", profiles.LOCK), pytest.raises(BusyError):
        world.run()
    assert world.profiles() == {}
    assert world.run().profiled.rows == 200


def test_the_same_hour_twice_over_a_day_s_edge_rolls_up_the_same(world: World) -> None:
    for hour in (0, 11, 12, 30, 36):
        world.log_rows(world.draw(60), hour)
    world.run(72)
    before = world.results()
    world.run(72)
    assert world.results() == before
    late = world.log_rows(world.draw(40), 12, minutes=40, logged_at=EPOCH + timedelta(hours=73))
    assert found(world.run(73), "DIS", DISTANCE, "7d").rows == 5 * 60 + len(late)


def test_an_erasure_leaves_nothing_of_its_rows_in_the_profiles(world: World) -> None:
    """The hours in question are profiled anew from the rows that are left, and no other hour is."""
    names = world.log_rows(world.draw(300), hour=-5)
    world.log_rows(world.draw(200))
    first = world.run()
    assert found(first, "DIS", DISTANCE, "7d").rows == 500
    assert world.run().profiled.profiles == 0
    erased = erasure.erase(world.engine, erasure.Subject(ids=tuple(names[:40])))
    assert erased.predictions == 40
    assert erased.profiles >= 1
    after = world.run()
    assert after.profiled.profiles == 1
    assert found(after, "DIS", DISTANCE, "7d").rows == 460


def test_an_hour_of_which_all_rows_were_erased_counts_for_nothing(world: World) -> None:
    names = world.log_rows(world.draw(300), hour=-5)
    world.log_rows(world.draw(200))
    world.run()
    erasure.erase(world.engine, erasure.Subject(ids=tuple(names)))
    assert found(world.run(), "DIS", DISTANCE, "7d").rows == 200
