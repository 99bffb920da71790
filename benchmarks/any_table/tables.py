"""Tables for the measurements: a user's own, or one drawn from a fixed seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from beacon_core.domain.product import Product
from beacon_core.sources.table import load_table

LEVELS = tuple(f"level {number}" for number in range(12))
NUMBERS, TEXTS = 7, 3
NOISE = 0.3
SEED = 20


class Table(NamedTuple):
    """A file, and what a person says of it to `beacon new`."""

    name: str
    file: Path
    target: str
    key: str = ""
    time: str = ""

    @property
    def options(self) -> Sequence[str]:
        """The options of `beacon new`."""
        options = ["--data", str(self.file), "--target", self.target]
        return [*options, *(["--key", self.key] if self.key else []), *(["--time", self.time] if self.time else [])]


def drawn(folder: Path, name: str, rows: int, numbers: int = NUMBERS, texts: int = TEXTS) -> Table:
    """A table with a key, so many features of each kind, and a target that all of them tell, with noise.

    The texts tell most of it. Without texts the numbers are the same.
    """
    random = np.random.default_rng(SEED)
    columns: dict[str, Any] = {"id": random.permutation(rows) + 1}
    target = random.normal(100, NOISE, rows)
    for number in range(numbers):
        columns[f"number_{number}"] = values = random.normal(50, 10, rows).round(3)
        target += values / 10 / (number + 1)
    for number in range(texts):
        codes = random.integers(0, len(LEVELS), rows)
        columns[f"text_{number}"] = pa.DictionaryArray.from_arrays(codes, LEVELS).cast(pa.string())
        target += codes / (number + 1)
    columns["target"] = target.round(4)
    return _write(Table(name, folder / f"{name}.csv", "target", "id"), pa.table(columns))


def without(table: Table, product: Product, features: Sequence[str], folder: Path) -> Table:
    """The table, as the product reads it, without these columns."""
    columns = load_table(product).table.drop_columns(features)
    return _write(table._replace(name=f"{table.name}-numbers", file=folder / "numbers.csv"), columns)


def _write(table: Table, columns: pa.Table) -> Table:
    csv.write_csv(columns, table.file)
    return table
