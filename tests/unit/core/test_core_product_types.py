"""What product.yaml can say of types, keys, times and derived features, and which slips it names."""

from pathlib import Path

import pytest

from beacon_core.domain.derived import Formula, Lag
from beacon_core.domain.product import Product
from beacon_core.domain.schema import changes, is_breaking
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product

BASE = """\
name: weather
target: {name: high, unit: "°C"}
source: {file: days.csv}
"""
FULL = (
    BASE
    + """\
entity: {name: day, key: [station, day_no], type: {station: text}}
time: {event: date, split: time}
features:
  rain mm: {type: float, valid: [0, null]}
  sky: {type: category, levels: [fog, rain, sun]}
  city: {type: category}
  windy: {type: bool}
  date: {type: date, parts: [month, day_of_year_cycle]}
  gust: {type: int, valid: [0, 200]}
  share: {type: float, derived: {ratio: [rain mm, gust]}}
  rain_7d: {type: float, derived: {lag: rain mm, days: 7}}
segments: {sky: {of: sky}, wet: {of: rain mm, bounds: [1, 10]}}
"""
)


def load(folder: Path, text: str) -> Product:
    file = folder / "product.yaml"
    file.write_text(text, encoding="utf-8")
    return load_product(file)


def test_the_least_that_is_valid_has_defaults_for_the_rest(tmp_path: Path) -> None:
    product = load(tmp_path, BASE + "features: {a: {type: float}, b: {type: bool}}\n")
    assert product.entity is None
    assert product.keys == ()
    assert (product.title, product.min_features, product.key_features) == ("weather", 1, ("a", "b"))
    assert product.target.bounds == (float("-inf"), float("inf"))
    assert product.policy.promotion.min_r2 == 0


def test_a_product_without_features_is_told_who_writes_them(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="features: is missing: `beacon new` proposes them"):
        load(tmp_path, BASE)


def test_everything_that_it_can_say_is_understood(tmp_path: Path) -> None:
    product = load(tmp_path, FULL)
    assert product.entity is not None
    assert product.entity.columns == (("station", "text"), ("day_no", "int64"))
    assert product.feature_names == ("rain mm", "sky", "city", "windy", "date", "gust", "rain_7d")
    assert [(column.name, column.formula) for column in product.derived] == [
        ("share", Formula(ratio=("rain mm", "gust"))),
    ]
    assert product.features[-1].lag == Lag(lag="rain mm", days=7)
    assert product.features[2].has_many_levels
    assert all(feature.problem(feature.example) is None for feature in product.features)


@pytest.mark.parametrize(
    ("entry", "key", "rule"),
    [
        ("a: {type: string}", "a.type", "must be bool or category or date or float or int or timestamp"),
        ("a: {type: category, levels: [yes, Yes]}", "a.levels", "holds 'yes' twice, in upper and lower case"),
        ("a: {type: category, levels: [1, b]}", "a.levels", "must be all text (in quotes) or all numbers"),
        ("a: {type: category, levels: []}", "a.levels", "must list at least one level"),
        ("a: {type: float, levels: [1]}", "a.levels", "is for a category, not for a float"),
        ("a: {type: category, levels: [1, 2], unseen: other}", "a.unseen", "other is for levels that are text"),
        ("a: {type: bool, valid: [0, 1]}", "a.valid", "is a range, and a bool has none"),
        ("a: {type: date, parts: [hour]}", "a.parts", "must have no hour"),
        ("a: {type: date, valid: [soon, null]}", "a.valid", "must be a date such as 2026-01-31"),
        ("a: {type: float, valid: [2, 1]}", "a.valid", "the low end must be below the high end"),
        ("a: {type: float, derived: {ratio: [b, c]}}", "a.derived", "b is no measured feature"),
        (
            "a: {type: float, derived: {log: b, square: b}}",
            "a.derived",
            "must be one of ratio, difference, log, square",
        ),
        ("a: {type: float, derived: {lag: z, days: 7}}", "a.derived.lag", "needs an entity, whose past it is of"),
        ("a: {type: float, derived: {lag: z, days: 0}}", "a.derived.days", "must be 1 to 36500"),
        ("prediction: {type: float}", "prediction", "is a name that Beacon uses"),
        ("'a,b': {type: float}", "a,b", "must be a name of letters"),
        ("' a': {type: float}", " a", "must be a name of letters"),
        ("Z: {type: float}", "Z", "differs from z only in upper and lower case"),
        ("a: {type: float, example: text}", "a.example", "must be a number or null, not a string"),
    ],
)
def test_a_slip_names_key_and_rule(tmp_path: Path, entry: str, key: str, rule: str) -> None:
    with pytest.raises(ProductError) as caught:
        load(tmp_path, f"{BASE}features:\n  z: {{type: float}}\n  {entry}\n")
    assert caught.value.key == f"features.{key}"
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    "name", ["body mass", "body.mass", "sqft-living", "1stFlrSF", "class", "größe", "select", "null"]
)
def test_names_as_people_have_them_are_taken(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, f"{BASE}features: {{'{name}': {{type: float}}}}\n").feature_names == (name,)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ("valid: [0, 200]", "valid: [0, 300]", ["compatible"]),
        ("valid: [0, 200]", "valid: [0, 100]", ["follows"]),
        ("[fog, rain, sun]", "[fog, rain, sun, snow]", ["compatible"]),
        ("[fog, rain, sun]", "[fog, sun]", ["follows"]),
        ("  windy: {type: bool}\n", "", ["follows"]),
        ("  windy: {type: bool}", "  windy: {type: bool}\n  new: {type: float}", ["follows"]),
        ("windy: {type: bool}", "windy: {type: float}", ["follows", "breaking"]),
        ("[fog, rain, sun]", "[1, 2, 3]", ["breaking"]),
        ('unit: "°C"', "unit: K", ["breaking"]),
        ("key: [station, day_no]", "key: [day_no, station]", ["breaking"]),
        ("ratio: [rain mm, gust]", "ratio: [gust, rain mm]", ["follows"]),
    ],
)
def test_a_changed_schema_is_what_it_means(tmp_path: Path, old: str, new: str, kinds: list[str]) -> None:
    assert old in FULL
    before = load(tmp_path, FULL).schema
    after = load(tmp_path, FULL.replace(old, new)).schema
    found = {change.kind for change in changes(before, after)}
    assert set(kinds) <= found <= {*kinds, "compatible"}
    assert is_breaking(before, after) == ("breaking" in kinds)
