"""The demo's traffic and timetable; the whole of it has a suite of its own."""

import random
import statistics

import pytest
from support.products import MIXED, write_product

from beacon_core.platform.product_file import load_product
from beacon_laptop import demo
from beacon_laptop.simulated_traffic import CHANGE_DAY, SimulatedTraffic


def other_product(folder):
    """A product of other columns and another size, with a target that may be negative."""
    chance = random.Random(0)
    warm = [chance.gauss(20, 4) for _ in range(300)]
    load = [chance.gauss(-3, 0.01) for _ in range(300)]
    table = {
        "label": ["low" if value > -3 else chance.choice(["middle", "high"]) for value in load],
        "warmth": [None if row % 50 == 0 else value for row, value in enumerate(warm)],
        "load": load,
        "constant": [1.5] * 300,
        "noise": [chance.random() for _ in range(300)],
        "gain": [value - 100 * other - 400 for value, other in zip(warm, load, strict=True)],
    }
    categories = {
        "type": "category",
        "levels": ["low", "middle", "high"],
        "valid": None,
        "unit": "",
        "impute": "most_frequent",
        "example": "low",
    }
    valid = {"valid": [-200.0, 200.0]}
    return write_product(
        folder,
        table,
        "gain",
        columns={"label": categories, "gain": valid},
        key_features=["label", "constant", "warmth", "load"],
    )


@pytest.fixture(scope="module", params=["the product", "another"])
def traffic(request, product, tmp_path_factory):
    return SimulatedTraffic(product if request.param == "the product" else other_product(tmp_path_factory.mktemp("p")))


def column(rows, name):
    return [row.features[name] for row in rows if name in row.features]


def distance(before, after):
    """The largest distance of the two distribution functions; of levels, half the sum of their shares' differences."""
    if isinstance(before[0], str):
        levels = {*before, *after}
        return sum(abs(before.count(it) / len(before) - after.count(it) / len(after)) for it in levels) / 2
    return max(
        abs(sum(value <= edge for value in before) / len(before) - sum(value <= edge for value in after) / len(after))
        for edge in sorted(set(before))[:: max(len(set(before)) // 50, 1)]
    )


def assert_valid(traffic):
    product = traffic.product
    low, high = product.target.bounds
    rules = {feature.name: feature for feature in product.features}
    for day in (1, CHANGE_DAY):
        for row in traffic.rows(day, 500):
            assert low <= row.actual <= high
            assert len(row.features) >= product.min_features
            for name, value in row.features.items():
                assert rules[name].problem(value) is None, name


def test_rows_are_what_the_api_takes(traffic):
    assert_valid(traffic)


def test_rows_with_values_of_each_type_are_what_the_api_takes():
    traffic = SimulatedTraffic(load_product(MIXED))
    assert_valid(traffic)
    assert {type(value) for row in traffic.rows(CHANGE_DAY, 50) for value in row.features.values()} == {
        bool,
        float,
        int,
        str,
    }


def test_the_change_moves_two_features_and_leaves_the_others(traffic):
    product = traffic.product
    before, after = traffic.rows(CHANGE_DAY - 1, 4000), traffic.rows(CHANGE_DAY, 4000)
    moved = {name for name in product.feature_names if distance(column(before, name), column(after, name)) > 0.1}
    assert moved == traffic.shifts.keys() | traffic.levels.keys()
    assert len(moved) == 2
    spread = statistics.stdev(row.actual for row in before)
    fall = statistics.mean(row.actual for row in before) - statistics.mean(row.actual for row in after)
    assert 0.5 * spread < fall < spread


def test_the_features_move_as_if_to_explain_the_fall(product, tmp_path):
    assert {name: shift < 0 for name, shift in SimulatedTraffic(product).shifts.items()} == {"RM": True, "LSTAT": False}
    other = SimulatedTraffic(other_product(tmp_path))
    assert {name: shift < 0 for name, shift in other.shifts.items()} == {"warmth": True}
    assert other.levels == {"label": "low"}
    assert other.change == "warmth falls, label is more often low, and gain falls further than the model expects"


def test_hardly_two_rows_are_alike(traffic):
    rows = [row for row in traffic.rows(1, 1000) if traffic.blurred in row.features]
    assert len({tuple(row.features.items()) for row in rows}) > 0.99 * len(rows)


def test_a_model_that_is_seldom_wrong_gets_less_noise(tmp_path):
    table = {"a": [1.0, 2.0, 3.0, 4.0], "y": [10.0, 20.0, 30.0, 40.0]}
    product = write_product(tmp_path, table, "y", columns={"a": {"type": "float", "valid": [0, 9]}})

    def error(traffic):
        return statistics.fmean(abs(row.actual - 10 * round(row.features["a"])) for row in traffic.rows(1, 2000))

    assert error(SimulatedTraffic(product)) > 1.2
    assert 0.25 < error(SimulatedTraffic(product, expected_error=0.5)) < 0.5


def test_rows_of_a_quiet_day_are_within_the_range_of_the_table(tmp_path):
    table = {"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}
    traffic = SimulatedTraffic(write_product(tmp_path, table, "y", columns={"a": {"type": "float", "valid": [0, 9]}}))
    values = column(traffic.rows(1, 200), "a")
    assert 1 <= min(values) < max(values) <= 4
    assert len(set(values)) == 200


def test_a_product_without_a_continuous_feature_can_be_played(tmp_path):
    whole = {"type": "int", "valid": [0, 10]}
    table = {"a": [1, 2, 3, 4], "b": [4, 3, 1, 2], "y": [1.0, 2.0, 3.0, 4.0]}
    traffic = SimulatedTraffic(write_product(tmp_path, table, "y", columns={"a": whole, "b": whole}))
    assert (traffic.shifts.keys(), traffic.blurred) == ({"a", "b"}, None)
    assert {type(value) for row in traffic.rows(CHANGE_DAY, 50) for value in row.features.values()} == {int}
    assert all(type(value) is int for row in traffic.rows(CHANGE_DAY, 50) for value in row.features.values())


def test_the_same_seed_gives_the_same_rows(product):
    assert SimulatedTraffic(product, 3).rows(20, 50) == SimulatedTraffic(product, 3).rows(20, 50)
    assert SimulatedTraffic(product, 3).rows(20, 50) != SimulatedTraffic(product, 4).rows(20, 50)


def test_a_day_has_rows_enough_for_a_comparison_and_few_actuals(product):
    assert demo.rows_per_day(product) == 240 > product.policy.drift.min_rows
    assert [demo.actuals_per_day(product, day) for day in (CHANGE_DAY - 1, CHANGE_DAY)] == [8, 80]


def test_actuals_of_the_changed_traffic_come_late_and_at_once():
    assert [demo.arrival(day) for day in (1, CHANGE_DAY - 1)] == [3, CHANGE_DAY + 1]
    assert {demo.arrival(day) for day in range(CHANGE_DAY, demo.SILENT_UNTIL - 1)} == {demo.SILENT_UNTIL}
    assert demo.arrival(50) == 52
