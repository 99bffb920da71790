"""The measurements of any table (`make bench-products`), on tables that take seconds."""

import re
from pathlib import Path

from any_table import checking, materialization
from any_table.proposed import propose
from any_table.tables import Table, drawn, without

ROWS = 400


def test_a_drawn_table_is_the_product_that_the_figures_name(tmp_path: Path) -> None:
    table = drawn(tmp_path, "texts", ROWS)
    product = propose(table, tmp_path)
    assert sorted(feature.type for feature in product.features) == ["category"] * 3 + ["float"] * 7
    assert product.keys == ("id",)
    numbers = without(table, product, ["text_0", "text_1", "text_2"], tmp_path)
    assert {feature.type for feature in propose(numbers, tmp_path).features} == {"float"}


def test_a_users_table_is_checked_and_materialized(tmp_path: Path) -> None:
    file = drawn(tmp_path, "mine", ROWS).file
    table = Table("mine", file, "target", "id")
    assert re.fullmatch(r"\d+ s, 0\.\d+ GiB", checking.measure(table, tmp_path / "check"))
    found = materialization.measure(table, tmp_path)
    assert re.fullmatch(r"[\d,]+/s, over rows that are there [\d,]+/s", found["sqlite"])
