"""product.yaml: what it says is what is loaded, and every broken rule names the file, the key and the rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from beacon_core.domain.product import ProductError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

REAL = ROOT / "feature_repo" / "product.yaml"


def changed(tmp_path: Path, path: str, value: Any) -> Path:
    """The real file with the value at `path` replaced (`...` removes it)."""
    spec = yaml.safe_load(REAL.read_text(encoding="utf-8"))
    *parents, last = path.split(".")
    place = spec
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    file = tmp_path / "product.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return file


def refusal(file: Path) -> tuple[str, str]:
    """Key and rule of the refusal; the message holds the file, the key and the rule, in this order."""
    with pytest.raises(ProductError) as caught:
        load_product(file)
    error = caught.value
    assert str(error) == f"{file}: {error.key}: {error.rule}"
    return error.key, error.rule


def test_the_real_product_is_what_its_file_says(product):
    assert product.name == "boston-housing"
    assert product.feature_names == (
        "CRIM",
        "ZN",
        "INDUS",
        "CHAS",
        "NOX",
        "RM",
        "AGE",
        "DIS",
        "RAD",
        "TAX",
        "PTRATIO",
        "LSTAT",
    )
    assert product.features[3].categories == (0, 1)
    assert product.features[5].valid == (1, 20)
    assert "race" in product.excluded["B"]
    assert product.feature_service == "boston_housing_v1"
    assert product.sample_path.is_file()
    assert (product.entity.key, product.entity.origin) == ("tract_id", "row_number")


RULES = [
    ("target.valid", [5, 5], "target.valid", "low end must be below"),
    ("target.low", 45, "target.low", "below target.high"),
    ("target.name", "RM", "target.name", "must not be a feature"),
    ("serving.min_features", 0, "serving.min_features", "must be 1 to 12"),
    ("serving.min_features", 13, "serving.min_features", "must be 1 to 12"),
    ("serving.interval_coverage", 1.0, "serving.interval_coverage", "between 0 and 1"),
    ("source.rows", {"min": 10, "max": 9}, "source.rows", "min must be 1 to max"),
    ("source.rows", {"min": 0, "max": 9}, "source.rows", "min must be 1 to max"),
    ("excluded.RM", "a reason", "excluded.RM", "excluded and a feature"),
    ("excluded.B", "  ", "excluded.B", "needs a reason"),
    ("key_features", ["RM", "ROOMS"], "key_features.ROOMS", "is not a feature"),
    ("segments.river.of", "CHARLES", "segments.river.of", "must be a feature"),
    ("features", {}, "features", "at least one"),
    ("features.RM.valid", ..., "features.RM", "either valid (a range) or categories"),
    ("features.RM.categories", [1, 2], "features.RM", "either valid (a range) or categories"),
    ("features.RM.valid", [20, 1], "features.RM.valid", "low end must be below"),
    ("features.RM.valid", [1, float("inf")], "features.RM.valid[1]", "must be finite"),
    ("features.RM.valid", [float("nan"), 1], "features.RM.valid[0]", "must be finite"),
    ("target.valid", [0, float("inf")], "target.valid[1]", "must be finite"),
    ("features.RAD.categories", [1, 2, 1], "features.RAD.categories", "holds a value twice"),
    ("features.RAD.impute", "median", "features.RAD.impute", "most_frequent for categories"),
    ("features.RM.impute", "most_frequent", "features.RM.impute", "median is for ranges"),
    ("name", "Boston Housing", "name", "lower-case"),
    ("name", "../etc", "name", "lower-case"),
]


@pytest.mark.parametrize(("path", "value", "key", "rule"), RULES)
def test_a_broken_rule_is_named(tmp_path, path, value, key, rule):
    found_key, found_rule = refusal(changed(tmp_path, path, value))
    assert found_key == key
    assert rule in found_rule


TYPES = [
    ("sreving", {}, "(top)", "sreving"),
    ("serving.min_featuers", 6, "serving", "min_featuers"),
    ("features.RM.vald", [1, 20], "features.RM", "vald"),
    ("features.RM.type", "double", "features.RM.type", "double"),
    ("features.RM.valid", [1], "features.RM.valid", "length 2"),
    ("features.RM.valid", ["a", 2], "features.RM.valid[0]", "must be a number, is the text 'a'"),
    ("features.RM", 7, "features.RM", "must be a mapping, is 7"),
    ("features.RAD.categories", ["a"], "features.RAD.categories[0]", "whole number"),
    ("target.low", "eight", "target.low", "must be a number"),
    ("target", ..., "(top)", "target"),
    ("entity.from", "uuid", "entity.from", "uuid"),
]


@pytest.mark.parametrize(("path", "value", "key", "rule"), TYPES)
def test_a_misspelt_key_or_wrong_type_is_named(tmp_path, path, value, key, rule):
    found_key, found_rule = refusal(changed(tmp_path, path, value))
    assert found_key == key
    assert rule in found_rule


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"name: [", "is not YAML in UTF-8"),
        (b"", "must be a mapping, is empty"),
        (b"- a", "must be a mapping, is a list"),
        (b"name: \xff", "is not YAML in UTF-8"),
    ],
)
def test_a_file_that_is_no_product_is_refused(tmp_path, content, rule):
    file = tmp_path / "product.yaml"
    file.write_bytes(content)
    assert rule in refusal(file)[1]


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "nowhere.yaml") == ("(file)", "No such file or directory")


def test_a_feature_that_yaml_takes_for_a_boolean_is_a_feature(tmp_path):
    file = tmp_path / "product.yaml"
    file.write_text(REAL.read_text(encoding="utf-8").replace("NOX", "NO"), encoding="utf-8")
    product = load_product(file)
    assert "NO" in product.feature_names
    assert "NO" in product.key_features


def test_the_schema_hash_follows_what_a_model_depends_on_and_nothing_else(tmp_path, product):
    assert load_product(changed(tmp_path, "title", "Other")).schema_hash == product.schema_hash
    for path, value in [("features.RM.valid", [1, 21]), ("target.unit", "USD"), ("schema_version", 2)]:
        assert load_product(changed(tmp_path, path, value)).schema_hash != product.schema_hash


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("promotion.confidence", 0.4, "promotion.confidence"),
        ("promotion.min_rows", 1, "promotion.min_rows"),
        ("promotion.min_coverage", 1.5, "promotion.min_coverage"),
        ("promotion.max_mae_ratio", 0, "promotion.max_mae_ratio"),
        ("promotion.directions", {"ROOMS": "up"}, "promotion.directions.ROOMS"),
        ("promotion.directions", {"RM": "sideways"}, "promotion.directions.RM"),
        ("promotion.max_latency_seconds", 0, "promotion.max_latency_seconds"),
        ("drift.windows_days", [7, 1], "drift.windows_days"),
        ("drift.min_rows", 1, "drift.min_rows"),
        ("drift.min_labels", 0, "drift.min_labels"),
        ("drift.confirm", [3, 2], "drift.confirm"),
        ("drift.max_mae_ratio", 0, "drift.max_mae_ratio"),
        ("drift.fdr", 1, "drift.fdr"),
        ("drift.hellinger", 0, "drift.hellinger"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(tmp_path, path, value, key):
    assert refusal(changed(tmp_path, path, value))[0] == key
