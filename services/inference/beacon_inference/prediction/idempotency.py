"""Retries: the ids that a client made for its rows, and what an earlier try under them was answered."""

import asyncio
import contextlib
from hashlib import sha256

from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Request
from beacon_inference.prediction.inputs import Ask
from beacon_inference.prediction.values import check_client_id
from beacon_inference.prediction_log.record import Record
from beacon_inference.prediction_log.shipper import PredictionLog

KEY_HEADER = "Idempotency-Key"
DATABASE_SECONDS = 1.0


def client_ids(request: Request, ask: Ask) -> list[str | None] | None:
    """Ids that the client made: its prediction ids, or its Idempotency-Key (later rows of a batch add their index)."""
    key = request.header(b"idempotency-key")
    if key is not None:
        key = key.strip('"')
        check_client_id(key, KEY_HEADER)
    if key is None or ask.prediction_ids is not None:
        return ask.prediction_ids
    rows = len(ask.matrix)
    if rows > 1:
        check_client_id(f"{key}.{rows - 1}", KEY_HEADER)
    return [key, *[f"{key}.{row}" for row in range(1, rows)]]


def question(ask: Ask, row: int) -> str:
    """sha256 of what was asked, so that a retry is told apart from another question under the same id."""
    entity = None if ask.entities is None else ask.entities[row]
    # Under one key a batch is one question; under ids of its own each row is.
    rows = len(ask.matrix) if ask.prediction_ids is None else 1
    return sha256(ask.matrix[row].tobytes() + repr((entity, rows)).encode()).hexdigest()


class Reserved:
    """Holds ids while their request is under way; a second request with one of them is told to wait."""

    def __init__(self, in_progress: set[str], ids: list[str | None]) -> None:
        self._in_progress = in_progress
        self._ids = {name for name in ids if name is not None}

    def __enter__(self) -> None:
        if self._ids & self._in_progress:
            raise BeaconError("request_in_progress", "a request with this id is under way", "prediction_id")
        self._in_progress |= self._ids

    def __exit__(self, *_: object) -> None:
        self._in_progress -= self._ids


async def find_earlier(log: PredictionLog, ids: list[str | None], ask: Ask) -> list[Record | None]:
    """Find the record that an earlier try left, for each row; None where there is none.

    Raises BeaconError `idempotency_conflict` when an id was used with other values. While the database is down only
    the spool can tell, and the database itself refuses the second record later.
    """
    names = [name for name in ids if name is not None]
    found = log.find_waiting(names)
    if len(found) < len(names):
        with contextlib.suppress(DatabaseUnavailableError, TimeoutError):
            found = await asyncio.wait_for(asyncio.to_thread(log.find, names), DATABASE_SECONDS)
    earlier = [None if name is None else found.get(name) for name in ids]
    for row, record in enumerate(earlier):
        if record is not None and (record.input_digests or [None])[0] != question(ask, row):
            field = KEY_HEADER if ask.prediction_ids is None else ask.id_path.format(row=row)
            raise BeaconError("idempotency_conflict", f"{ids[row]} was used before with other values", field)
    return earlier
