"""`beacon new`: what it proposes for a table loads, and says why; what no product can be made of is refused by name."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.retraining.new_tables import GRADES, RANDOM, ROWS, SIZES, VALUES, cycle, new, refused

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product_entry import FEATURES_TTL_DAYS
from beacon_core.domain.source import parse_sources
from beacon_core.platform.yaml_file import read_yaml
from beacon_core.sources.raw import read_raw
from beacon_core.sources.table import load_table
from beacon_retraining.data.findings import find_all
from beacon_retraining.proposal.propose import Wanted, propose
from beacon_retraining.proposal.write import place_of, source_now, write_product


@pytest.mark.parametrize(
    ("cells", "kind", "levels"),
    [
        (["yes", "no"], "bool", None),
        (["True", "False"], "bool", None),
        ([0, 1], "bool", None),
        ([1, 2, 7], "int", None),
        ([1.5, 2, 7], "float", None),
        (["red", "green", "blue"], "category", ("blue", "green", "red")),
        (["yes", "no", "null", "true", "0"], "category", ("0", "no", "true", "yes")),
        (["é", "e\u0301", "z "], "category", ("z", "é")),
        (["a b", "a\u00a0b", "z"], "category", ("a b", "z")),
        (["Red", "red", "blue"], "category", "many"),
        ([f"sku{number}" for number in range(60)], "category", "many"),
        (["01", "02", "17"], "category", ("01", "02", "17")),
        (["2020/01/31", "2021/02/01"], "date", None),
        (["2020-01-31 10:00", "2021-02-01 11:30"], "timestamp", None),
    ],
)
def test_types(tmp_path: Path, cells: list[Any], kind: str, levels: object) -> None:
    product, _ = new(tmp_path, {"thing": cycle(cells)})
    [thing] = [feature for feature in product.features if feature.name == "thing"]
    assert (thing.type, thing.levels) == (kind, levels)
    assert thing.problem(thing.example) is None
    assert levels != "many" or thing.example in cells


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"no": [f"u{number}" for number in range(ROWS)]}, "identifier"),
        ({"no": range(7, ROWS + 7)}, "identifier"),
        ({"no": range(2**62, 2**62 + ROWS)}, "identifier"),
        ({"no": [5] * ROWS}, "constant"),
        ({"no": [""] * ROWS}, "no value"),
        ({"no": SIZES}, "says the same as size"),
        ({"no": VALUES * 1.19}, "leaks the target"),
        ({"no": np.log(VALUES)}, "leaks the target"),
        ({"no": cycle(["x" * 300, "y"])}, "free text"),
        ({"no": cycle(["02/05/2020", "03/04/2020"])}, "day or with the month"),
        ({"prediction": cycle([1, 2, 7])}, "Beacon uses"),
        ({"a:b": cycle([1, 2, 7])}, "its name has ':'"),
        ({"-ab": cycle([1, 2, 7])}, "its name begins with '-'"),
        ({"a" * 65: cycle([1, 2, 7])}, "more than 64 characters"),
        ({"no": cycle(["a\u200bb", "ab"])}, "characters that nobody sees, such as 'a\\u200bb'"),
        ({"no": cycle([1.5, 2e300, 7])}, "beyond 3.4e+38"),
        ({"Size": cycle([1, 2, 7])}, "upper and lower case"),
    ],
)
def test_columns_that_are_no_features(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    product, _ = new(tmp_path, columns)
    [name] = columns
    assert reason in product.excluded[name]
    assert name not in product.feature_names


@pytest.mark.parametrize(
    ("name", "is_feature"),
    [("humid", True), ("bid", True), ("userid", False), ("user id", False), ("userId", False), ("ID", False)],
)
def test_identifiers_by_their_name(tmp_path: Path, name: str, is_feature: bool) -> None:
    product, _ = new(tmp_path, {name: cycle([1, 2, 7])})
    assert (name in product.feature_names) == is_feature
    assert is_feature or "identifier" in product.excluded[name]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["$1,234.50", "€12.00", "$7.25"], "numbers with a sign or a unit, such as '$1,234.50'"),
        (["5 kg", "12.5 lb", "70 kg"], "numbers with a sign or a unit, such as '5 kg'"),
        (["5%", "12.5%", "70%"], "'%' at each number is left out (source.format.signs)"),
        ([1.5, 2.5, 3.5, 9.0, -200], "-200 in 20.0% of the rows, the only number below 0"),
        ([1.5, 2.5, 3.5, 9.0, 999], "999 in 20.0% of the rows, far from all others"),
    ],
)
def test_what_a_person_should_check(tmp_path: Path, cells: list[Any], note: str) -> None:
    product, _ = new(tmp_path, {"thing": cycle(cells)})
    assert note in " ".join(product.file.read_text().replace("\n  #", "").split())


def test_numbers_with_a_currency_are_numbers(tmp_path: Path) -> None:
    """Also the target; a key stays text."""
    prices = [f"${value * 1000:,.2f}" for value in VALUES]
    keys = [f"{number}A" for number in range(ROWS)]
    fees = [f"{size} €" if number % 9 else "" for number, size in enumerate(SIZES)]
    columns = {"key": keys, "fee": fees, "share": [f"{grade}%" for grade in GRADES], "value": prices}
    product, proposal = new(tmp_path, columns, keys=("key",))
    assert product.sources[0].format.signs == {"fee": "€", "share": "%", "value": "$"}
    assert [(each.name, each.type, each.unit) for each in product.features] == [
        ("fee", "float", "€"),
        ("share", "int", "%"),
    ]
    assert (product.target.unit, product.entity.type) == ("$", "text")
    assert proposal.target.high == pytest.approx(1000 * VALUES.max())
    assert find_all(product).errors == []
    assert load_table(product).table["value"].to_pylist() == pytest.approx((1000 * VALUES).round(2))


def test_an_odd_target_is_named_at_the_terminal(tmp_path: Path) -> None:
    marked = [-200 if number % 10 == 0 else value for number, value in enumerate(np.abs(VALUES))]
    _, proposal = new(tmp_path, {"size": SIZES, "value": marked})
    assert any("value: -200 in 10.0% of the rows, the only number below 0" in note for note in proposal.notes)


def test_columns_that_add_up_to_the_target_may_miss_much(tmp_path: Path) -> None:
    """A linear model is then far better than a tree, so gaps cost it many times its error."""
    parts = RANDOM.uniform(0, 50, (4, ROWS))
    table = {f"part{number}": part for number, part in enumerate(parts)}
    product, _ = new(tmp_path, table | {"value": parts.sum(axis=0) + RANDOM.normal(0, 0.5, ROWS)})
    assert product.policy.promotion.max_missing_ratio > 10
    exact, _ = new(tmp_path, table | {"value": parts.sum(axis=0)})
    assert exact.policy.promotion.max_missing_ratio >= 1e12


def test_a_category_that_names_the_target_leaks_it(tmp_path: Path) -> None:
    """The check of the data refuses it, so a proposal must not make it a feature."""
    steps = np.round(VALUES / 8)
    product, _ = new(tmp_path, {"size": SIZES, "town": [f"town {step}" for step in steps], "value": steps})
    assert "leaks the target" in product.excluded["town"]
    assert find_all(product).errors == []


def test_a_strong_feature_is_no_leak(tmp_path: Path) -> None:
    """It ranks the rows nearly as the target does, and the target is not computed from it."""
    close = VALUES + RANDOM.normal(0, 3, ROWS)
    assert np.corrcoef(close, VALUES)[0, 1] > 0.95
    product, _ = new(tmp_path, {"close": close})
    assert "close" in product.feature_names


@pytest.mark.parametrize("keys", [(), ("meter",)])
def test_what_the_target_was_before_is_no_leak(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """Of meters whose levels differ, the value of an hour before tells nearly all of the target."""
    hours = np.repeat(np.arange(ROWS // 2), 2) if keys else np.arange(ROWS)
    times = [f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00" for hour in hours]
    meters = cycle(["a", "b"]) if keys else ["a"] * ROWS
    load = np.arange(ROWS) * 10 + VALUES
    step = 2 if keys else 1
    before = ["", "", *load[:-2]] if keys else ["", *load[:-1]]
    later = [*load[step:], *[""] * step]
    columns = {"meter": meters, "time": times, "size": SIZES, "before": before, "later": later, "value": load}
    product, _ = new(tmp_path, columns, keys=keys, time="time")
    assert "before" in product.feature_names
    assert "leaks the target" in product.excluded["later"]
    assert find_all(product).errors == []


def test_a_date_after_the_event_is_excluded(tmp_path: Path) -> None:
    sold, paid = cycle(["2020-01-31", "2020-03-01"]), cycle(["2020-04-01", "2020-05-01"])
    product, _ = new(tmp_path, {"sold": sold, "paid": paid}, time="sold")
    assert "later than sold" in product.excluded["paid"]
    assert (product.time.event, product.time.split) == ("sold", "time")


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"id": [f"u{number}" for number in range(ROWS)]}, ("text",)),
        ({"id": range(1, ROWS + 1)}, ("int64",)),
        ({"shop": [n // 10 for n in range(ROWS)], "sku": [f"k{n % 10}" for n in range(ROWS)]}, ("int64", "text")),
    ],
)
def test_keys(tmp_path: Path, columns: dict[str, Any], kinds: tuple[str, ...]) -> None:
    product, _ = new(tmp_path, columns, keys=tuple(columns))
    assert product.entity is not None
    assert product.entity.columns == tuple(zip(columns, kinds, strict=True))


def test_times_are_no_key_features(tmp_path: Path) -> None:
    """They are not compared with training, so a chart of them would stay empty."""
    hours = [f"2020-01-{1 + n // 24:02d} {n % 24:02d}:00" for n in range(ROWS)]
    load = SIZES / 10 + [50 * (n % 24 > 11) for n in range(ROWS)]
    product, _ = new(tmp_path, {"hour": hours, "size": SIZES, "value": load}, time="hour")
    assert product.key_features == ("size",)


def test_a_target_that_moves_on_with_time_has_limits_that_it_can_keep(tmp_path: Path) -> None:
    """Training holds out each block of time from what came before it, so the proposal must."""
    days = [f"{2020 + n // 336}-{n // 28 % 12 + 1:02d}-{n % 28 + 1:02d}" for n in range(ROWS)]
    product, proposal = new(tmp_path, {"day": days, "size": SIZES, "value": SIZES + np.arange(ROWS)}, time="day")
    assert proposal.r2 < 0.5, "no tree knows values to come"
    assert product.policy.promotion.min_coverage < 0.6
    assert product.policy.promotion.min_r2 <= max(proposal.r2, 0)
    assert any("newer rows are unlike the older ones" in note for note in proposal.notes)


def test_no_key_is_no_entity_and_its_candidates_are_named(tmp_path: Path) -> None:
    product, proposal = new(tmp_path, {"code": [f"u{number}" for number in range(ROWS)]})
    assert product.entity is None
    assert proposal.key_candidates == ("code",)
    assert "code" in product.file.read_text()


@pytest.mark.parametrize(
    ("columns", "wanted", "rule"),
    [
        ({"id": cycle([1, 2])}, {"keys": ("id",)}, "repeats"),
        ({"id": [1.5 * number for number in range(ROWS)]}, {"keys": ("id",)}, "whole numbers or text"),
        ({"id": ["", *range(1, ROWS)]}, {"keys": ("id",)}, "no value in 1 rows"),
        ({}, {"keys": ("sise",)}, "did you mean size?"),
        ({"day": cycle(["2019-01-01", "2039-01-01"])}, {"time": "day"}, "in the future"),
        ({"day": ["", *cycle(["2019-01-01", "2019-02-01"])[1:]]}, {"time": "day"}, "no value in 1 rows"),
        ({"day": ["2020-01-31", *cycle(["31.12.2020"])[1:]]}, {"time": "day"}, "changes its format in row 2"),
        ({}, {"time": "size"}, "must be dates"),
        ({"size": SIZES, "value": cycle(["a", "b"])}, {}, "must be numbers"),
        ({"size": SIZES, "value": [7] * ROWS}, {}, "nothing to predict"),
        ({"size": SIZES, "value": VALUES * 1e300}, {}, "beyond 3.4e+38"),
        ({"day": cycle(["05/02/14", "13/06/14"])}, {"time": "day"}, "by --format: {dates: {day: '%d/%m/%y'}}"),
        ({"value": VALUES}, {}, "no column is left"),
    ],
)
def test_what_is_refused(tmp_path: Path, columns: dict[str, Any], wanted: dict[str, Any], rule: str) -> None:
    assert rule in refused(tmp_path, columns, **wanted).rule
    assert not (tmp_path / "products").exists()


def test_too_few_rows_and_too_many_columns(tmp_path: Path) -> None:
    assert "at least 20" in refused(tmp_path, {"size": [1, 2], "value": [3, 4]}).rule
    many = {f"c{number}": [1] for number in range(5000)} | {"value": [2]}
    assert "at most 2000 features" in refused(tmp_path, many).rule


def test_the_parts_of_a_key_are_said_to_be_no_features(tmp_path: Path) -> None:
    places = {"place": GRADES, "number": range(ROWS), "size": SIZES}
    product, proposal = new(tmp_path, places | {"value": VALUES}, keys=("place", "number"))
    assert [feature.name for feature in product.features] == ["size"]
    assert any("of the key, place, number are no feature" in note for note in proposal.notes)


@pytest.mark.parametrize(("day", "enough"), [("2001-05-01", False), ("2025-05-01", True)])
def test_features_of_old_rows_are_served(tmp_path: Path, day: str, enough: bool) -> None:
    """A table of long ago is as good as another: its features must not be too old on the day it is brought."""
    days = np.datetime64(day) + np.arange(ROWS)
    product, _ = new(tmp_path, {"day": days, "key": range(ROWS)}, keys=("key",), time="day")
    assert (product.features_ttl_days == FEATURES_TTL_DAYS) == enough
    assert find_all(product).warnings == []
    short = msgspec.structs.replace(product, features_ttl_days=30)
    assert ("day", "is older than features_ttl_days (30) in 120 rows: by entity they are not served") in (
        find_all(short).warnings
    )


def test_rows_without_a_target_are_left_out_and_said(tmp_path: Path) -> None:
    gaps = [None if number % 10 == 4 else value for number, value in enumerate(VALUES)]
    product, proposal = new(tmp_path, {"size": SIZES, "grade": GRADES, "value": gaps})
    assert "12 rows have no value, and are not trained on" in proposal.notes
    assert "12 of 120 rows have none: not trained on." in product.file.read_text()
    most = [None] * 61 + list(VALUES[61:])
    error = refused(tmp_path, {"size": SIZES, "grade": GRADES, "value": most})
    assert (error.column, error.rule) == (
        "value",
        "is the target, and has no value in 61 of 120 rows; at most 50% may lack it (data.limits.null_share)",
    )


def test_unusual_marks_are_read_as_missing(tmp_path: Path) -> None:
    odd = ["unknown" if number % 20 == 0 else number / 7 for number in range(ROWS)]
    product, _ = new(tmp_path, {"odd": odd, "none": cycle(["NA", 1.5, 2.5])})
    assert product.sources[0].format.missing == ("", "NA", "unknown")
    assert [feature.type for feature in product.features if feature.name in {"odd", "none"}] == ["float", "float"]


def test_an_unusual_mark_leaves_the_usual_ones_and_levels_of_its_name(tmp_path: Path) -> None:
    """It is said for all columns, so the others' marks must be said too, and a level keeps its name."""
    odd = ["unknown" if number % 20 == 0 else number / 7 for number in range(ROWS)]
    dashed = ["-" if number % 9 == 0 else number / 3 for number in range(ROWS)]
    product, _ = new(tmp_path, {"odd": odd, "dashed": dashed, "kind": cycle(["unknown", "known"])})
    table = load_table(product).table
    assert [table[name].null_count for name in ("odd", "dashed", "kind")] == [6, 14, 0]
    assert find_all(product).errors == []


