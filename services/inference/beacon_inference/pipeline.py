"""A prediction, start to end: validate -> lookup -> impute -> predict -> respond -> log.

Every protocol runs through here: it brings a `parse` and a `respond`, and nothing else.
"""

import asyncio
import math
import time
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from beacon_core.clock import timestamp
from beacon_core.errors import BeaconError
from beacon_core.ids import new_ids
from beacon_core.metrics import STAGES
from beacon_core.product import Product
from beacon_core.serving.http import Handler, Request, Response
from beacon_inference.api_key import check_api_key
from beacon_inference.ask import Ask, Matrix, any_true
from beacon_inference.database import DatabaseDown
from beacon_inference.instruments import Instruments
from beacon_inference.lookup import FeatureClient, looked_up
from beacon_inference.models import Models, Serving
from beacon_inference.native import check_client_id
from beacon_inference.prediction_log import PredictionLog
from beacon_inference.record import Record
from beacon_inference.validate import Rules

KEY_HEADER = "Idempotency-Key"
SYNTHETIC_HEADER = "Beacon-Synthetic"
NONE: list[int] = []
NO_HEADERS: tuple[tuple[bytes, bytes], ...] = ()
SERVER_TIMING = ", ".join(f"{stage};dur=%.3f" for stage in STAGES).encode()


class Protocol(NamedTuple):
    """One way to ask for predictions: how a request becomes rows, and records an answer."""

    parse: Callable[[Request], Ask]
    respond: Callable[[Request, list[Record]], Response]


