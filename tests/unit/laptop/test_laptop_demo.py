"""The demo's world and timetable; the whole of it has a suite of its own."""

import statistics

import pytest

from beacon_laptop import demo
from beacon_laptop.world import BLURRED, CHANGE_DAY, World


@pytest.fixture(scope="module")
def world(product):
    return World(product)


def column(homes, name):
    return [home.features[name] for home in homes if name in home.features]


def test_homes_are_what_the_api_takes(world, product):
    low, high = product.target.valid
    rules = {feature.name: feature for feature in product.features}
    for day in (1, CHANGE_DAY):
        for home in world.homes(day, 500):
            assert low <= home.price <= high
            assert len(home.features) >= product.min_features
            for name, value in home.features.items():
                least, most = rules[name].valid or (min(rules[name].categories), max(rules[name].categories))
                assert least <= value <= most, name


def test_the_change_moves_two_features_and_leaves_the_others(world, product):
    before, after = world.homes(CHANGE_DAY - 1, 4000), world.homes(CHANGE_DAY, 4000)
    moved = {
        name
        for name in product.feature_names
        if abs(statistics.mean(column(after, name)) - statistics.mean(column(before, name)))
        > 0.2 * statistics.stdev(column(before, name))
    }
    assert moved == {"RM", "LSTAT"}
    assert statistics.mean(home.price for home in after) < 0.96 * statistics.mean(home.price for home in before)


def test_hardly_two_homes_are_alike(world):
    homes = [home for home in world.homes(1, 1000) if BLURRED in home.features]
    assert len({tuple(home.features.items()) for home in homes}) > 0.99 * len(homes)


def test_the_same_seed_gives_the_same_homes(product):
    assert World(product, 3).homes(20, 50) == World(product, 3).homes(20, 50)
    assert World(product, 3).homes(20, 50) != World(product, 4).homes(20, 50)


def test_prices_of_the_changed_world_come_late_and_at_once():
    assert [demo.arrival(day) for day in (1, CHANGE_DAY - 1)] == [3, CHANGE_DAY + 1]
    assert {demo.arrival(day) for day in range(CHANGE_DAY, demo.SILENT_UNTIL - 1)} == {demo.SILENT_UNTIL}
    assert demo.arrival(50) == 52
