"""A prediction, start to end: validate -> lookup -> impute -> predict -> respond -> log.

Every protocol runs through here: it brings a `parse` and a `respond`, and nothing else.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.features import merge
from beacon_core.domain.ids import new_ids
from beacon_core.domain.precision import rounded
from beacon_core.domain.product import Product
from beacon_core.observability.metrics import STAGES
from beacon_core.platform.clock import timestamp
from beacon_core.web.http import Handler, Request, Response
from beacon_inference.matrix import Filled, Marks, Matrix, Merged
from beacon_inference.metrics import Instruments, Predicted
from beacon_inference.models.hot_swap import Models, Serving
from beacon_inference.prediction.api_key import check_api_key
from beacon_inference.prediction.batching import Rounds
from beacon_inference.prediction.feature_client import FeatureClient, looked_up
from beacon_inference.prediction.idempotency import Reserved, client_ids, find_earlier, question
from beacon_inference.prediction.imputation import impute
from beacon_inference.prediction.inputs import Ask
from beacon_inference.prediction.validation import Rules
from beacon_inference.prediction_log.record import Record
from beacon_inference.prediction_log.shipper import PredictionLog

SYNTHETIC_HEADER = "Beacon-Synthetic"
SERVER_TIMING = ", ".join(f"{stage};dur=%.3f" for stage in STAGES).encode()


class Protocol(NamedTuple):
    """One way to ask for predictions: how a request becomes rows, and records an answer, in the rows' order.

    One record holds all rows, unless some of them are a retry.
    """

    parse: Callable[[Request], Ask]
    respond: Callable[[Request, Sequence[Record]], Response]


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
        self._rounds = Rounds(instruments.model_took)
        self._shadow_rounds = Rounds(lambda _: None)

    def handler(self, protocol: Protocol) -> Handler:
        """Make the route handler of a protocol."""
        return partial(self.run, protocol)

    async def run(self, protocol: Protocol, request: Request) -> Response:
        """Answer one request, whatever number of rows it has; raises BeaconError."""
        clock = Clock(request)
        self._note_synthetic(request)
        ask = protocol.parse(request)
        self._rules.check(ask)
        ids = client_ids(request, ask)
        clock.lap("validate")
        if ids is None:
            return await self._predict(request, protocol, ask, None, clock)
        with Reserved(self._in_progress, ids):
            earlier = await find_earlier(self._log, ids, ask)
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
        stored = None if ask.entities is None else await self._look_up(request, ask)
        clock.lap("lookup")

        # Taken once: a swap in the middle of a request must not mix two models.
        serving = self._serving()
        model = serving.model
        merged = Merged(*merge(ask.matrix, stored))
        filled = impute(merged.values, ask, model, self._rules)
        clock.lap("impute")

        values = await self._rounds.predict(model, filled.rows)
        clock.lap("predict")
        shadow = await self._shadow(serving, filled.rows)

        record = fresh = self._record(request, ask, ids, serving, values, shadow, merged, filled)
        records = [record]
        if earlier is not None:
            fresh = record.take([row for row, known in enumerate(earlier) if known is None])
            records = [known or record.take([row]) for row, known in enumerate(earlier)]
        response = protocol.respond(request, records)
        clock.lap("respond")

        # A prober's question is no traffic: it must not enter the log, and so the drift, nor the model's figures.
        synthetic = "synthetic" in request.notes
        logged = not synthetic and self._log.append(fresh)
        clock.lap("log")
        predicted = None if synthetic else Predicted(model, record.prediction, filled)
        request.count = partial(self._instruments.count, request.timings, predicted)
        request.notes["model_version"] = model.pin.version
        request.notes["prediction_id"] = record.ids[0]
        headers = [
            (b"beacon-model-version", model.pin.version.encode()),
            (b"beacon-logged", b"true" if logged else b"false"),
            (b"server-timing", clock.server_timing()),
            *response.headers,
        ]
        if filled.missing is not None:
            headers.append((b"beacon-imputed", self._named(filled.missing)))
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

    def _named(self, missing: Marks) -> bytes:
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

    async def _shadow(self, serving: Serving, rows: Matrix) -> list[float] | None:
        """Ask the shadow model; whatever happens to it is logged and never reaches the client."""
        if serving.shadow is None:
            return None
        try:
            return await self._shadow_rounds.predict(serving.shadow, rows)
        except Exception:  # noqa: BLE001 - the shadow's failures are its own
            self._instruments.shadow_failed()
            return None

    def _record(
        self,
        request: Request,
        ask: Ask,
        ids: list[str | None] | None,
        serving: Serving,
        values: list[float],
        shadow: list[float] | None,
        merged: Merged,
        filled: Filled,
    ) -> Record:
        pin, interval = serving.model.pin, serving.model.manifest.interval
        least, most = self._product.target.valid
        if not all(map(math.isfinite, values)):
            raise BeaconError("internal", "the model's answer is not finite")
        prediction = rounded(values)
        low = rounded([value - interval.low for value in values])
        high = rounded([value + interval.high for value in values])
        # A model may say less or more than the target's valid range; the interval holds its answer all the same.
        if min(low) < least:
            low = [min(value, max(bound, least)) for value, bound in zip(prediction, low, strict=True)]
        if max(high) > most:
            high = [max(value, min(bound, most)) for value, bound in zip(prediction, high, strict=True)]
        made = new_ids(len(values))
        return Record(
            ids=made if ids is None else [chosen or own for chosen, own in zip(ids, made, strict=True)],
            time=timestamp(),
            features=_with_none(merged.values, filled.missing),
            prediction=prediction,
            low=low,
            high=high,
            version=pin.version,
            sha256=pin.sha256,
            latency=time.perf_counter() - request.started,
            request_id=request.id,
            trace_id=request.trace.trace_id,
            out_of_range={} if filled.outside is None else _columns_of(filled.outside),
            from_store=None if merged.from_store is None else _columns_of(merged.from_store),
            entities=ask.entities,
            shadow_version=None if serving.shadow is None else serving.shadow.pin.version,
            shadow=shadow,
            input_digests=None if ids is None else [name and question(ask, row) for row, name in enumerate(ids)],
        )


class Clock:
    """Times the stages of one request."""

    def __init__(self, request: Request) -> None:
        self._timings = request.timings
        self._last = request.started

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self._timings.append((stage, now - self._last))
        self._last = now

    def server_timing(self) -> bytes:
        """Word the stages for the header Server-Timing, in milliseconds."""
        return SERVER_TIMING % tuple([seconds * 1000 for _, seconds in self._timings])


def _columns_of(marks: Marks) -> dict[int, list[int]]:
    """List the marked columns of each row that has one."""
    found: dict[int, list[int]] = {}
    for row, column in np.argwhere(marks).tolist():
        found.setdefault(row, []).append(column)
    return found


def _with_none(matrix: Matrix, missing: Marks | None) -> list[list[float | None]]:
    rows: list[list[float | None]] = matrix.tolist()
    if missing is not None:
        return [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN
    return rows
