"""The output in parts: each is written in one step, so that a run that was stopped goes on where it was.

The parts lie in a folder, with facts.json: what they are made of, and when the run began. A run of other facts begins
anew. The last step brings all of them to the output, in one step as well (`outputs`).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from beacon_core.platform.files import draft_of, write_atomically

FACTS = "facts.json"


class ScoringFacts(msgspec.Struct, frozen=True):
    """What an output is made of; the digests are sha256. `rows` are those of an input that has no bytes, if known."""

    source: str
    bytes: int
    modified: float
    product: str
    schema_digest: str
    model_version: str
    model_sha256: str
    options: tuple[str, ...]
    query: str = ""
    rows: int = 0


class _State(msgspec.Struct, frozen=True):
    facts: ScoringFacts
    begun: float


class Parts:
    """The parts of one output; `done` of them are there from an earlier run of equal facts.

    `begun` is when that run began, in seconds since 1970, or `now`. Without `goes_on` nothing of an earlier run is
    taken.
    """

    def __init__(self, folder: Path, facts: ScoringFacts, now: float, *, goes_on: bool = True) -> None:
        self.facts = facts
        self._folder = folder
        earlier = self._read()
        if goes_on and earlier is not None and earlier.facts == facts:
            self.begun = earlier.begun
        else:
            self.begun = now
            shutil.rmtree(folder, ignore_errors=True)
            write_atomically(folder / FACTS, msgspec.json.encode(_State(facts, now)))
        self.done = 0
        while self._file(self.done).is_file():
            self.done += 1

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; they are numbered from 0."""
        with draft_of(self._file(number), durable=False) as draft:
            pq.write_table(table, draft)

    def schema(self) -> pa.Schema:
        """The columns of the parts; there is at least one."""
        return pq.read_schema(self._file(0))

    def tables(self, count: int) -> Iterator[pa.Table]:
        """Yield the first `count` parts."""
        for number in range(count):
            yield pq.read_table(self._file(number))

    def drop(self) -> None:
        """Remove the parts: they are in the output."""
        shutil.rmtree(self._folder)

    def _read(self) -> _State | None:
        try:
            return msgspec.json.decode((self._folder / FACTS).read_bytes(), type=_State)
        except (OSError, msgspec.MsgspecError):
            return None

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
