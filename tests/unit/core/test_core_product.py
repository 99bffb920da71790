"""product.yaml and policy.yaml: what they say is what is loaded, and every broken rule names file, key and rule."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.products import SPEC, copy_policy

from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product

REAL = SPEC
POLICY = REAL.with_name("policy.yaml")
SPECS = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in (REAL, POLICY)}
SECTIONS = list(SPECS["policy.yaml"])


def changed(tmp_path: Path, path: str, value: Any) -> Path:
    """The real files with the value at `path` of the one that has it replaced (`...` removes it)."""
    raw = copy.deepcopy(SPECS)
    *parents, last = path.split(".")
    place = raw["policy.yaml" if path.split(".", maxsplit=1)[0] in SECTIONS else "product.yaml"]
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return specs(tmp_path, raw["product.yaml"], raw["policy.yaml"])


def refusal(file: Path) -> tuple[str, str]:
    """Key and rule of the refusal; the message holds the file that has the key, the key and the rule, in this order."""
    with pytest.raises(ProductError) as caught:
        load_product(file)
    error = caught.value
    at_fault = file.with_name("policy.yaml") if error.key.partition(".")[0] in SECTIONS else file
    assert str(error) == f"{at_fault}: {error.key}: {error.rule}"
    return error.key, error.rule


def specs(tmp_path: Path, product: dict[str, Any], policy: dict[str, Any] | None) -> Path:
    """Both files, or product.yaml alone."""
    for name, spec in (("product.yaml", product), ("policy.yaml", policy)):
        if spec is not None:
            (tmp_path / name).write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return tmp_path / "product.yaml"


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("beside", [True, False])
def test_a_section_of_the_policy_in_product_yaml_is_sent_to_its_file(
    tmp_path: Path, section: str, beside: bool
) -> None:
    old = SPECS["product.yaml"] | {section: SPECS["policy.yaml"][section]}
    file = specs(tmp_path, old, SPECS["policy.yaml"] if beside else None)
    with pytest.raises(ProductError) as caught:
        load_product(file)
    assert str(caught.value) == f"{file}: {section}: belongs to policy.yaml, beside this file"


def test_a_key_of_the_product_in_policy_yaml_is_sent_to_its_file(tmp_path: Path) -> None:
    policy = SPECS["policy.yaml"]
    for section, value, key, rule in [
        ("min_features", 6, "min_features", "belongs to product.yaml, beside this file"),
        ("serving", policy["serving"] | {"min_features": 6}, "serving.min_features", "as min_features"),
        ("serving", policy["serving"] | {"interval_coverage": 1}, "serving.interval_coverage", "as training.interval_"),
    ]:
        file = specs(tmp_path, SPECS["product.yaml"], policy | {section: value})
        with pytest.raises(ProductError) as caught:
            load_product(file)
        assert str(caught.value).startswith(f"{tmp_path / 'policy.yaml'}: {key}: belongs to product.yaml")
        assert rule in str(caught.value)


def test_without_a_policy_all_limits_have_their_defaults(tmp_path: Path) -> None:
    directions = {"promotion": {"directions": {}}}
    product = load_product(specs(tmp_path, SPECS["product.yaml"], None))
    assert product.policy == load_product(specs(tmp_path, SPECS["product.yaml"], directions)).policy
    assert product.policy.quality.large_residual is None


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
    assert product.features[3].levels == (0, 1)
    assert product.features[5].valid == (1, 20)
    assert "race" in product.excluded["B"]
    assert product.feature_service == "boston_housing_v1"
    assert product.sample_path.is_file()
    assert (product.entity.key, product.entity.row_number) == ("tract_id", True)


RULES = [
    ("target.valid", [5, 5], "target.valid", "low end must be below"),
    ("target.low", 45, "target.low", "below target.high"),
    ("target.name", "RM", "target.name", "must not be a feature"),
    ("min_features", 0, "min_features", "must be 1 to 12"),
    ("min_features", 13, "min_features", "must be 1 to 12"),
    ("training.interval_coverage", 1.0, "training.interval_coverage", "between 0 and 1"),
    ("data.rows", {"min": 10, "max": 9}, "data.rows", "min must be 1 to max"),
    ("data.rows", {"min": 0, "max": 9}, "data.rows", "min must be 1 to max"),
    ("excluded.RM", "a reason", "excluded.RM", "excluded and a feature"),
    ("excluded.B", "  ", "excluded.B", "needs a reason"),
    ("key_features", ["RM", "ROOMS"], "key_features.ROOMS", "is not a feature"),
    ("segments.river.of", "CHARLES", "segments.river.of", "must be a feature"),
    ("features", {}, "features", "at least one"),
    ("features.RM.levels", [1, 2], "features.RM.levels", "is for a category, not for a float"),
    ("features.RM.valid", [20, 1], "features.RM.valid", "low end must be below"),
    ("features.RM.valid", [1, float("inf")], "features.RM.valid[1]", "must be finite"),
    ("features.RM.valid", [float("nan"), 1], "features.RM.valid[0]", "must be finite"),
    ("target.valid", [0, float("inf")], "target.valid[1]", "must be finite"),
    ("features.RAD.levels", [1, 2, 1], "features.RAD.levels", "holds a value twice"),
    ("features.RAD.impute", "median", "features.RAD.impute", "most_frequent for categories"),
    ("features.RM.impute", "most_frequent", "features.RM.impute", "median is for measurements"),
    ("name", "Boston Housing", "name", "lower-case"),
    ("name", "../etc", "name", "lower-case"),
    ("schema_version", 0, "schema_version", "at least 1"),
    ("source.sample", "", "source.sample", "a file's path"),
    ("entity.key", "RM", "entity.key", "must not be a feature"),
    ("entity.key", "MEDV", "entity.key", "must not be a feature or the target"),
    ("entity.key", " tract_id", "entity.key", "must be a name"),
    ("entity.name", "", "entity.name", "must be lower-case letters"),
    ("target.name", "", "target.name", "must be a name"),
    ("segments", {"": {"of": "CHAS"}}, "segments.", "must be a name"),
    ("key_features", ["RM", "TAX", "RM"], "key_features.RM", "is there twice"),
    ("segments.price_band.bounds", [25, 15], "segments.price_band.bounds", "must be rising"),
    ("segments.price_band.bounds", [15, 15], "segments.price_band.bounds", "must be rising"),
    ("segments.price_band.bounds", [], "segments.price_band.bounds", "must be given for bands"),
    ("segments.rooms", {"of": "RM"}, "segments.rooms.bounds", "must be given for bands"),
    ("serving.latency_slo_seconds", 0, "serving.latency_slo_seconds", "must be above 0"),
    ("quality.large_residual", -1, "quality.large_residual", "must be above 0"),
    *(
        (f"{section}.windows_days", days, f"{section}.windows_days", "must be days, rising")
        for section in ("quality", "drift")
        for days in ([], [0, 7], [7, 1], [7, 7], [36_501])
    ),
    ("retraining.cooldown_hours", 1e300, "retraining.cooldown_hours", "must be 0 to 876000"),
    ("rollout.phase_seconds", 0, "rollout.phase_seconds", "must be above 0"),
    ("rollout.watch_seconds", 1e300, "rollout.watch_seconds", "must be above 0, and"),
]


@pytest.mark.parametrize(("path", "value", "key", "rule"), RULES)
def test_a_broken_rule_is_named(tmp_path, path, value, key, rule):
    found_key, found_rule = refusal(changed(tmp_path, path, value))
    assert found_key == key
    assert rule in found_rule


TYPES = [
    ("sreving", {}, "(top)", "sreving"),
    ("serving.latency_slo_secnods", 6, "serving", "latency_slo_secnods"),
    ("features.RM.vald", [1, 20], "features.RM", "vald"),
    ("features.RM.type", "double", "features.RM.type", "double"),
    ("features.RM.valid", [1], "features.RM.valid", "length 2"),
    ("features.RM.valid", ["a", 2], "features.RM.valid", "must be a number or null, not a string"),
    ("features.RM.valid", [True, 2], "features.RM.valid[0]", "must be a number or text (in quotes), is true"),
    ("features.RAD.levels", [None], "features.RAD.levels[0]", "must be a number or text (in quotes), is empty"),
    ("features.RM", 7, "features.RM", "must be a mapping, is 7"),
    ("features.RAD.levels", ["a", 1], "features.RAD.levels", "must be all text (in quotes) or all numbers"),
    ("target.low", "eight", "target.low", "must be a number"),
    ("target", ..., "(top)", "target"),
    ("entity.row_number", "yes", "entity.row_number", "must be true or false, is the text 'yes'"),
    ("promotion.mode", "manuel", "promotion.mode", "must be auto or manual, is the text 'manuel'"),
    ("promotion.directions.RM", "sideways", "promotion.directions.RM", "must be down or up, is the text 'sideways'"),
    ("drift.confirm", [1, 2, 3], "drift.confirm", "must be a list of length 2, has 3"),
    ("evidence.clients", "keys", "evidence.clients", "must be all or keyed or a list, is the text 'keys'"),
    ("evidence.clients", 3, "evidence.clients", "must be text (in quotes) or a list, is 3"),
    ("evidence.clients", [], "evidence.clients", "must name a client, or be all or keyed"),
    (
        "evidence.clients",
        ["shop", "anonymous"],
        "evidence.clients",
        "'anonymous' is no name that an API key or a JWT",
    ),
    ("evidence.clients", ["Web Shop"], "evidence.clients", "'Web Shop' is no name that an API key or a JWT can have"),
]


@pytest.mark.parametrize("name", ["event_timestamp", "created", "prediction", "", " RM", "R\nM"])
def test_a_feature_has_a_name_of_its_own_on_one_line(tmp_path: Path, name: str) -> None:
    features = SPECS["product.yaml"]["features"]
    file = specs(
        tmp_path, SPECS["product.yaml"] | {"features": features | {name: features["CHAS"]}}, SPECS["policy.yaml"]
    )
    with pytest.raises(ProductError, match=r"features\..*: (must be a name|is a name that Beacon uses)") as caught:
        load_product(file)
    assert "\n" not in str(caught.value)


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
    copy_policy(tmp_path)
    file = tmp_path / "product.yaml"
    file.write_text(REAL.read_text(encoding="utf-8").replace("NOX", "NO"), encoding="utf-8")
    product = load_product(file)
    assert "NO" in product.feature_names
    assert "NO" in product.key_features


def test_the_schemas_digest_follows_what_a_model_depends_on_and_nothing_else(tmp_path, product):
    assert load_product(changed(tmp_path, "title", "Other")).schema.digest == product.schema.digest
    for path, value in [("features.RM.valid", [1, 21]), ("target.unit", "USD"), ("schema_version", 2)]:
        assert load_product(changed(tmp_path, path, value)).schema.digest != product.schema.digest


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
        ("drift.false_alarms", 1, "drift.false_alarms"),
        ("drift.hellinger", 0, "drift.hellinger"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(tmp_path, path, value, key):
    assert refusal(changed(tmp_path, path, value))[0] == key
