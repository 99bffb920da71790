"""Text, flags, whole numbers and dates on a real store: what is drift of them, and what is none."""

from pathlib import Path

import numpy as np
import pytest
from support.traffic import World

from beacon_core.data.drift_results import DriftResult
from beacon_core.domain.policy import Drift
from beacon_core.domain.product import Product
from beacon_core.domain.text import text_code
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.assessment.assess import bin_labels
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, UNSEEN, BinCounts, compare
from beacon_drift_profiling.comparison.reference import REST, ROWS_PER_LEVEL, TOP_LEVELS, level_column, tally

MIXED = ROOT / "tests" / "products" / "mixed" / "product.yaml"


@pytest.fixture(scope="module")
def mixed() -> Product:
    return load_product(MIXED)


@pytest.fixture
def world(tmp_path: Path, mixed: Product) -> World:
    made = World(tmp_path / "home", mixed)
    made.release()
    return made


def found(world: World, feature: str) -> dict[str, DriftResult]:
    run = world.run().run
    assert run is not None
    return {one.effect: one for one in run.results if (one.feature, one.window) == (feature, "1d")}


def alarms(world: World) -> set[tuple[str, str]]:
    run = world.run().run
    assert run is not None
    return {(one.feature, one.effect) for one in run.results if one.alarm}


def column(world: World, name: str) -> int:
    return world.population.columns.index(name)


def test_quiet_traffic_of_every_type_is_no_alarm_and_every_feature_is_compared(world: World) -> None:
    world.log_rows(world.draw(400))
    run = world.run().run
    assert run is not None
    assert {one.feature for one in run.results if one.alarm} == set()
    assert run.rows == 400
    assert {one.feature for one in run.results if one.kind == "data"} == set(world.product.feature_names)


@pytest.mark.parametrize("feature", ["insured", "grade", "colour", "supplier", "pieces"])
def test_a_shift_of_shares_or_of_whole_numbers_is_found_on_its_feature_alone(world: World, feature: str) -> None:
    world.log_rows(world.population.shift(world.draw(1000), feature, 1.0))
    found_alarms = alarms(world)
    assert (feature, DISTANCE) in found_alarms
    assert {name for name, _ in found_alarms} == {feature}


def test_a_date_moves_on_without_an_alarm_and_its_missing_values_are_one(world: World) -> None:
    rows = world.draw(400)
    rows[:, column(world, "made_on")] += 3650
    world.log_rows(rows)
    assert found(world, "made_on").keys() == {NULL_RATE}
    assert alarms(world) == set()
    rows[:, column(world, "made_on")] = np.nan
    world.log_rows(rows)
    assert alarms(world) == {("made_on", NULL_RATE)}


@pytest.mark.parametrize("feature", ["colour", "supplier"])
def test_a_level_that_training_never_saw_is_counted_and_named(world: World, feature: str) -> None:
    names = world.log_rows(world.draw(400))
    world.change_features(names[:60], {feature: "a new one"})
    result = found(world, feature)[UNSEEN]
    assert result.alarm
    assert result.score == pytest.approx(0.15, abs=0.02)
    assert result.details["unseen"] == ["a new one 15.0%"]


def test_what_is_no_value_of_the_type_is_set_aside(world: World) -> None:
    names = world.log_rows(world.draw(300))
    for name, features in zip(
        names, [{"area": "wide"}, {"grade": 3}, {"insured": "maybe"}, {"made_on": 7}], strict=False
    ):
        world.change_features([name], features)
    outcome = world.run()
    assert outcome.profiled.set_aside_ids == names[:4]
    assert outcome.run is not None
    assert outcome.run.rows == 296


def test_the_report_shows_levels_as_people_write_them(world: World) -> None:
    world.log_rows(world.draw(300))
    run = world.run().run
    assert run is not None
    labels = {name: run.distributions[name]["1d"].labels for name in ("insured", "grade", "colour")}
    assert labels["insured"] == ("false", "true", "unseen")
    assert set(labels["grade"]) == {"low", "medium", "high", "top", "unseen"}
    assert labels["colour"][-1] == "unseen"
    page = (world.settings.home / "reports" / "drift" / "latest.html").read_text()
    assert "<title>medium: " in page


def test_of_thousands_of_levels_the_most_frequent_have_bins_and_the_rest_one() -> None:
    counts = {f"level {number:04d}": float(5000 - number) for number in range(5000)}
    numbers = {text: text_code(text) for text in counts}
    rows = int(sum(counts.values()))
    made = level_column("x", numbers, counts, rows, 0, is_text=True)
    assert len(made.counts) == TOP_LEVELS + 2
    assert sum(made.counts) == rows
    assert made.edges[0] == REST
    assert bin_labels(made)[0] == f"{5000 - TOP_LEVELS} other levels"
    values = np.array([numbers["level 0000"], numbers["level 4999"], text_code("never seen")])
    seen = tally(made.bins.fold(values), made.edges, True).astype(float)
    assert (seen[0], seen.sum(), made.outside(seen)) == (1, 3, 1)


def test_levels_that_a_sketch_left_out_are_no_unseen_ones() -> None:
    listed = {text: text_code(text) for text in ("often", "rare", "rarer")}
    made = level_column("x", listed, {"often": 90.0}, 100, 0, is_text=True)
    seen = tally(made.bins.fold(np.array([listed["rare"], listed["rarer"], text_code("new")])), made.edges, True)
    assert made.outside(seen.astype(float)) == 1
    assert sum(made.counts) == 100


def test_a_small_reference_that_missed_a_rare_level_by_chance_is_no_drift() -> None:
    listed = {f"level {number}": text_code(f"level {number}") for number in range(29)}
    made = level_column("x", listed, dict.fromkeys(listed, 10.0), 290, 0, is_text=True)
    assert len(made.counts) == 290 // ROWS_PER_LEVEL + 2
    assert made.levels == 29
    for unseen, alarm in ((20.0, False), (80.0, True)):
        bins = np.array([[*(np.asarray(made.counts[:-1]) / 290 * (1000 - unseen)), unseen]])
        seen = BinCounts(np.array([1000.0]), np.array([0.0]), bins)
        found = {one.effect: bool(one.alarm[0]) for one in compare([made], {"x": seen}, Drift())}
        assert found[UNSEEN] is alarm
