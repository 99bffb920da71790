"""Idempotency: a client's ids for its rows, and the replay of the first answer to each of them."""

import contextlib
from collections.abc import Iterator, Sequence
from hashlib import sha256

from beacon_core.domain.errors import BeaconError
from beacon_core.spool.record import Record
from beacon_core.web.http import Request
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.values import check_client_id
from beacon_inference.prediction_log.client import LogUnavailableError
from beacon_inference.prediction_log.log import PredictionLog

KEY_HEADER = "Idempotency-Key"
LOG_SECONDS = 1.0
"""How long a prediction waits for the log's process, which may have an earlier answer to its id."""


def client_ids(request: Request, inputs: PredictionInputs) -> list[str | None] | None:
    """The client's ids per row: its prediction ids, or its Idempotency-Key (later rows of a batch add an index).

    None where it sent neither. Raises BeaconError `invalid_id`.
    """
    key = request.header(b"idempotency-key")
    if key is not None:
        key = key.strip('"')
        check_client_id(key, KEY_HEADER)
    if key is None or inputs.prediction_ids is not None:
        return inputs.prediction_ids
    rows = len(inputs.matrix)
    if rows > 1:
        check_client_id(f"{key}.{rows - 1}", KEY_HEADER)
    return [key, *[f"{key}.{row}" for row in range(1, rows)]]


def input_digest(inputs: PredictionInputs, row: int) -> str:
    """sha256 of a row's inputs, which distinguishes a retry from another request with the same id."""
    entity = None if inputs.entities is None else inputs.entities[row]
    # With an Idempotency-Key a batch is one request; with prediction ids each row is.
    rows = len(inputs.matrix) if inputs.prediction_ids is None else 1
    texts = [(column, text) for (at, column), text in inputs.texts.items() if at == row]
    others = (entity, rows, sorted(texts)) if texts else (entity, rows)
    return sha256(inputs.matrix[row].tobytes() + repr(others).encode("utf-8", "replace")).hexdigest()


class InFlightIds:
    """Ids of requests in progress; a second request with one of them gets 409 and may be retried."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def hold(self, ids: Sequence[str | None] | None) -> contextlib.AbstractContextManager[None]:
        """Hold the ids of one request; raises BeaconError `request_in_progress` when another holds one of them."""
        return NOTHING_HELD if ids is None else self._hold({name for name in ids if name is not None})

    @contextlib.contextmanager
    def _hold(self, ids: set[str]) -> Iterator[None]:
        if ids & self._ids:
            raise BeaconError("request_in_progress", "a request with this id is in progress", "prediction_id")
        self._ids |= ids
        try:
            yield
        finally:
            self._ids -= ids


NOTHING_HELD = contextlib.nullcontext()


async def find_replays(log: PredictionLog, ids: Sequence[str | None], inputs: PredictionInputs) -> list[Record | None]:
    """Find the record that an earlier request left, for each row; None where there is none.

    Raises BeaconError `idempotency_conflict` when an id was used with other values. While the log's process is away
    nothing is found; the database itself ignores a second record with the same id later.
    """
    found: dict[str, Record] = {}
    with contextlib.suppress(LogUnavailableError):
        asked = await log.find([name for name in ids if name is not None], seconds=LOG_SECONDS)
        found = asked.records
    replays = [None if name is None else found.get(name) for name in ids]
    for row, record in enumerate(replays):
        if record is not None and (record.input_digests or [None])[0] != input_digest(inputs, row):
            field = KEY_HEADER if inputs.prediction_ids is None else inputs.id_path.format(row=row)
            raise BeaconError("idempotency_conflict", f"{ids[row]} was used before with other values", field)
    return replays
