"""The demo's traffic and timetable; the whole of it has a suite of its own."""

import random
import statistics

import pytest
from support.products import write_product

from beacon_laptop import demo
from beacon_laptop.simulated_traffic import CHANGE_DAY, SimulatedTraffic


def other_product(folder):
    """A product of other columns and another size, with a target that may be negative."""
    chance = random.Random(0)
    warm = [chance.gauss(20, 4) for _ in range(300)]
    load = [chance.gauss(-3, 0.01) for _ in range(300)]
    table = {
        "label": [1, 2, 3] * 100,
        "warmth": [None if row % 50 == 0 else value for row, value in enumerate(warm)],
        "load": load,
        "constant": [1.5] * 300,
        "noise": [chance.random() for _ in range(300)],
        "gain": [value - 100 * other - 400 for value, other in zip(warm, load, strict=True)],
    }
    categories = {"type": "int", "categories": [1, 2, 3], "valid": None, "impute": "most_frequent"}
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


def test_rows_are_what_the_api_takes(traffic):
    product = traffic.product
    low, high = product.target.valid
    rules = {feature.name: feature for feature in product.features}
    for day in (1, CHANGE_DAY):
        for row in traffic.rows(day, 500):
            assert low <= row.actual <= high
            assert len(row.features) >= product.serving.min_features
            for name, value in row.features.items():
                assert rules[name].problem(value) is None, name


def test_the_change_moves_two_features_and_leaves_the_others(traffic):
    product = traffic.product
    before, after = traffic.rows(CHANGE_DAY - 1, 4000), traffic.rows(CHANGE_DAY, 4000)
    moved = {
        name
        for name in product.feature_names
        if abs(statistics.mean(column(after, name)) - statistics.mean(column(before, name)))
        > 0.2 * statistics.stdev(column(before, name))
    }
    assert moved == traffic.shifts.keys()
    assert len(moved) == 2
    spread = statistics.stdev(row.actual for row in before)
    fall = statistics.mean(row.actual for row in before) - statistics.mean(row.actual for row in after)
    assert 0.5 * spread < fall < spread


def test_the_features_move_as_if_to_explain_the_fall(product, tmp_path):
    assert {name: shift < 0 for name, shift in SimulatedTraffic(product).shifts.items()} == {"RM": True, "LSTAT": False}
    other = SimulatedTraffic(other_product(tmp_path))
    assert {name: shift < 0 for name, shift in other.shifts.items()} == {"warmth": True, "load": False}
    assert other.change == "warmth falls, load rises, and gain falls further than the model expects"


def test_hardly_two_rows_are_alike(traffic):
    rows = [row for row in traffic.rows(1, 1000) if traffic.blurred in row.features]
    assert len({tuple(row.features.items()) for row in rows}) > 0.99 * len(rows)


def test_a_product_without_a_continuous_feature_can_be_played(tmp_path):
    whole = {"type": "int", "valid": [0, 10]}
    table = {"a": [1, 2, 3, 4], "b": [4, 3, 1, 2], "y": [1.0, 2.0, 3.0, 4.0]}
    traffic = SimulatedTraffic(write_product(tmp_path, table, "y", columns={"a": whole, "b": whole}))
    assert (traffic.shifts, traffic.blurred) == ({}, None)
    assert all(type(value) is int for row in traffic.rows(CHANGE_DAY, 50) for value in row.features.values())


def test_the_same_seed_gives_the_same_rows(product):
    assert SimulatedTraffic(product, 3).rows(20, 50) == SimulatedTraffic(product, 3).rows(20, 50)
    assert SimulatedTraffic(product, 3).rows(20, 50) != SimulatedTraffic(product, 4).rows(20, 50)


def test_a_day_has_rows_enough_for_a_comparison_and_few_actuals(product):
    assert demo.rows_per_day(product) == 240 > product.drift.min_rows
    assert [demo.actuals_per_day(product, day) for day in (CHANGE_DAY - 1, CHANGE_DAY)] == [8, 80]


def test_actuals_of_the_changed_traffic_come_late_and_at_once():
    assert [demo.arrival(day) for day in (1, CHANGE_DAY - 1)] == [3, CHANGE_DAY + 1]
    assert {demo.arrival(day) for day in range(CHANGE_DAY, demo.SILENT_UNTIL - 1)} == {demo.SILENT_UNTIL}
    assert demo.arrival(50) == 52
