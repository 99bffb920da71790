"""Tables that `beacon new` makes a product of, and what it makes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.sources.raw import read_raw
from beacon_retraining.proposal.propose import Proposal, Wanted, propose
from beacon_retraining.proposal.write import place_of, source_now, write_product

ROWS = 120
RANDOM = np.random.default_rng(1)
SIZES = RANDOM.normal(50, 10, ROWS).round(3)
GRADES = RANDOM.integers(0, 5, ROWS)
VALUES = (SIZES * 2 + GRADES * 3 + RANDOM.normal(0, 4, ROWS)).round(2)


def cycle(values: Sequence[Any]) -> list[Any]:
    return [values[number % len(values)] for number in range(ROWS)]


def new(folder: Path, columns: Mapping[str, Sequence[Any]], **wanted: Any) -> tuple[Product, Proposal]:
    """The product of a table with these columns beside `size`, `grade` and the target `value`."""
    table = {"size": SIZES, "grade": GRADES, **columns, "value": VALUES} if "value" not in columns else columns
    file = folder / "table.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    home = folder / "products" / "goods"
    data = place_of(str(file), home)
    raw = read_raw(source_now(data, home))
    proposal = propose(raw, Wanted("value", **wanted))
    return write_product(home, "goods", data, raw, proposal), proposal


def refused(folder: Path, columns: Mapping[str, Sequence[Any]], **wanted: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        new(folder, columns, **wanted)
    return caught.value
