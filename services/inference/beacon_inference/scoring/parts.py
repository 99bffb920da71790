"""The output in parts: each is written in one step, so that a run that was stopped goes on where it was.

The parts lie in a folder beside the output, with facts.json: what they were made of. A run of other facts begins anew.
The last step joins them to the output, in one step as well.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from beacon_core.platform.files import draft_of, write_atomically

FACTS = "facts.json"
METADATA = b"beacon"


class ScoringFacts(msgspec.Struct, frozen=True):
    """What an output is made of; the digests are sha256."""

    source: str
    bytes: int
    modified: float
    product: str
    schema_digest: str
    model_version: str
    model_sha256: str
    options: tuple[str, ...]


class Parts:
    """The parts of one output; `done` of them are there from an earlier run of equal facts."""

    def __init__(self, out: Path, facts: ScoringFacts) -> None:
        self._out = out
        self._facts = facts
        self._folder = out.with_name(f".{out.name}.parts")
        file = self._folder / FACTS
        if not file.is_file() or file.read_bytes() != msgspec.json.encode(facts):
            shutil.rmtree(self._folder, ignore_errors=True)
            write_atomically(file, msgspec.json.encode(facts))
        self.done = 0
        while self._file(self.done).is_file():
            self.done += 1

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; they are numbered from 0."""
        with draft_of(self._file(number), durable=False) as draft:
            pq.write_table(table, draft)

    def join(self, count: int) -> int:
        """Join `count` parts to the output, remove them, and return the number of rows."""
        rows = 0
        with draft_of(self._out) as draft:
            schema = pq.read_schema(self._file(0)).with_metadata({METADATA: msgspec.json.encode(self._facts)})
            writer: pq.ParquetWriter | pyarrow.csv.CSVWriter
            is_csv = self._out.suffix == ".csv"
            writer = pyarrow.csv.CSVWriter(draft, schema) if is_csv else pq.ParquetWriter(draft, schema)
            with writer:
                for table in self._tables(count):
                    writer.write_table(table.replace_schema_metadata(schema.metadata))
                    rows += len(table)
        shutil.rmtree(self._folder)
        return rows

    def _tables(self, count: int) -> Iterator[pa.Table]:
        for number in range(count):
            yield pq.read_table(self._file(number))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
