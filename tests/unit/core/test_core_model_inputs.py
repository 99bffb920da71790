"""From rows of the product to a graph's columns: the same levels, parts and ratios for training and requests."""

from datetime import UTC, datetime

import numpy as np
import pytest

from beacon_core.domain.derived import Formula, Lag
from beacon_core.domain.feature import Derived, Feature, FeatureEntry, make_feature
from beacon_core.domain.product_entry import Target
from beacon_core.domain.schema import Schema
from beacon_core.model_package.model_inputs import FeatureMap, column_names, to_columns

NAN = np.nan
NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def schema(*features: Feature, **derived: Formula) -> Schema:
    columns = tuple(Derived(name, name, "", formula) for name, formula in derived.items())
    return Schema(version=1, target=Target(name="y"), entity=None, features=features, derived=columns)


def feature(name: str, **entry: object) -> Feature:
    return make_feature(name, FeatureEntry(**entry))  # type: ignore[arg-type]


A, B = feature("a"), feature("b")
SKY = feature("sky", type="category", levels=("fog", "rain", "sun"), unseen="other")
CITY = feature("city", type="category")


def test_an_unchanged_product_needs_no_mapping() -> None:
    rows = np.array([[1.0, 2.0]])
    mapped = FeatureMap((A, SKY), schema(A, SKY), {"sky": ("fog", "rain", "sun")})
    assert mapped.is_identity
    assert mapped(rows, {}) is rows


def test_features_are_found_by_name_and_a_lost_one_is_missing() -> None:
    mapped = FeatureMap((B, A), schema(A, feature("gone"), B), {})
    np.testing.assert_array_equal(mapped(np.array([[1.0, 2.0]]), {}), [[2.0, NAN, 1.0]])


def test_levels_get_their_places_in_the_packages_list() -> None:
    mapped = FeatureMap((SKY,), schema(SKY), {"sky": ("sun", "fog", "snow")})
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [3.0], [NAN]])
    texts = {(3, 0): "snow", (4, 0): "hail"}
    np.testing.assert_array_equal(mapped(rows, texts)[:, 0], [1.0, 3.0, 0.0, 2.0, 3.0, NAN])


def test_many_levels_are_those_of_the_package() -> None:
    names = ["Oslo", "Rome", "Lima"]
    rows = np.array([[CITY.to_number(name)] for name in names] + [[NAN]])
    texts = {(row, 0): name for row, name in enumerate(names)}
    mapped = FeatureMap((CITY,), schema(CITY), {"city": ("Rome", "Oslo")})
    np.testing.assert_array_equal(mapped(rows, texts)[:, 0], [1.0, 0.0, 2.0, NAN])
    np.testing.assert_array_equal(mapped(rows, {})[:, 0], [1.0, 0.0, 2.0, NAN])  # by the number alone


def test_a_date_becomes_its_parts_in_its_place() -> None:
    day = feature("day", type="date", parts=("year", "quarter", "month", "day", "weekday", "month_cycle", "age"))
    of = schema(A, day, B)
    names = column_names(of)
    assert names == (
        *("a", "day.year", "day.quarter", "day.month", "day.day", "day.weekday"),
        *("day.month_cycle_sin", "day.month_cycle_cos", "day.age", "b"),
    )
    rows = np.array([[1.0, day.to_number("2024-02-29"), 2.0], [1.0, day.to_number("1969-12-31"), 2.0]])
    found = to_columns(rows, of, np.full(2, NOW))
    np.testing.assert_allclose(found[0, :6], [1, 2024, 1, 2, 29, 4])
    np.testing.assert_allclose(found[1, 1:6], [1969, 4, 12, 31, 3])
    np.testing.assert_allclose(found[0, 6:9], [np.sin(np.pi / 6), np.cos(np.pi / 6), 731])
    np.testing.assert_allclose(found[:, 9], 2)


def test_an_hour_is_of_utc() -> None:
    at = feature("at", type="timestamp", parts=("hour", "hour_cycle"))
    rows = np.array([[at.to_number("2026-01-01T01:30:00+02:00")]])
    found = to_columns(rows, schema(at), np.array([NOW]))
    np.testing.assert_allclose(found, [[23, np.sin(2 * np.pi * 23.5 / 24), np.cos(2 * np.pi * 23.5 / 24)]])


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        (Formula(ratio=("a", "b")), [0.5, 0.0]),
        (Formula(difference=("a", "b")), [-1.0, -3.0]),
        (Formula(log="a"), [np.log(2), -np.log(4)]),
        (Formula(square="a"), [1.0, 9.0]),
    ],
)
def test_a_formula_is_one_more_column(formula: Formula, wanted: list[float]) -> None:
    of = schema(A, B, c=formula)
    assert column_names(of) == ("a", "b", "c")
    found = to_columns(np.array([[1.0, 2.0], [-3.0, 0.0]]), of, np.zeros(2))
    np.testing.assert_allclose(found[:, 2], wanted)


def test_a_lag_is_a_feature_as_others() -> None:
    lag = feature("a_7d", derived=Lag(lag="a", days=7))
    of = schema(A, lag)
    rows = np.array([[1.0, 2.0]])
    assert column_names(of) == ("a", "a_7d")
    assert to_columns(rows, of, np.zeros(1)) is rows
