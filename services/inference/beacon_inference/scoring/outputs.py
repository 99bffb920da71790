"""Where the predictions go: a Parquet or CSV file, or a table of a database. Each takes all of them in one step."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from beacon_core.domain.source import Source
from beacon_core.platform.files import draft_of
from beacon_core.sources.sql import has_table, write_table
from beacon_inference.scoring.parts import Parts

SUFFIXES = (".parquet", ".csv")
METADATA = b"beacon"
TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)
FOLDER = "scoring"
"""The folder, in the state's, of the parts of an output that is no file."""


class FileOutput(NamedTuple):
    """A file, whose parts lie beside it."""

    path: Path

    def folder(self, _home: Path) -> Path:
        """Where its parts lie."""
        return self.path.with_name(f".{self.path.name}.parts")

    def problem(self) -> str | None:
        """Why nothing can be written, if so."""
        if self.path.suffix not in SUFFIXES:
            return f"--out: {self.path.name} must end in {' or '.join(SUFFIXES)}"
        return None if self.path.parent.is_dir() else f"--out: the folder {self.path.parent} is not there"

    def exists(self) -> bool:
        """Whether something would be written over."""
        return self.path.exists()

    def write(self, parts: Parts, count: int) -> int:
        """Write `count` parts, and return the number of rows."""
        rows = 0
        with draft_of(self.path) as draft:
            schema = parts.schema().with_metadata({METADATA: msgspec.json.encode(parts.facts)})
            writer: pq.ParquetWriter | pyarrow.csv.CSVWriter
            is_csv = self.path.suffix == ".csv"
            writer = pyarrow.csv.CSVWriter(draft, schema) if is_csv else pq.ParquetWriter(draft, schema)
            with writer:
                for table in parts.tables(count):
                    writer.write_table(table.replace_schema_metadata(schema.metadata))
                    rows += len(table)
        return rows

    def __str__(self) -> str:
        return str(self.path)


class TableOutput(NamedTuple):
    """A table of a database; each row has the version of the model, too."""

    database: Source
    table: str

    def folder(self, home: Path) -> Path:
        """Where its parts lie."""
        name = hashlib.sha256(f"{self.database.place}\n{self.table}".encode()).hexdigest()[:16]
        return home / FOLDER / name

    def problem(self) -> str | None:
        """Why nothing can be written, if so."""
        if TABLE.fullmatch(self.table):
            return None
        return "--table: must name the table of the predictions, of letters, digits and _, after a schema's name if so"

    def exists(self) -> bool:
        """Whether something would be written over; raises `FetchError` or `FetchRefusedError`."""
        return has_table(self.database, self.table)

    def write(self, parts: Parts, count: int) -> int:
        """Write `count` parts in one transaction, in the place of the table, and return the number of rows."""
        version = parts.facts.model_version
        schema = parts.schema().remove_metadata().append(pa.field("model_version", pa.string()))
        return write_table(self.database, self.table, schema, _with_version(parts.tables(count), version))

    def __str__(self) -> str:
        return f"{self.table} of {self.database.name}"


Output = FileOutput | TableOutput


def output_of(out: str, table: str | None) -> Output:
    """The output that the arguments name."""
    if "://" in out:
        return TableOutput(Source(kind="sql", place=out, base=Path.cwd()), table or "")
    return FileOutput(Path(out))


def _with_version(tables: Iterator[pa.Table], version: str) -> Iterator[pa.Table]:
    for table in tables:
        yield table.append_column("model_version", pa.repeat(pa.scalar(version, pa.string()), len(table)))
