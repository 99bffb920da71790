"""The prediction: the object of one request, which the stages fill."""

import time
from collections.abc import Sequence

import numpy as np

from beacon_core.domain.api_keys import known_client
from beacon_core.domain.entity_key import key_text
from beacon_core.domain.ids import new_ids
from beacon_core.domain.product import Product
from beacon_core.observability.metrics import STAGES
from beacon_core.platform.clock import timestamp
from beacon_core.spool.block import FeatureBlock, Values
from beacon_core.spool.record import Record
from beacon_core.web.http import Request, Response
from beacon_inference.matrix import Features, Mask
from beacon_inference.metrics import PredictionTelemetry
from beacon_inference.models.hot_swap import ModelsInService
from beacon_inference.prediction.encoding import ValueEncoder
from beacon_inference.prediction.idempotency import input_digest
from beacon_inference.prediction.inputs import ParsedRequest, PredictionInputs
from beacon_inference.prediction.output import PredictionOutput

BLOCK_FROM = 10
"""From so many rows on, a record has its features by columns."""
SERVER_TIMING = ", ".join(f"{stage};dur=%.3f" for stage in STAGES).encode()


class PredictionMeta:
    """What belongs to a prediction beside its values: request, product, client ids, replays, models, telemetry."""

    models: ModelsInService
    # Per row, the client's id, and the record of an earlier request with this id; None where no row has one.
    client_ids: list[str | None] | None = None
    replays: list[Record | None] | None = None

    def __init__(
        self, request: Request, telemetry: PredictionTelemetry, product: Product, in_service: ModelsInService | None
    ) -> None:
        self.request = request
        self.telemetry = telemetry
        self.product = product
        self.in_service = in_service


class Prediction:
    """One request for predictions: validate fills `inputs`, lookup and impute `features`, predict `output`.

    respond fills `response` and `record`, which log appends to the prediction log.
    """

    __slots__ = ("explain", "features", "inputs", "meta", "output", "record", "respond", "response")

    features: Features
    output: PredictionOutput
    record: Record
    response: Response

    def __init__(self, parsed: ParsedRequest, meta: PredictionMeta) -> None:
        self.inputs: PredictionInputs = parsed.inputs
        self.respond = parsed.respond
        self.explain = parsed.explain
        self.meta = meta


class StageTimer:
    """Times the stages of one request."""

    def __init__(self, request: Request) -> None:
        self._timings = request.timings
        self._last = request.started

    def end(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self._timings.append((stage, now - self._last))
        self._last = now

    def skip(self) -> None:
        """Leave what was done since the last stage's end out of all stages."""
        self._last = time.perf_counter()

    def server_timing(self) -> bytes:
        """Format the stages for the header Server-Timing, in milliseconds."""
        return SERVER_TIMING % tuple([seconds * 1000 for _, seconds in self._timings])


def record_of(prediction: Prediction, encoder: ValueEncoder) -> Record:
    """Make the record of all rows, as the prediction log keeps it."""
    inputs, features, output, meta = prediction.inputs, prediction.features, prediction.output, prediction.meta
    request, client_ids, pin, shadow = meta.request, meta.client_ids, meta.models.model.pin, meta.models.shadow
    made = new_ids(len(output.prediction))
    return Record(
        ids=made if client_ids is None else [chosen or own for chosen, own in zip(client_ids, made, strict=True)],
        time=timestamp(),
        names=encoder.names,
        features=_values_of(features, encoder),
        prediction=output.prediction,
        low=output.low,
        high=output.high,
        version=pin.version,
        sha256=pin.sha256,
        latency=time.perf_counter() - request.started,
        request_id=request.id,
        trace_id=request.trace.trace_id,
        out_of_range={} if features.out_of_range is None else _columns_of(features.out_of_range),
        from_store=None if features.from_store is None else _columns_of(features.from_store),
        entities=None
        if inputs.entities is None
        else [None if key is None else key_text(key) for key in inputs.entities],
        shadow_version=None if shadow is None else shadow.pin.version,
        shadow=output.shadow,
        input_digests=None if client_ids is None else _input_digests(inputs, client_ids),
        client=known_client(request.client),
    )


def _input_digests(inputs: PredictionInputs, client_ids: Sequence[str | None]) -> list[str | None]:
    return [name and input_digest(inputs, row) for row, name in enumerate(client_ids)]


def _columns_of(mask: Mask) -> dict[int, list[int]]:
    """List the masked columns of each row that has one."""
    found: dict[int, list[int]] = {}
    for row, column in np.argwhere(mask).tolist():
        found.setdefault(row, []).append(column)
    return found


def _values_of(features: Features, encoder: ValueEncoder) -> list[Values] | FeatureBlock:
    """The merged values as clients have them."""
    if len(features.values) >= BLOCK_FROM:
        return encoder.block(features.values, features.texts)
    rows: list[Values] = features.values.tolist()
    if features.missing is not None:
        rows = [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN
    encoder.decode(rows, features.texts)
    return rows
