"""What a store of the prediction log must be able to do.

A store is a module, or an object, with these functions. Its handle is what it reads by: for `sql` a connection of the
database, whose transaction is the caller's.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from beacon_core.data.evidence import EVERYTHING
from beacon_core.domain.policy import Evidence
from beacon_core.domain.value_rules import Value

BATCH = 10_000
"""So many rows are in memory at once."""


class LoggedPrediction(NamedTuple):
    """A row as it is read. A feature that had no value is not there."""

    id: str
    time: datetime
    entity: str | None
    features: dict[str, Value]
    from_store: list[str] | None
    imputed: list[str]
    out_of_range: list[str]
    prediction: float
    low: float
    high: float
    model_version: str
    model_sha256: str
    shadow_version: str | None
    shadow_prediction: float | None
    latency_seconds: float
    request_id: str
    trace_id: str | None
    input_digest: str | None
    client: str | None


class LogSlice(msgspec.Struct, frozen=True):
    """Some rows: made in [since, until), by a version, that count, that used stored features, logged since a moment."""

    since: datetime | None = None
    until: datetime | None = None
    model_version: str | None = None
    evidence: Evidence = EVERYTHING
    looked_up: bool = False
    logged_since: datetime | None = None


class ForgottenRow(NamedTuple):
    """What is known of a row after it is gone: its id, and which model answered when."""

    id: str
    time: datetime
    model_version: str


Handle_contra = TypeVar("Handle_contra", contravariant=True)


class Readable(Protocol[Handle_contra]):
    """What answers questions about the log. Rows come back by the time of the prediction, then by id."""

    def find(self, handle: Handle_contra, ids: Sequence[str], /) -> list[LoggedPrediction]:
        """Find those of the predictions that are there."""

    def of_entity(
        self, handle: Handle_contra, entity: str, /, *, since: datetime | None = None
    ) -> Iterator[list[LoggedPrediction]]:
        """Yield the predictions of an entity, in batches."""

    def scan(
        self,
        handle: Handle_contra,
        rows: LogSlice,
        columns: Sequence[str],
        /,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        size: int = BATCH,
    ) -> Iterator[list[Any]]:
        """Yield those columns of the rows, in batches of tuples; a `limit` bounds all of them together."""

    def count(self, handle: Handle_contra, rows: LogSlice, /) -> int:
        """Count the rows."""


class LogStore(Readable[Handle_contra], Protocol[Handle_contra]):
    """A store of the log, which deletes, too."""

    def forget(
        self, handle: Handle_contra, /, *, entity: str | None = None, ids: Sequence[str] = (), most: int
    ) -> list[ForgottenRow]:
        """Delete at most so many of the rows of the entity, or of those with these ids; an empty list ends it."""

    def expire(self, handle: Handle_contra, before: datetime, most: int, /) -> int:
        """Delete at most so many of the rows made before a moment, the oldest first; 0 ends it."""
