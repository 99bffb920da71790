"""A large table as Parquet, drawn and written batch by batch from a fixed seed: its size costs no memory.

Twenty numbers, three of them with nulls, ten categories of 2 to 300 levels, a time per row, and a skewed target that
depends on most of them, with noise.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 50_000
NUMBERS = 20
LEVELS = (2, 3, 4, 6, 8, 12, 18, 40, 120, 300)
"""How many levels each category has."""
NULL_SHARE = 0.05
NULL_NUMBERS, NULL_CATEGORIES = 3, 2
NOISE = 0.25
FIRST, SECONDS_APART = datetime(2024, 1, 1, tzinfo=UTC), 30
SEED = 21
TARGET, TIME, KEY = "amount", "at", "id"


def write_large_table(file: Path, rows: int, *, key: bool = False) -> None:
    """Write the table; with a `key`, each row is an entity of its own."""
    with pq.ParquetWriter(file, _schema(key=key)) as writer:
        for batch in _batches(rows, key=key):
            writer.write_table(batch)


def _batches(rows: int, *, key: bool) -> Iterator[pa.Table]:
    effects = [np.random.default_rng(SEED).normal(0, 0.3, count) for count in LEVELS]
    for number, first in enumerate(range(0, rows, BATCH_ROWS)):
        random = np.random.default_rng((SEED, number))
        yield _batch(random, np.arange(first, min(first + BATCH_ROWS, rows)), effects, key=key)


def _batch(random: np.random.Generator, places: Any, effects: list[Any], *, key: bool) -> pa.Table:
    count = len(places)
    numbers = random.normal(0, 1, (NUMBERS, count))
    codes = [random.integers(0, levels, count) for levels in LEVELS]
    logarithm = 0.4 * numbers[0] + 0.3 * np.sin(2 * numbers[1]) + 0.2 * numbers[2] * numbers[3]
    logarithm += sum(numbers[at] / (at + 6) for at in range(4, NUMBERS))
    logarithm += sum(own[code] for own, code in zip(effects, codes, strict=True))
    logarithm += random.normal(0, NOISE, count)
    columns: dict[str, Any] = {KEY: places + 1} if key else {}
    seconds = int(FIRST.timestamp()) + places * SECONDS_APART
    columns[TIME] = pa.array(seconds * 1_000_000, pa.timestamp("us", "UTC"))
    for at, values in enumerate(numbers):
        missing = random.random(count) < NULL_SHARE if at < NULL_NUMBERS else None
        columns[f"number_{at}"] = pa.array((50 + 10 * values).round(3), mask=missing)
    for at, own in enumerate(codes):
        missing = random.random(count) < NULL_SHARE if at < NULL_CATEGORIES else None
        texts = pa.array([f"level {number}" for number in range(LEVELS[at])])
        columns[f"category_{at}"] = texts.take(pa.array(own, mask=missing))
    columns[TARGET] = np.exp(4 + logarithm).round(2)
    return pa.table(columns, schema=_schema(key=key))


def _schema(*, key: bool) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {KEY: pa.int64()} if key else {}
    kinds |= {TIME: pa.timestamp("us", "UTC")}
    kinds |= {f"number_{at}": pa.float64() for at in range(NUMBERS)}
    kinds |= {f"category_{at}": pa.string() for at in range(len(LEVELS))}
    return pa.schema(list((kinds | {TARGET: pa.float64()}).items()))
