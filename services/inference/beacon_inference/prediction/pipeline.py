"""A prediction, start to end: validate -> lookup -> impute -> predict -> respond -> log.

Every protocol runs through here: it brings a function that parses the request and knows how to answer it.
"""

from functools import partial

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.features import merge
from beacon_core.domain.product import Product
from beacon_core.web.http import Handler, Request, Response
from beacon_inference.matrix import Features, Mask, Matrix
from beacon_inference.metrics import Instruments, PredictionTelemetry
from beacon_inference.models.hot_swap import Models
from beacon_inference.models.model import Model
from beacon_inference.prediction.api_key import check_api_key
from beacon_inference.prediction.batching import MicroBatcher
from beacon_inference.prediction.feature_client import FeatureClient, look_up
from beacon_inference.prediction.idempotency import InFlightIds, client_ids, find_replays
from beacon_inference.prediction.imputation import impute
from beacon_inference.prediction.inputs import Protocol
from beacon_inference.prediction.prediction import Prediction, PredictionMeta, StageTimer, output_of, record_of
from beacon_inference.prediction.validation import ValidationRules
from beacon_inference.prediction_log.shipper import PredictionLog

SYNTHETIC_HEADER = "Beacon-Synthetic"


class Pipeline:
    """The stages of a prediction and what they need; each stage fills a part of the prediction."""

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
        self._rules = ValidationRules(product)
        self._models = models
        self._feature_client = features
        self._log = log
        self._instruments = instruments
        self._api_key = api_key
        self._in_flight = InFlightIds()
        self._batcher = MicroBatcher(instruments.observe_model_run)
        self._shadow_batcher = MicroBatcher(lambda _: None)

    def handler(self, protocol: Protocol) -> Handler:
        """Make the route handler of a protocol."""
        return partial(self.run, protocol)

    async def run(self, protocol: Protocol, request: Request) -> Response:
        """Answer one request, whatever number of rows it has; raises BeaconError."""
        timer = StageTimer(request)
        prediction = self.validate(protocol, request)
        timer.end("validate")
        with self._in_flight.hold(prediction.meta.client_ids):
            if prediction.meta.client_ids is not None and await self.replay(prediction):
                return prediction.response
            await self.lookup(prediction)
            timer.end("lookup")
            self.impute(prediction)
            timer.end("impute")
            await self.predict(prediction)
            timer.end("predict")
            if prediction.meta.models.shadow is not None:
                await self.shadow(prediction, prediction.meta.models.shadow)
            self.respond(prediction)
            timer.end("respond")
            logged = self.log(prediction)
            timer.end("log")
        return self.with_headers(prediction, timer, logged=logged)

    def validate(self, protocol: Protocol, request: Request) -> Prediction:
        """Parse the request and check its values against product.yaml."""
        telemetry = request.details = PredictionTelemetry(self._instruments, request.timings)
        if self._is_synthetic(request):
            telemetry.synthetic = True
        prediction = Prediction(protocol(request), PredictionMeta(request, telemetry))
        self._rules.check(prediction.inputs)
        prediction.meta.client_ids = client_ids(request, prediction.inputs)
        return prediction

    async def replay(self, prediction: Prediction) -> bool:
        """Find the rows that were answered before; whether all were, and then the answer is that of before."""
        meta = prediction.meta
        found = await find_replays(self._log, meta.client_ids or [], prediction.inputs)
        records = [record for record in found if record is not None]
        if len(records) == len(found):
            meta.telemetry.replayed = True
            prediction.response = prediction.respond(records)
            return True
        meta.replays = found if records else None
        return False

    async def lookup(self, prediction: Prediction) -> None:
        """Merge the features of the entities into the request's; without them where the store is down."""
        inputs = prediction.inputs
        stored = None if inputs.entities is None else await self._store_features(prediction)
        prediction.features = Features(*merge(inputs.matrix, stored))
        # Taken once: a swap in the middle of a request must not mix two models.
        if self._models.in_service is None:
            raise BeaconError("model_not_ready", "no model is in service yet")
        prediction.meta.models = self._models.in_service

    def impute(self, prediction: Prediction) -> None:
        """Fill what is missing; raises BeaconError when too little is known."""
        impute(prediction.features, prediction.inputs, prediction.meta.models.model, self._rules)

    async def predict(self, prediction: Prediction) -> None:
        """Run the model."""
        model = prediction.meta.models.model
        values = await self._batcher.predict(model, prediction.features.rows)
        prediction.output = output_of(values, model, self._product.target.valid)

    async def shadow(self, prediction: Prediction, shadow: Model) -> None:
        """Run the shadow model; its failures are counted and never reach the client."""
        try:
            prediction.output.shadow = await self._shadow_batcher.predict(shadow, prediction.features.rows)
        except Exception:  # noqa: BLE001 - the shadow's failures are its own
            self._instruments.shadow_failed()

    def respond(self, prediction: Prediction) -> None:
        """Make the record and the answer; a row that was answered before keeps its record, and is not logged again."""
        replays, record = prediction.meta.replays, record_of(prediction)
        records = [record] if replays is None else [old or record.take([row]) for row, old in enumerate(replays)]
        prediction.record = record
        prediction.response = prediction.respond(records)

    def log(self, prediction: Prediction) -> bool:
        """Append the record to the prediction log, and hand telemetry what it counts; whether it is in the log."""
        meta, record = prediction.meta, prediction.record
        telemetry, replays, model = meta.telemetry, meta.replays, meta.models.model
        telemetry.answered(model, record.ids[0], prediction.output.prediction, prediction.features)
        # A prober's request is no traffic: it must not enter the log, and so the drift, nor the model's figures.
        if telemetry.synthetic:
            return False
        if replays is not None:
            record = record.take([row for row, old in enumerate(replays) if old is None])
        return self._log.append(record)

    def with_headers(self, prediction: Prediction, timer: StageTimer, *, logged: bool) -> Response:
        """Add the headers that every protocol's answer has."""
        response, missing = prediction.response, prediction.features.missing
        headers = [
            (b"beacon-model-version", prediction.record.version.encode()),
            (b"beacon-logged", b"true" if logged else b"false"),
            (b"server-timing", timer.server_timing()),
            *response.headers,
        ]
        if missing is not None:
            headers.append((b"beacon-imputed", self._names_of(missing)))
        return Response(response.body, response.status, response.content_type, headers)

    def _is_synthetic(self, request: Request) -> bool:
        """Whether a prober asks; where an API key is set it is needed, so that no client hides from the log."""
        value = request.header(b"beacon-synthetic")
        if value is None:
            return False
        if value != "true":
            raise BeaconError("invalid_body", "must be true, or absent", SYNTHETIC_HEADER)
        check_api_key(self._api_key, request.header(b"x-api-key"), request.header(b"authorization"))
        return True

    def _names_of(self, missing: Mask) -> bytes:
        """Name the features that some row lacks, for the protocols whose answers have no place for it."""
        return ", ".join(self._product.feature_names[column] for column in np.flatnonzero(missing.any(axis=0))).encode()

    async def _store_features(self, prediction: Prediction) -> Matrix | None:
        """Features of the entities; None where the store is down and the request itself has enough."""
        inputs, meta = prediction.inputs, prediction.meta
        try:
            return await look_up(self._feature_client, inputs, self._product.entity.key, meta.request)
        except BeaconError as error:
            if error.code != "feature_store_unavailable":
                raise
            try:
                self._rules.check_enough(~np.isnan(inputs.matrix), inputs)
            except BeaconError:
                raise error from None  # what is missing is missing because of the store: no fault of the client
            meta.telemetry.degraded = error.code
            return None