class Pipeline:
    """The stages of a prediction and what they need."""

    def __init__(
        self,
        product: Product,
        models: Models,
        features: FeatureClient,
        log: PredictionLog,
        instruments: Instruments,
        api_key: str,
    ) -> None:
        self._product = product
        self._rules = Rules(product)
        self._models = models
        self._features = features
        self._log = log
        self._instruments = instruments
        self._api_key = api_key
        self._in_progress: set[str] = set()

    def handler(self, protocol: Protocol) -> Handler:
        """Make the route handler of a protocol."""

        async def handle(request: Request) -> Response:
            return await self.run(request, protocol)

        return handle

    async def run(self, request: Request, protocol: Protocol) -> Response:
        """Answer one request, whatever number of rows it has; raises BeaconError."""
        clock = Clock(request)
        self._note_synthetic(request)
        ask = protocol.parse(request)
        self._rules.check(ask)
        ids = _client_ids(request, ask)
        clock.lap("validate")
        if ids is None:
            return await self._predict(request, protocol, ask, None, clock)
        with _Reserved(self._in_progress, ids):
            earlier = await self._earlier(ids, ask)
            replayed = [record for record in earlier if record is not None]
            if len(replayed) == len(ids):
                request.notes["replayed"] = True
                return protocol.respond(request, replayed)
            return await self._predict(request, protocol, ask, ids, clock, earlier if replayed else None)

    async def _predict(
        self,
        request: Request,
        protocol: Protocol,
        ask: Ask,
        ids: list[str | None] | None,
        clock: "Clock",
        earlier: list[Record | None] | None = None,
    ) -> Response:
        """Predict every row; where `earlier` has a record, that one is the answer and is not logged again."""
        given, served = ask.matrix, None
        if ask.entities is not None:
            served = await self._look_up(request, ask)
        matrix = given if served is None else np.where(np.isnan(given), served, given)
        clock.lap("lookup")

        # Taken once: a swap in the middle of a request must not mix two models.
        serving = self._serving()
        model = serving.model
        missing = np.isnan(matrix)
        rows, imputed = matrix, NO_HEADERS
        if any_true(missing):
            self._rules.check_enough(~missing, ask)
            rows = np.where(missing, model.fill, matrix)
            imputed = ((b"beacon-imputed", self._named(missing)),)
        outside = (rows < model.low) | (rows > model.high)
        clock.lap("impute")

        complete = rows.astype(np.float32)
        values = model.predict(complete)
        seconds = clock.lap("predict")
        shadow = self._shadow(serving, complete)

        records = fresh = self._records(request, ask, ids, serving, values, shadow, served, outside)
        if earlier is not None:
            fresh = [record for record, known in zip(records, earlier, strict=True) if known is None]
            records = [known or record for record, known in zip(records, earlier, strict=True)]
        response = protocol.respond(request, records)
        clock.lap("respond")

        # A prober's question is no traffic: it must not enter the log, and so the drift, nor the model's figures.
        synthetic = "synthetic" in request.notes
        logged = not synthetic and self._log.append(fresh)
        clock.lap("log")
        self._instruments.model_latency.observe(seconds)
        if not synthetic:
            self._instruments.predicted(model, values, missing, outside, rows)
        clock.observe(self._instruments)
        request.notes["model_version"] = model.pin.version
        request.notes["prediction_id"] = records[0].id
        headers = (
            (b"beacon-model-version", model.pin.version.encode()),
            (b"beacon-logged", b"true" if logged else b"false"),
            (b"server-timing", clock.server_timing()),
            *imputed,
            *response.headers,
        )
        return Response(response.body, response.status, response.content_type, headers)

    def _note_synthetic(self, request: Request) -> None:
        """Mark a prober's request; where an API key is set it is asked for, so that no client hides from the log."""
        given = request.header(b"beacon-synthetic")
        if given is None:
            return
        if given != "true":
            raise BeaconError("invalid_body", "must be true, or absent", SYNTHETIC_HEADER)
        check_api_key(self._api_key, request.header(b"x-api-key"), request.header(b"authorization"))
        request.notes["synthetic"] = True

    def _named(self, missing: "np.typing.NDArray[np.bool_]") -> bytes:
        """Name the features that some row lacks, for the protocols whose answers have no place for it."""
        return ", ".join(self._product.feature_names[column] for column in np.flatnonzero(missing.any(axis=0))).encode()

    def _serving(self) -> Serving:
        serving = self._models.serving
        if serving is None:
            raise BeaconError("model_not_ready", "no model is in service yet")
        return serving

    async def _look_up(self, request: Request, ask: Ask) -> Matrix | None:
        """Features of the entities; None where the store is down and the request itself has enough."""
        try:
            return await looked_up(self._features, ask, self._product.entity.key, request)
        except BeaconError as error:
            if error.code != "feature_store_unavailable":
                raise
            try:
                self._rules.check_enough(~np.isnan(ask.matrix), ask)
            except BeaconError:
                raise error from None  # what is missing is missing because of the store: no fault of the client
            request.notes["degraded"] = error.code
            return None

    def _shadow(self, serving: Serving, rows: "np.typing.NDArray[np.float32]") -> list[float] | None:
        """Ask the shadow model; whatever happens to it is logged and never reaches the client."""
        if serving.shadow is None:
            return None
        try:
            return serving.shadow.predict(rows)
        except Exception:  # noqa: BLE001 - the shadow's failures are its own
            self._instruments.shadow_failed()
            return None

    def _records(
        self,
        request: Request,
        ask: Ask,
        ids: list[str | None] | None,
        serving: Serving,
        values: list[float],
        shadow: list[float] | None,
        served: Matrix | None,
        outside: "np.typing.NDArray[np.bool_]",
    ) -> list[Record]:
        model = serving.model
        interval, (least, most) = model.manifest.interval, self._product.target.valid
        now = timestamp()
        latency = time.perf_counter() - request.started
        given = _with_none(ask.matrix)
        stored = None if served is None else _with_none(served)
        columns_outside = _columns_outside(outside)
        made = new_ids(len(values))
        records = []
        for row, value in enumerate(values):
            if not -math.inf < value < math.inf:
                raise BeaconError("internal", "the model's answer is not finite")
            chosen = None if ids is None else ids[row]
            # A model may say less or more than the target's valid range; the interval holds its answer all the same.
            low, high = value - interval.low, value + interval.high
            if low < least:
                low = min(value, least)
            if high > most:
                high = max(value, most)
            records.append(
                Record(
                    id=chosen or made[row],
                    time=now,
                    given=given[row],
                    prediction=round(value, 5),
                    low=round(low, 5),
                    high=round(high, 5),
                    version=model.pin.version,
                    sha256=model.pin.sha256,
                    latency=latency,
                    request_id=request.id,
                    trace_id=request.trace.trace_id,
                    outside=columns_outside.get(row, NONE),
                    served=None if stored is None else stored[row],
                    entity=None if ask.entities is None else ask.entities[row],
                    shadow_version=None if serving.shadow is None else serving.shadow.pin.version,
                    shadow=None if shadow is None else shadow[row],
                    body_sha256=None if chosen is None else _fingerprint(ask, row),
                )
            )
        return records

    async def _earlier(self, ids: list[str | None], ask: Ask) -> list[Record | None]:
        """Find the record that an earlier try left, for each row; None where there is none.

        Raises BeaconError `idempotency_conflict` when an id was used with other values. While the database is down only
        the spool can tell, and the database itself refuses the second record later.
        """
        found: list[Record | None] = []
        database_answers = True
        for row, name in enumerate(ids):
            record = None if name is None else self._log.find_waiting(name)
            if name is not None and record is None and database_answers:
                try:
                    record = await asyncio.wait_for(asyncio.to_thread(self._log.find, name), timeout=1.0)
                except (DatabaseDown, TimeoutError):
                    database_answers = False
            if record is not None and record.body_sha256 != _fingerprint(ask, row):
                field = KEY_HEADER if ask.prediction_ids is None else ask.id_path.format(row=row)
                raise BeaconError("idempotency_conflict", f"{name} was used before with other values", field)
            found.append(record)
        return found


