"""What the lake costs: rows per second and core, bytes per row, look-ups, erasure and expiry in a table of any size.

The rows are those of a product's own table, drawn at random, with ids, times, latencies and predictions as inference
makes them. What is timed is processor time for what a core does, and time on the clock for what a person waits for.
A table in `--folder` that is there already is measured again, not made anew.
"""

import argparse
import gc
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.lake import Lake, LakePlace, SpoolBlock, commits, files
from beacon_core.data.prediction_log.lake.blocks import microseconds, table_of_records
from beacon_core.data.prediction_log.lake.columns import feature_of
from beacon_core.domain.entity_key import key_text
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_core.sources.rows import read_rows
from beacon_core.spool.record import Record, decode_records, encode_record
from beacon_prediction_log import garbage

LIMIT_ROWS, LIMIT_BYTES, LIMIT_FIND, LIMIT_ERASURE = 100_000, 120.0, 0.05, 300.0
BLOCK_ROWS = 50_000
"""Rows of a commit: what half a minute brings at 1,700 predictions per second."""
PART_ROWS = 1 << 20
DRAWN_ROWS = 1 << 16
"""Rows of the large table that are drawn; they come again with other ids, times and entities."""
LOOKUPS = 100
ENTITIES = 100_000
KNOWN = "known-ids.json"
"""Some ids of the large table, which is written when it is whole."""
ERASED = "erased:4711"
"""An entity whose name is nowhere else, so that a search of all bytes can tell that it is gone."""
ERASED_EACH = 1 << 16
"""One row of so many is its, so that it is in every file."""
NOON = datetime(2026, 3, 1, tzinfo=UTC)
FIGURE = "| {} | {} |"


def main() -> None:
    """Measure the parts and print a row of a table for each figure."""
    parser = argparse.ArgumentParser(prog="make bench-lake", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large table")
    parser.add_argument("--days", type=int, default=10, help="days that they are spread over")
    parser.add_argument("--appended", type=int, default=500_000, help="rows that are appended as a shipper does")
    parser.add_argument("--noise", action="store_true", help="give each number digits of its own, as sensors do")
    parser.add_argument("--folder", type=Path, help="where the lakes are; default: a folder that goes afterwards")
    given = parser.parse_args()
    # As the log's process does: looking for garbage among so many records that are none costs more than decoding them.
    gc.freeze()
    garbage.look_between_chunks()
    product = load_product(load_settings().product)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="beacon-lake-"))
    print(f"Product {product.name}, {len(product.features)} features.\n\n| figure | value |\n| --- | --- |")
    try:
        draw = Draws(product, noise=given.noise)
        for rows in (1, 100, 1000):
            _append(folder / f"append-{rows}", draw, given.appended, rows)
        _large(folder / "large", draw, given.rows, given.days)
    finally:
        if given.folder is None:
            shutil.rmtree(folder)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")


