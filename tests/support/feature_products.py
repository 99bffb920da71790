"""Products with keys, times and types of every kind, and their tables as retraining has them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from beacon_core.domain.product import Product, parse_product

ROWS = 40
FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = ("fine", "größer", "no way", None)
LONG = 2**62 + 1
"""A key that a float would round."""


class TableProduct(NamedTuple):
    """A product, and the rows of its table."""

    product: Product
    rows: pd.DataFrame


def mixed() -> TableProduct:
    """A text key, an event time, a feature of each type with names of all characters, and a figure of the past."""
    features: dict[str, Any] = {
        "size (cm)": {"valid": [0, None], "example": 1.5},
        "count.of-parts": {"type": "int", "valid": [0, 9007199254740993]},
        "is new": {"type": "bool"},
        "größe": {"type": "category", "levels": ["fine", "größer", "no way"], "unseen": "other"},
        "owner": {"type": "category", "levels": "many"},
        "grade": {"type": "category", "levels": [1, 2, 5]},
        "1st day": {"type": "date", "valid": ["1970-01-01", None]},
        "seen": {"type": "timestamp"},
        "must": {"nullable": False},
        "mean size": {"derived": {"lag": "size (cm)", "days": 30, "of": "mean"}},
        "last price": {"derived": {"lag": "price", "days": 9, "of": "last"}},
    }
    product = _product(
        features,
        entity={"name": "item", "key": "sku", "type": "text"},
        time={"event": "at"},
        features_ttl_days=36500,
    )
    days = [FIRST + timedelta(days=row) for row in range(ROWS)]
    rows = pd.DataFrame(
        {
            "sku": [f"S {row % 10}-ü" for row in range(ROWS)],
            "at": pd.Series(days).astype("datetime64[us, UTC]"),
            "size (cm)": [None if row == 3 else 1.25 * row for row in range(ROWS)],
            "count.of-parts": [float(row) for row in range(ROWS)],
            "is new": pd.array([None if row == 5 else row % 2 == 0 for row in range(ROWS)], "boolean"),
            "größe": [KINDS[row % 4] for row in range(ROWS)],
            "owner": [f"o'{row * 7 % 13}" for row in range(ROWS)],
            "grade": [(1.0, 2.0, 5.0)[row % 3] for row in range(ROWS)],
            "1st day": pd.Series([day.replace(tzinfo=None, hour=0) for day in days]).astype("datetime64[us]"),
            "seen": pd.Series([day + timedelta(microseconds=7) for day in days]).astype("datetime64[us, UTC]"),
            "must": [float(row) for row in range(ROWS)],
            "price": [100.0 + row for row in range(ROWS)],
        }
    )
    return TableProduct(product, rows)


def composite() -> TableProduct:
    """A key of a 64-bit number and a text, and no times."""
    features: dict[str, Any] = {
        "size": {},
        "open": {"type": "bool"},
        "kind": {"type": "category", "levels": ["a", "b"]},
    }
    entity = {"name": "shelf", "key": ["store", "sku"], "type": {"store": "int64", "sku": "text"}}
    product = _product(features, entity=entity, features_ttl_days=1)
    rows = pd.DataFrame(
        {
            "store": [LONG + row // 2 for row in range(ROWS)],
            "sku": [f"{row % 2}" for row in range(ROWS)],
            "size": [0.5 * row for row in range(ROWS)],
            "open": pd.array([row % 3 == 0 for row in range(ROWS)], "boolean"),
            "kind": [("a", "b")[row % 2] for row in range(ROWS)],
            "price": [100.0 + row for row in range(ROWS)],
        }
    )
    return TableProduct(product, rows)


def dated() -> TableProduct:
    """A key that is a date, which is the event time and a feature too."""
    entity = {"name": "day", "key": "day", "type": "text"}
    product = _product({"day": {"type": "date"}, "size": {}}, entity=entity, time={"event": "day"})
    days = pd.Series([FIRST + timedelta(days=row) for row in range(ROWS)]).dt.tz_localize(None).dt.normalize()
    rows = pd.DataFrame(
        {
            "day": days.astype("datetime64[us]"),
            "size": [0.5 * row for row in range(ROWS)],
            "price": [100.0 + row for row in range(ROWS)],
        }
    )
    return TableProduct(product, rows)


def numbered() -> TableProduct:
    """A table without a key of its own."""
    product = _product({"size": {}, "kind": KIND}, entity=ROW_NUMBER)
    rows = pd.DataFrame(
        {
            "row": range(1, ROWS + 1),
            "size": [row * 11 % 17 + 0.01 * row for row in range(ROWS)],
            "kind": [("a", "b")[row % 2] for row in range(ROWS)],
            "price": [100.0 + row for row in range(ROWS)],
        }
    )
    return TableProduct(product, rows)


def without_entity() -> TableProduct:
    """A table whose rows are of nothing that could be asked for again."""
    given = numbered()
    product = _product({"size": {}, "kind": KIND}, entity="none")
    return TableProduct(product, given.rows.drop(columns="row"))


KIND = {"type": "category", "levels": ["a", "b"]}
ROW_NUMBER = {"name": "thing", "key": "row", "row_number": True}


def _product(features: dict[str, Any], **sections: Any) -> Product:
    raw = {"name": "things", "source": {"file": "things.csv"}, "target": {"name": "price"}, "features": features}
    return parse_product(Path("/nowhere/product.yaml"), raw | sections, lambda _file: None)
