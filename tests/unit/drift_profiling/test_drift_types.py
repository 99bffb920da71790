"""Text, flags, whole numbers and dates on a real store: what is drift of them, and what is none."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select
from support.traffic import World

from beacon_core.data.drift_results import ColumnDistribution, DriftResult, distributions_of
from beacon_core.data.tables import drift_runs
from beacon_core.domain.policy import Drift
from beacon_core.domain.product import Product
from beacon_core.domain.text import text_code
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.assessment.assess import bin_labels
from beacon_drift_profiling.assessment.messages import drift_message
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, UNSEEN, BinCounts, compare
from beacon_drift_profiling.comparison.reference import REST, TOP_LEVELS, ReferenceColumn, level_column, tally
from beacon_drift_profiling.report.charts import distribution_chart

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


def test_the_store_keeps_the_distributions_of_the_newest_run_alone(world: World) -> None:
    """By column and window, with the edges of numbers, and what was missing then and now."""
    rows = world.draw(300)
    rows[:30, column(world, "area")] = np.nan
    world.log_rows(rows)
    run = world.run().run
    assert run is not None
    with world.engine.connect() as connection:
        area, grade, date = (distributions_of(connection, name) for name in ("area", "grade", "made_on"))
        assert distributions_of(connection, "no such column") == {}
    assert (area["1d"].rows, area["1d"].nulls) == (300, 30)
    assert len(area["1d"].labels) == len(area["1d"].seen) == len(area["1d"].edges) + 1
    assert sum(area["1d"].seen) == pytest.approx(1, abs=0.01)
    assert grade["30d"].labels == run.distributions["grade"]["30d"].labels
    assert grade["30d"].edges == ()
    assert date == {}, "a date has no bins"
    world.run(1)
    with world.engine.connect() as connection:
        kept = connection.execute(select(drift_runs.c.period).where(drift_runs.c.distributions.is_not(None)))
        assert len(kept.all()) == 1


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
    assert len(made.counts) == 29 + 1
    assert made.levels == 29
    for unseen, alarm in ((20.0, False), (80.0, True)):
        bins = np.array([[*(np.asarray(made.counts[:-1]) / 290 * (1000 - unseen)), unseen]])
        seen = BinCounts(np.array([1000.0]), np.array([0.0]), bins)
        found = {one.effect: bool(one.alarm[0]) for one in compare([made], {"x": seen}, [1], Drift())}
        assert found[UNSEEN] is alarm


def of_levels(shares: np.ndarray, rows: int, random: np.random.Generator) -> ReferenceColumn:
    """The reference of a text with these shares of its levels, of which training saw so many rows."""
    counts = random.multinomial(rows, shares).astype(float)
    seen = {f"level {place}": count for place, count in enumerate(counts) if count}
    return level_column("x", {text: text_code(text) for text in seen}, seen, rows, 0, is_text=True)


def window(column: ReferenceColumn, shares: np.ndarray, rows: int, random: np.random.Generator) -> BinCounts:
    numbers = np.array([text_code(f"level {place}") for place in range(len(shares))])
    values = np.repeat(numbers, random.multinomial(rows, shares))
    bins = tally(column.bins.fold(values), column.edges, True).astype(float)
    return BinCounts(np.array([float(rows)]), np.array([0.0]), bins[np.newaxis])


def alarm_effects(column: ReferenceColumn, seen: BinCounts) -> set[str]:
    return {one.effect for one in compare([column], {"x": seen}, [1], Drift()) if one.alarm[0]}


ZIPF = 1 / np.arange(1, 401)
SHARES = {
    "30 alike": np.full(30, 1 / 30),
    "100 alike": np.full(100, 1 / 100),
    "1000 alike": np.full(1000, 1 / 1000),
    "400 by Zipf": ZIPF / ZIPF.sum(),
}


@pytest.mark.parametrize("levels", SHARES)
@pytest.mark.parametrize("rows", [300, 2000])
def test_that_training_chose_the_levels_with_bins_is_no_drift(levels: str, rows: int) -> None:
    random = np.random.default_rng(8)
    found = set()
    for _ in range(40):
        column = of_levels(SHARES[levels], rows, random)
        for _ in range(5):
            found |= alarm_effects(column, window(column, SHARES[levels], 1000, random))
    assert found == set()


def test_a_shift_to_any_of_thirty_levels_is_found_in_a_small_reference() -> None:
    random = np.random.default_rng(9)
    usual, found = SHARES["30 alike"], []
    for level in [*range(30)] * 2:
        column = of_levels(usual, 300, random)
        moved = usual * 0.84 + np.where(np.arange(30) == level, 0.16, 0.0)
        found.append(DISTANCE in alarm_effects(column, window(column, moved, 1000, random)))
    assert np.mean(found) >= 0.95


def test_traffic_that_moves_from_the_frequent_levels_to_the_rest_is_found() -> None:
    random = np.random.default_rng(10)
    usual = np.array([0.5, 0.2, *np.full(60, 0.005)])
    moved = np.array([0.25, 0.1, *np.full(60, 0.65 / 60)])
    column = of_levels(usual, 1000, random)
    assert column.compares_rest
    assert alarm_effects(column, window(column, moved, 1000, random)) == {DISTANCE}


@pytest.mark.parametrize(
    ("title", "details", "begins"),
    [
        ("", {"importance": 0.25}, "size (25% of the model's importance) has moved"),
        ("", {}, "size has moved"),
        ("how large", {"importance": 0.25}, "size (how large, 25% of the model's importance) has moved"),
    ],
)
def test_a_feature_without_a_title_is_named_once(
    mixed: Product, title: str, details: dict[str, float], begins: str
) -> None:
    features = [msgspec.structs.replace(each, name="size", title=title or "size") for each in mixed.features[:1]]
    product = msgspec.structs.replace(mixed, features=tuple(features))
    facts = details | {"median": 3.0, "reference_median": 5.0}
    result = DriftResult("7d", "1", "data", "size", DISTANCE, "drift", 0.3, 0.0, 0.1, 900, True, True, facts)
    assert drift_message(result, product).startswith(begins)


def test_names_below_a_chart_do_not_overlap(mixed: Product) -> None:
    """Long levels are cut, their whole name is the bar's title; of many levels the two last bars are both named."""
    levels = [f"a level with a long name, no. {number}" for number in range(7)]
    few = _chart((*levels, "unseen"))
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", few)
    assert len(shown) == 8
    assert max(map(len, shown)) <= 6
    assert all(f"{level}:" in few for level in levels)
    many = _chart((*(f"level {number}" for number in range(20)), "the rest", "unseen"))
    assert re.findall(r"<text[^>]*>([^<]*)</text>", many) == ["level 0", "the rest, unseen"]


def _chart(labels: tuple[str, ...]) -> str:
    shares = tuple(1 / len(labels) for _ in labels)
    return distribution_chart(ColumnDistribution(labels, shares, shares))