class Draws:
    """Records as inference spools them, of rows drawn from the product's table."""

    def __init__(self, product: Product, *, noise: bool) -> None:
        self._random = random.Random(7)
        rows = read_rows(product)
        self._names = product.feature_names
        self._rows = [[row.get(name) for name in self._names] for row in rows]
        self._noise = noise
        self._next = 0

    def record(self, moment: datetime, rows: int) -> Record:
        """The predictions of one request; no two have the same id."""
        chance = self._random
        features = chance.choices(self._rows, k=rows)
        if self._noise:
            features = [[self._noisy(value) for value in row] for row in features]
        ids = [self._id(moment) for _ in range(rows)] if rows == 1 else self._ids(moment, rows)
        answers = [round(chance.lognormvariate(3, 0.4), 4) for _ in range(rows)]
        return Record(
            ids=ids, time=moment.timestamp(), names=self._names, features=features, prediction=answers,
            low=[round(each * 0.81, 4) for each in answers], high=[round(each * 1.23, 4) for each in answers],
            version="17", sha256="ab" * 32, latency=chance.lognormvariate(-6, 0.5), request_id=self._id(moment),
            trace_id=f"{chance.getrandbits(128):032x}", client="shop",
            entities=[key_text((chance.randrange(ENTITIES),)) for _ in range(rows)],
        )  # fmt: skip

    def lines(self, count: int, rows: int) -> Iterator[bytes]:
        """Blocks of whole lines of a spool."""
        per_block = max(1, BLOCK_ROWS // rows)
        for begin in range(0, count, per_block * rows):
            records = [
                self.record(NOON + timedelta(seconds=(begin + at * rows) / 1000), rows) for at in range(per_block)
            ]
            yield b"".join(encode_record(record) + b"\n" for record in records)

    def _noisy(self, value: Any) -> Any:
        return value * self._random.uniform(0.9, 1.1) if isinstance(value, float) else value

    def _id(self, moment: datetime) -> str:
        return f"{microseconds(moment) // 1000:012x}{self._random.getrandbits(80):020x}"

    def _ids(self, moment: datetime, rows: int) -> list[str]:
        stem = self._id(moment)[:-4]
        return [f"{stem}{at:04x}" for at in range(rows)]


@contextmanager
def _opened(folder: Path) -> Iterator[Lake]:
    found = lake.open_lake(LakePlace(str(folder / "lake"), f"sqlite:///{folder / 'catalog.db'}"))
    try:
        yield found
    finally:
        found.close()


def _append(folder: Path, draw: Draws, count: int, rows: int) -> None:
    """As a shipper: a spool's lines are decoded, and each block is committed."""
    spent, taken, at = 0.0, 0, 0
    with _opened(folder) as found:
        for lines in draw.lines(count, rows):
            began = time.process_time()
            done = lake.append_records(found, decode_records(lines), SpoolBlock("bench", 1, at, at + len(lines)))
            garbage.look()
            spent += time.process_time() - began
            taken, at = taken + done.rows, at + len(lines)
        unjoined = _bytes(folder) / taken
        began = time.process_time()
        lake.keep_up(found, datetime.now(UTC), timedelta(0))
        joining = (time.process_time() - began) / taken
    rate = taken / spent
    _figure(f"appended, {rows} rows a request", f"{rate:,.0f} rows/s per core", rate >= LIMIT_ROWS)
    _figure("the same, joining of files included", f"{1 / (spent / taken + joining):,.0f} rows/s per core")
    size = _bytes(folder) / taken
    _figure(
        f"on disk, {rows} rows a request",
        f"{size:.1f} bytes a row ({unjoined:.1f} before joining)",
        size <= LIMIT_BYTES,
    )


def _large(folder: Path, draw: Draws, count: int, days: int) -> None:
    with _opened(folder) as found:
        known = folder / KNOWN
        if not known.exists():
            known.write_bytes(msgspec.json.encode(_fill(found, draw, count, days)))
        ids = msgspec.json.decode(known.read_bytes(), type=list[str])
        print(
            FIGURE.format(
                "rows, files, GB", f"{count:,}, {len(list(folder.rglob('*.parquet')))}, {_bytes(folder) / 1e9:.2f}"
            )
        )
        chance = random.Random(11)
        found.load()
        spent = time.process_time()
        own = [_timed(lambda: _found(found, chance.choice(ids))) for _ in range(LOOKUPS)]
        spent = (time.process_time() - spent) / LOOKUPS
        median, slowest = statistics.median(own), max(own)
        shown = f"{median * 1000:.1f} ms, slowest of {LOOKUPS} {slowest * 1000:.0f} ms, {spent * 1000:.1f} ms of a core"
        _figure("find by id", shown, median <= LIMIT_FIND)
        client = [f"order-{at}" for at in range(LOOKUPS)]
        _append_clients(found, draw, client, days)
        others = [_timed(lambda name=name: _found(found, name)) for name in client]  # type: ignore[misc]
        _figure(
            "find by a client's id", f"{statistics.median(others) * 1000:.1f} ms, slowest {max(others) * 1000:.0f} ms"
        )
        middle = NOON + timedelta(days=days // 2)
        seconds = _timed(lambda: _scan(found, LogSlice(since=middle, until=middle + timedelta(hours=1))))
        _figure("scan of an hour, two columns", f"{seconds:.2f} s")
        with lake.begin(found) as handle:
            (own_entity,) = [one.entity for one in lake.find(handle, [ids[len(ids) // 2]])]
        assert own_entity is not None
        for what, entity in (("an entity", own_entity), ("an entity that is in every file", ERASED)):
            rows, seconds, spent = _timed_with_core(lambda of=entity: _count_entity(found, of))  # type: ignore[misc]
            _figure(f"the {rows} predictions of {what}", f"{seconds:.1f} s, {spent:.1f} s of a core")
            if rows:  # an earlier run has erased those of the second
                _, seconds, spent = _timed_with_core(lambda of=entity: _erase(found, of))  # type: ignore[misc]
                shown = f"{seconds:.1f} s, {spent:.1f} s of a core"
                _figure(f"erasure of {what}", shown, seconds <= LIMIT_ERASURE)
        there, seconds, _ = _timed_with_core(lambda: _files_with(folder, ERASED))
        _figure("files that have its name in any byte or cell", f"{there} ({seconds:.0f} s)", there == 0)
        _figure("expiry of a day", f"{_timed(lambda: _expire(found, NOON + timedelta(days=1))):.2f} s")


def _fill(found: Lake, draw: Draws, count: int, days: int) -> list[str]:
    """Write the table file by file; some ids that are in it."""
    drawn = table_of_records([draw.record(NOON, 1) for _ in range(min(count, DRAWN_ROWS))], NOON)
    template = pa.concat_tables([drawn] * -(-min(count, PART_ROWS) // len(drawn))).slice(0, PART_ROWS).combine_chunks()
    table = found.evolve([name for name in template.column_names if feature_of(name)])
    rng = np.random.default_rng(7)
    step = timedelta(days=days) / count
    known: list[str] = []
    for begin in range(0, count, PART_ROWS):
        size = min(PART_ROWS, count - begin)
        times = microseconds(NOON + step * begin) + (np.arange(size) * (step / timedelta(microseconds=1))).astype(
            np.int64
        )
        heads = [f"{moment:012x}" for moment in (times // 1000).tolist()]
        order = rng.permutation(len(template))[:size]
        tails = rng.bytes(10 * size).hex()
        names = [head + tails[20 * at : 20 * at + 20] for at, head in enumerate(heads)]
        known += names[:: max(1, size // 100)]
        part = template.take(pa.array(order)).set_column(
            template.column_names.index("id"), "id", pa.array(names, pa.large_string())
        )
        part = part.set_column(part.column_names.index("time"), "time", pa.array(times).cast(pa.timestamp("us", "UTC")))
        entities = [str(each) for each in rng.integers(0, max(1, count // 20), size).tolist()]
        entities[ERASED_EACH // 2 :: ERASED_EACH] = [ERASED] * len(entities[ERASED_EACH // 2 :: ERASED_EACH])
        part = part.set_column(part.column_names.index("entity"), "entity", pa.array(entities, pa.large_string()))
        commits.commit(table, added=files.write_days(table, part))
        table = found.load()
    return known


def _append_clients(found: Lake, draw: Draws, names: list[str], days: int) -> None:
    for at in range(10):
        record = draw.record(NOON + timedelta(days=days) * at / 10, len(names) // 10)
        ids = [f"order-{at * len(names) // 10 + each}" for each in range(len(names) // 10)]
        lake.append_records(found, [msgspec.structs.replace(record, ids=ids)])


def _found(found: Lake, name: str) -> None:
    with lake.begin(found) as handle:
        (one,) = lake.find(handle, [name])
        assert one.id == name


def _scan(found: Lake, rows: LogSlice) -> None:
    with lake.begin(found) as handle:
        sum(map(len, lake.scan_tables(handle, rows, ["prediction", "model_version"], size=100_000)))


def _count_entity(found: Lake, entity: str) -> int:
    with lake.begin(found) as handle:
        return sum(map(len, lake.of_entity(handle, entity)))


def _erase(found: Lake, entity: str) -> int:
    with lake.begin(found) as handle:
        rows = len(lake.forget(handle, entity=entity, most=1 << 30))
    lake.end_snapshots(found, datetime.now(UTC), timedelta(0))
    return rows


def _expire(found: Lake, before: datetime) -> None:
    with lake.begin(found) as handle:
        assert lake.expire(handle, before, 1 << 62)


def _timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _timed_with_core(action: Callable[[], int]) -> tuple[int, float, float]:
    """What it found, seconds on the clock, and of a core."""
    began, spent = time.perf_counter(), time.process_time()
    found = action()
    return found, time.perf_counter() - began, time.process_time() - spent


def _files_with(folder: Path, name: str) -> int:
    """How many files have the name, in a byte of theirs or, as pages are compressed, in a cell."""
    there = 0
    for path in folder.rglob("*"):
        if path.is_file():
            is_there = _has_bytes(path, name.encode())
            if path.suffix == ".parquet" and not is_there:
                cells = pq.ParquetFile(path)
                texts = [
                    field.name
                    for field in cells.schema_arrow
                    if pa.types.is_large_string(field.type) or pa.types.is_string(field.type)
                ]
                is_there = any(
                    pc.any(pc.match_substring(column, name)).as_py()
                    for batch in cells.iter_batches(PART_ROWS, columns=texts)
                    for column in batch.columns
                )
            there += is_there
    return there


def _has_bytes(path: Path, name: bytes) -> bool:
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 24):
            if name in before + chunk:
                return True
            before = chunk[-len(name) :]
    return False


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _figure(name: str, value: str, holds: bool | None = None) -> None:
    verdict = "" if holds is None else (" (holds)" if holds else " (over the limit)")
    print(FIGURE.format(name, value + verdict), flush=True)


if __name__ == "__main__":
    main()