class Clock:
    """Times the stages of one request."""

    def __init__(self, request: Request) -> None:
        self._timings = request.timings
        self._last = request.started

    def lap(self, stage: str) -> float:
        """End a stage; seconds it took."""
        now = time.perf_counter()
        seconds = now - self._last
        self._timings.append((stage, seconds))
        self._last = now
        return seconds

    def observe(self, instruments: Instruments) -> None:
        """Put the stages into the histogram."""
        for stage, seconds in self._timings:
            instruments.stages[stage].observe(seconds)

    def server_timing(self) -> bytes:
        """Word the stages for the header Server-Timing, in milliseconds."""
        return SERVER_TIMING % tuple([seconds * 1000 for _, seconds in self._timings])


class _Reserved:
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


def _client_ids(request: Request, ask: Ask) -> list[str | None] | None:
    """Ids that the client made: its prediction ids, or its Idempotency-Key (later rows of a batch add their index)."""
    if ask.prediction_ids is not None:
        return ask.prediction_ids
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    key = key.strip('"')
    check_client_id(key, KEY_HEADER)
    rows = len(ask.matrix)
    if rows > 1:
        check_client_id(f"{key}.{rows - 1}", KEY_HEADER)
    return [key, *[f"{key}.{row}" for row in range(1, rows)]]


def _fingerprint(ask: Ask, row: int) -> str:
    """sha256 of what was asked, so that a retry is told apart from another question under the same id."""
    entity = None if ask.entities is None else ask.entities[row]
    # Under one key a batch is one question; under ids of its own each row is.
    rows = len(ask.matrix) if ask.prediction_ids is None else 1
    return sha256(ask.matrix[row].tobytes() + repr((entity, rows)).encode()).hexdigest()


def _columns_outside(outside: "np.typing.NDArray[np.bool_]") -> dict[int, list[int]]:
    """List the marked columns of each row that has one."""
    found: dict[int, list[int]] = {}
    if any_true(outside):
        for row, column in np.argwhere(outside).tolist():
            found.setdefault(row, []).append(column)
    return found


def _with_none(matrix: Matrix) -> list[list[float | None]]:
    rows: list[list[float | None]] = matrix.tolist()
    if any_true(np.isnan(matrix)):
        return [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN
    return rows
