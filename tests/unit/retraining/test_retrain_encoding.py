"""Typed columns become numbers by the rules of their features, and datasets know levels, weights and groups."""

import math
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product, parse_product
from beacon_core.domain.segments import segment_masks
from beacon_core.domain.spec import ProductError
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import ValueRules
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.model_package.model_inputs import FeatureMap
from beacon_retraining.data.dataset import dataset_of, product_rows
from beacon_retraining.data.encoding import WRONG, encode_column
from beacon_retraining.data.table_rules import check_keys, check_leaks, check_repeats, check_target, check_values
from beacon_retraining.training.splits import SplitError, split_rows

FEATURES = {
    "size": {"type": "float", "valid": [0, None]},
    "count": {"type": "int"},
    "open": {"type": "bool"},
    "grade": {"type": "category", "levels": ["low", "high"], "unseen": "other"},
    "shop": {"type": "category", "levels": "many"},
    "day": {"type": "date", "parts": ["age"]},
}


def product_of(policy: object = None, **keys: object) -> Product:
    raw = {"name": "shops", "source": {"file": "x.csv"}, "target": {"name": "sales"}, "features": FEATURES} | keys
    return parse_product(Path("product.yaml"), raw, lambda _: policy)


def rows_of(count: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": random.random(count),
            "count": np.arange(count) % 7 * 1.0,
            "open": pd.array([True, False] * (count // 2), dtype="boolean"),
            "grade": ["low", "high", "top", "low"] * (count // 4),
            "shop": ["a", "b", "b", "b"] * (count // 4),
            "day": pd.to_datetime(["2024-01-02"] * count),
            "sales": random.normal(size=count),
            EVENT_TIME: pd.Timestamp(BASE_EVENT_TIME),
        }
    )


@pytest.mark.parametrize(
    ("rules", "values", "numbers"),
    [
        (ValueRules(type="float"), [1.5, None], [1.5, math.nan]),
        (ValueRules(type="bool"), [True, None, False], [1, math.nan, 0]),
        (ValueRules(type="bool"), ["yes"], [WRONG]),
        (ValueRules(type="category", levels=("a", "b")), ["b", " a ", None, "B"], [1, 0, math.nan, WRONG]),
        (ValueRules(type="category", levels=("a", "b"), unseen="other"), ["c"], [2]),
        (ValueRules(type="category", levels=("a", "b")), [1.0, math.nan], [WRONG, math.nan]),
        (ValueRules(type="category", levels="many"), ["x"], [text_code("x")]),
        (ValueRules(type="date"), [date(1970, 1, 3), "1970-01-02", None], [2, 1, math.nan]),
        (ValueRules(type="timestamp"), ["1970-01-01T00:01:00Z", pd.Timestamp(30, unit="s", tz="UTC")], [60, 30]),
    ],
)
def test_values_become_the_numbers_that_a_request_has(
    rules: ValueRules, values: list[object], numbers: list[float]
) -> None:
    assert np.array_equal(encode_column(pd.Series(values, dtype=object), rules), numbers, equal_nan=True)
    typed = pd.Series(values)
    assert np.array_equal(encode_column(typed, rules), numbers, equal_nan=True)


def test_a_dataset_has_the_numbers_that_inference_gives_to_its_model() -> None:
    product = product_of()
    dataset = dataset_of(product, rows_of())
    assert dataset.levels == {"grade": ("low", "high"), "shop": ("b", "a")}
    assert dataset.features[:4, 3].tolist() == [0, 1, 2, 0]
    assert dataset.features[:2, 4].tolist() == [1, 0]
    assert dataset.others[2, 3] == "top"
    seen = FeatureMap(product.features, dataset.schema, dataset.levels)(product_rows(product, dataset), dataset.others)
    assert np.array_equal(seen, dataset.features)
    masks = segment_masks(product_of(segments={"g": {"of": "grade"}, "o": {"of": "open"}}), dataset.features, None)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "g=missing": 0, "g=low": 20, "g=high": 10, "g=other": 10, "o=missing": 0, "o=false": 20, "o=true": 20,
    }  # fmt: skip


def test_the_fingerprint_follows_texts_weights_and_groups() -> None:
    product, rows = product_of(), rows_of()
    plain = dataset_of(product, rows).fingerprint
    assert dataset_of(product, rows.replace({"shop": {"a": "c"}})).fingerprint != plain
    assert dataset_of(product, rows.replace({"grade": {"top": "best"}})).fingerprint != plain
    weighted = product_of(target={"name": "sales", "weight": "count"})
    dataset = dataset_of(weighted, rows)
    assert dataset.fingerprint != plain
    assert dataset.row_weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("count", 2.5, "count: must be a whole number.*has 2.5 in row 2"),
        ("size", -1.0, "size: must be at least 0, has -1.0 in row 2"),
        ("sales", math.inf, "sales: must be finite"),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(column: str, value: object, rule: str) -> None:
    rows = rows_of()
    rows.loc[1, column] = value
    with pytest.raises(DataError, match=rule):
        check_values("t", rows, product_of())


def test_a_level_in_another_case_is_named_with_the_known_one() -> None:
    product = product_of(features=FEATURES | {"grade": {"type": "category", "levels": ["low", "high", "top"]}})
    rows = rows_of()
    check_values("t", rows, product)
    rows.loc[[3, 5], "grade"] = ["Low", "TOP"]
    with pytest.raises(DataError, match=r"must be one of low, high, top, has 'Low' in row 4, 'TOP' in row 6; 'Low' is"):
        check_values("t", rows, product)


def test_tables_that_cannot_be_trained_on_are_refused() -> None:
    rows = rows_of()
    keyed = product_of(entity={"name": "shop", "key": "shop", "type": "text"})
    with pytest.raises(DataError, match=r"must be one row per key, has 'a' in rows 1 and 5"):
        check_keys("t", rows, keyed)
    product = product_of()
    numbers = check_values("t", rows, product)
    check_leaks("t", numbers, product)
    with pytest.raises(DataError, match=r"size: leaks the target"):
        check_leaks("t", dict(numbers) | {"sales": numbers["size"] ** 3}, product)
    twice = pd.concat([rows, rows], ignore_index=True)
    with pytest.raises(DataError, match=r"40 of 80 rows repeat"):
        check_repeats("t", twice, check_values("t", twice, product), product)
    with pytest.raises(DataError, match=r"one value only"):
        check_target("t", rows, dict(numbers) | {"sales": np.ones(40)}, product)
    weighted = product_of(target={"name": "sales", "weight": "size"})
    with pytest.raises(DataError, match=r"size: is a weight: must be at least 0, has -0.5 in row 1"):
        check_target("t", rows.assign(size=-0.5), numbers, weighted)


def test_the_newest_rows_and_whole_groups_are_held_out() -> None:
    rows = rows_of()
    rows[EVENT_TIME] = pd.Timestamp(BASE_EVENT_TIME) + pd.to_timedelta(np.arange(40)[::-1] // 2, unit="D")
    timed = product_of(time={"event": "at", "split": "time"})
    dataset = dataset_of(timed, rows)
    splits = split_rows(dataset, timed, np.arange(40), 4, 0)
    assert len(splits) == 4
    for known, held in splits:
        assert dataset.seconds[known].max() < dataset.seconds[held].min()
    assert np.unique(np.concatenate([held for _, held in splits])).size == 32
    grouped = product_of(time={"split": "group", "group": "count"})
    dataset = dataset_of(grouped, rows)
    for known, held in split_rows(dataset, grouped, np.arange(40), 3, 0):
        assert not set(rows["count"][known]) & set(rows["count"][held])
    one = rows.assign(**{EVENT_TIME: pd.Timestamp(BASE_EVENT_TIME)})
    with pytest.raises(SplitError, match=r"several times"):
        split_rows(dataset_of(timed, one), timed, np.arange(40), 3, 0)


def test_a_category_has_no_direction() -> None:
    assert product_of({"promotion": {"directions": {"size": "up"}}}).policy.promotion.directions == {"size": "up"}
    with pytest.raises(ProductError, match=r"promotion.directions.grade.*is no measurement"):
        product_of({"promotion": {"directions": {"grade": "up"}}})