def test_a_header_that_is_half_a_row(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("".join(f"{'MFI'[n % 3]},{size}\n" for n, size in enumerate(SIZES)))
    [source] = parse_sources(tmp_path / "product.yaml", {"file": "table.csv"})
    with pytest.raises(DataError, match=r"\(header\): looks like a row \(M, "):
        read_raw(source)


def test_years_and_seasons_are_no_numbers_of_rows_and_no_months(tmp_path: Path) -> None:
    seasons = [f"{1980 + n % 19}-{81 + n % 19}" for n in range(ROWS)]
    product, _ = new(
        tmp_path, {"time": range(1900, 1900 + ROWS), "season": seasons, "month": cycle(["1999-11", "1999-12"])}
    )
    assert [(each.name, each.type) for each in product.features[2:]] == [
        ("time", "int"),
        ("season", "category"),
        ("month", "date"),
    ]


def test_ranges_never_cross_zero_and_units_come_from_names(tmp_path: Path) -> None:
    product, _ = new(
        tmp_path,
        {"cost_usd": cycle([100, 250, 900]), "share %": cycle([5.5, 70, 99]), "net (kg)": cycle([-3.5, 2, 8])},
    )
    of = {feature.name: feature for feature in product.features}
    assert of["cost_usd"].valid == (0, 1700)
    assert of["share %"].valid == (0, 100)
    assert of["net (kg)"].valid == (-15, 20)
    assert [of[name].unit for name in ("cost_usd", "share %", "net (kg)")] == ["USD", "%", "kg"]


def test_yaml_words_stay_text_for_every_reader(tmp_path: Path) -> None:
    """Names and levels that YAML 1.1 takes for booleans, nulls or numbers are quoted."""
    yaml = pytest.importorskip("yaml")
    words = ["yes", "no", "on", "1e3", "0", "12:30", "~x"]
    product, _ = new(tmp_path, {"null": cycle([1.5, 2, 7]), "no": cycle(words), "größe": cycle([1, 2, 7])})
    text = product.file.read_text()
    ours, others = read_yaml(product.file), yaml.safe_load(text)
    assert ours == others
    assert set(ours["features"]["no"]["levels"]) == set(words)


def test_limits_fit_the_data(tmp_path: Path) -> None:
    product, proposal = new(tmp_path, {"gaps": [1.5 if number % 2 else "" for number in range(ROWS - 1)] + [7]})
    assert product.data.rows.min == ROWS // 2
    assert product.data.limits.null_share == pytest.approx(0.6, abs=0.02)
    assert product.target.low is not None
    assert product.target.low < product.target.high < VALUES.max()
    assert 0 < product.policy.promotion.min_r2 < proposal.r2
    assert product.policy.quality.large_residual == proposal.large_residual
    assert 1.35 < product.policy.promotion.max_missing_ratio < 10, "size tells nearly all, so its gaps cost much"
    assert product.key_features[0] == "size"
    assert product.segments["value_band"].of == "prediction"


def test_a_duration_is_left_out(tmp_path: Path) -> None:
    """Also the check of the data reads none."""
    file = tmp_path / "table.parquet"
    columns = {"size": SIZES, "lasted": pa.array(range(ROWS), pa.duration("s")), "value": VALUES}
    pq.write_table(pa.table(columns), file)
    home = tmp_path / "products" / "goods"
    data = place_of(str(file), home)
    raw = read_raw(source_now(data, home))
    product = write_product(home, "goods", data, raw, propose(raw, Wanted("value")))
    assert "is of the type duration[s]" in product.excluded["lasted"]
    assert find_all(product).errors == []
