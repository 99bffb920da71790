"""Values become numbers of the matrix and values again, and each broken rule is named."""

import math
from typing import Any

import pytest

from beacon_core.domain.value_rules import ValueRuleError, ValueRules, other_code

TEXT = ValueRules(type="category", levels=("low", "high", "é"))
NUMBERS = ValueRules(type="category", levels=(0.5, 1, 24))
OTHER = ValueRules(type="category", levels=("low", "high"), unseen="other")
MANY = ValueRules(type="category", levels="many")
BOOL = ValueRules(type="bool")
INT = ValueRules(type="int", valid=(0, None))
DATE = ValueRules(type="date", valid=("2000-01-01", None))
TIME = ValueRules(type="timestamp")


@pytest.mark.parametrize(
    ("rules", "value", "number", "again"),
    [
        (ValueRules(), 0.1, 0.1, 0.1),
        (ValueRules(), 7, 7.0, 7.0),
        (INT, 17.0, 17.0, 17.0),
        (BOOL, True, 1.0, True),
        (BOOL, 0, 0.0, False),
        (TEXT, "low", 0.0, "low"),
        (TEXT, " high ", 1.0, "high"),
        (TEXT, "e\u0301", 2.0, "é"),
        (NUMBERS, 0.5, 0.5, 0.5),
        (NUMBERS, 24, 24.0, 24.0),
        (DATE, "1970-01-02", 1.0, "1970-01-02"),
        (DATE, "1969-12-31", -1.0, "1969-12-31"),
        (TIME, "1970-01-01T01:00:00+01:00", 0.0, "1970-01-01T00:00:00Z"),
        (TIME, "2026-01-31T12:00:00.25Z", 1769860800.25, "2026-01-31T12:00:00.250000Z"),
    ],
)
def test_a_value_becomes_a_number_and_a_value_again(rules: ValueRules, value: Any, number: float, again: Any) -> None:
    assert rules.to_number(value) == number
    found = rules.to_value(number)
    assert (found, type(found)) == (again, type(again))


def test_a_missing_value_is_nan_and_none() -> None:
    for rules in (ValueRules(), BOOL, TEXT, MANY, DATE, TIME):
        assert math.isnan(rules.to_number(None))
        assert rules.to_value(math.nan) is None


def test_a_text_beside_the_matrix_is_the_value() -> None:
    assert OTHER.to_number("medium") == OTHER.other == 2.0
    assert OTHER.keeps_text(2.0)
    assert not OTHER.keeps_text(1.0)
    assert OTHER.to_value(2.0, "medium") == "medium"
    assert MANY.to_number("a") == MANY.to_number(" a") != MANY.to_number("b")
    assert MANY.keeps_text(MANY.to_number("a"))


def test_the_number_of_many_levels_is_exact_and_the_same_everywhere() -> None:
    assert MANY.to_number("Zürich") == 1978311591491485.0
    assert all(MANY.to_number(str(n)) < 2**52 for n in range(1000))


@pytest.mark.parametrize(
    ("rules", "value", "code", "rule"),
    [
        (ValueRules(), "7", "invalid_type", "must be a number or null, not a string"),
        (ValueRules(nullable=False), True, "invalid_type", "must be a number, not a boolean"),
        (ValueRules(), math.inf, "not_finite", "must be finite"),
        (ValueRules(), 10**400, "not_finite", "must be finite"),
        (INT, 2.5, "invalid_type", "must be a whole number such as 5, -17.0 or 1e3, is 2.5"),
        (INT, -1, "out_of_valid_range", "must be at least 0, is -1"),
        (BOOL, "true", "invalid_type", "must be true or false or null"),
        (BOOL, 2, "invalid_type", "must be true or false or null"),
        (TEXT, "Low", "unknown_category", "must be one of low, high, é, is 'Low'"),
        (TEXT, 1, "invalid_type", "must be text or null, not a number"),
        (TEXT, "x" * 300, "invalid_type", "must be at most 256 characters"),
        (NUMBERS, 2, "unknown_category", "must be one of 0.5, 1, 24, is 2"),
        (NUMBERS, "1", "invalid_type", "must be a number or null, not a string"),
        (DATE, "1999-12-31", "out_of_valid_range", "must be at least 2000-01-01, is 1999-12-31"),
        (DATE, "31.12.1999", "invalid_type", "must be a date such as 2026-01-31 or null"),
        (TIME, "2026-01-31T12:00:00", "invalid_type", "needs a time zone, such as a trailing Z"),
        (TIME, 7, "invalid_type", "must be a timestamp such as 2026-01-31T12:00:00Z or null"),
        (ValueRules(nullable=False), None, "invalid_type", "must not be null"),
    ],
)
def test_a_broken_rule_is_named(rules: ValueRules, value: Any, code: str, rule: str) -> None:
    assert rules.problem(value) == (code, rule)


def test_of_many_known_levels_the_nearest_is_named() -> None:
    rules = ValueRules(type="category", levels=tuple(f"level{n}" for n in range(500)))
    found = rules.problem("Level17x")
    assert found is not None
    assert found.rule == "must be one of 500 known levels, is 'Level17x'; did you mean level17?"


def test_a_number_that_is_neither_true_nor_false_breaks_a_rule() -> None:
    assert BOOL.problem_of_number(1.0) is BOOL.problem_of_number(0.0) is None
    assert BOOL.problem_of_number(0.5) == ("invalid_type", "must be true or false or null")


def test_an_open_range_has_no_bound() -> None:
    assert ValueRules(valid=(None, 5)).bounds == (-math.inf, 5.0)
    assert ValueRules().bounds == (-math.inf, math.inf)
    assert DATE.bounds == (10957.0, math.inf)


def test_the_number_of_an_unseen_level_is_nobody_elses() -> None:
    assert other_code(("a", "b")) == 2.0
    assert other_code((0, 1, 24)) == 25.0
    with pytest.raises(ValueRuleError):
        TEXT.to_number("other")
