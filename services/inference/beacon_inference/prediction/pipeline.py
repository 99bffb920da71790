"""The pipeline of a prediction: validate -> lookup -> impute -> predict -> respond -> log.

Every protocol uses it, with a function of its own that parses the request and makes the response.
"""

from functools import partial
from urllib.parse import quote

import numpy as np

from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.features import merge, merge_texts
from beacon_core.domain.product import Product
from beacon_core.spool.record import Record
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Handler, Request, Response
from beacon_inference.matrix import Features, Mask
from beacon_inference.metrics import Instruments, Predicted, PredictionTelemetry
from beacon_inference.models.hot_swap import Models
from beacon_inference.models.model import Model
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.batching import MicroBatcher
from beacon_inference.prediction.encoding import ValueEncoder
from beacon_inference.prediction.feature_client import FeatureClient, StoreFeatures, look_up
from beacon_inference.prediction.idempotency import InFlightIds, client_ids, find_replays
from beacon_inference.prediction.imputation import impute
from beacon_inference.prediction.inputs import Protocol
from beacon_inference.prediction.output import output_of
from beacon_inference.prediction.prediction import Prediction, PredictionMeta, StageTimer, record_of
from beacon_inference.prediction.validation import ValidationRules
from beacon_inference.prediction_log.log import Logged, PredictionLog

SYNTHETIC_HEADER = "Beacon-Synthetic"
LONGEST_HEADER = 2000
EXPLAIN_ENDPOINT = "/v1/explain"
"""Requests that are explained are counted as this one: they take longer than predictions promise to."""
PLAIN = " ()/#&+$"
"""Characters of names that the header Beacon-Imputed has as they are, beside letters, digits and - . _ ~."""


class Pipeline:
    """The stages of a prediction and their dependencies; each stage fills a part of the prediction.

    `requests` counts those for predictions alone, which explanations must not slow down.
    """

    def __init__(
        self,
        models: Models,
        features: FeatureClient,
        log: PredictionLog,
        instruments: Instruments,
        access: AccessControl,
    ) -> None:
        self._rules = PerProduct(ValidationRules)
        self._encoders = PerProduct(ValueEncoder)
        self._models = models
        self._feature_client = features
        self._log = log
        self._instruments = instruments
        self._access = access
        self._in_flight = InFlightIds()
        self.requests = 0
        self._batcher = MicroBatcher(instruments.observe_model_run)
        self._shadow_batcher = MicroBatcher(lambda _: None)

    def handler(self, protocol: Protocol) -> Handler:
        """Make the route handler of a protocol."""
        return partial(self.run, protocol)

    async def run(self, protocol: Protocol, request: Request) -> Response:
        """Answer one request of any number of rows; raises BeaconError."""
        timer = StageTimer(request)
        prediction = self.validate(protocol, request)
        timer.end("validate")
        if prediction.explain is None:
            self.requests += 1
        else:
            self._access.check(request, "explain")
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
            records = self.respond(prediction)
            timer.end("respond")
            if prediction.explain is not None:
                await self.explain(prediction, records)
                timer.skip()
            logged = await self.log(prediction)
            timer.end("log")
        return self.with_headers(prediction, timer, logged=logged)

    def validate(self, protocol: Protocol, request: Request) -> Prediction:
        """Parse the request and check its values against the product that the model in service answers for."""
        telemetry = request.details = PredictionTelemetry(self._instruments, request.timings)
        if self._is_synthetic(request):
            telemetry.synthetic = True
        # Read once: a swap during a request must not mix two models, or two products.
        product, in_service = self._models.product, self._models.in_service
        prediction = Prediction(protocol(request, product), PredictionMeta(request, telemetry, product, in_service))
        self._access.take_rows(request, len(prediction.inputs.matrix))
        self._rules(product).check(prediction.inputs)
        prediction.meta.client_ids = client_ids(request, prediction.inputs)
        return prediction

    async def replay(self, prediction: Prediction) -> bool:
        """Find the rows that were answered before; True if all were, and then the response is the first one again."""
        meta = prediction.meta
        found = await find_replays(self._log, meta.client_ids or [], prediction.inputs)
        records = [record for record in found if record is not None]
        if len(records) == len(found):
            meta.telemetry.replayed = True
            if prediction.explain is not None:
                await self.explain(prediction, records)
            else:
                prediction.response = prediction.respond(records)
            return True
        meta.replays = found if records else None
        return False

    async def lookup(self, prediction: Prediction) -> None:
        """Merge the entities' store features into the request's; without them if feature serving is down.

        Raises BeaconError, for example `unknown_entity` and `model_not_ready`.
        """
        inputs = prediction.inputs
        stored = None if inputs.entities is None else await self._store_features(prediction)
        if stored is None:
            prediction.features = Features(inputs.matrix, None, inputs.texts)
        else:
            values, from_store = merge(inputs.matrix, stored.matrix)
            texts = merge_texts(inputs.texts, stored.texts, from_store)
            prediction.features = Features(values, from_store, texts)
        if prediction.meta.in_service is None:
            raise BeaconError("model_not_ready", "no model is in service yet")
        prediction.meta.models = prediction.meta.in_service

    def impute(self, prediction: Prediction) -> None:
        """Fill missing values; raises BeaconError when too few are known."""
        product, model = prediction.meta.product, prediction.meta.models.model
        impute(prediction.features, prediction.inputs, product, model, self._rules(product))

    async def predict(self, prediction: Prediction) -> None:
        """Run the model."""
        model = prediction.meta.models.model
        answers = await self._batcher.predict(model, prediction.features.rows)
        prediction.output = output_of(answers, model, self._rules(prediction.meta.product).target_bounds)

    async def shadow(self, prediction: Prediction, shadow: Model) -> None:
        """Run the shadow model; its failures are counted and never reach the client."""
        features = prediction.features
        try:
            rows = shadow.fill(shadow.rows_of(prediction.meta.product, features.values, features.texts))
            prediction.output.shadow = (await self._shadow_batcher.predict(shadow, rows)).values
        except Exception:  # noqa: BLE001 - the shadow's failures are its own
            self._instruments.shadow_failed()

    def respond(self, prediction: Prediction) -> list[Record]:
        """Make the record, and the response from the records that it returns.

        A row that was answered before keeps its first record. A response with explanations is made by `explain`.
        """
        replays = prediction.meta.replays
        record = record_of(prediction, self._encoders(prediction.meta.product))
        records = [record] if replays is None else [old or record.take([row]) for row, old in enumerate(replays)]
        prediction.record = record
        if prediction.explain is None:
            prediction.response = prediction.respond(records)
        return records

    async def explain(self, prediction: Prediction, records: list[Record]) -> None:
        """Make the response with explanations; raises BeaconError before anything is logged.

        It is no stage: the figures of predictions are without it, and so is the recorded latency.
        """
        assert prediction.explain is not None  # noqa: S101 - the caller asked
        prediction.meta.telemetry.explained_rows = len(prediction.inputs.matrix)
        prediction.meta.request.endpoint = EXPLAIN_ENDPOINT
        prediction.response = await prediction.explain(records)

    async def log(self, prediction: Prediction) -> Logged:
        """Append the record to the prediction log, and give telemetry its figures; whether it was logged."""
        meta, record = prediction.meta, prediction.record
        telemetry, replays, model = meta.telemetry, meta.replays, meta.models.model
        client = meta.request.client or ANONYMOUS
        predicted = Predicted(model, meta.product, prediction.output.prediction, prediction.features, client)
        telemetry.answered(predicted, record.ids[0])
        # A prober's request is not traffic: it must not count in the log, in drift or in the model's figures.
        if telemetry.synthetic:
            return "false"
        if replays is not None:
            record = record.take([row for row, old in enumerate(replays) if old is None])
        return await self._log.append(record, meta.product.policy.logging.share)

    def with_headers(self, prediction: Prediction, timer: StageTimer, *, logged: Logged) -> Response:
        """Add the headers that the answers of all protocols have."""
        response, missing = prediction.response, prediction.features.missing
        headers = [
            (b"beacon-model-version", prediction.record.version.encode()),
            (b"beacon-logged", logged.encode()),
            (b"server-timing", timer.server_timing()),
            *response.headers,
        ]
        if missing is not None:
            headers.append((b"beacon-imputed", _names_of(missing, prediction.meta.product)))
        return Response(response.body, response.status, response.content_type, headers)

    def _is_synthetic(self, request: Request) -> bool:
        """Whether a prober sent the request; it needs a key, if one is set, so that no client avoids the log."""
        value = request.header(b"beacon-synthetic")
        if value is None:
            return False
        if value != "true":
            raise BeaconError("invalid_body", "must be true or absent", SYNTHETIC_HEADER)
        self._access.check(request, "synthetic")
        return True

    async def _store_features(self, prediction: Prediction) -> StoreFeatures | None:
        """Features of the entities; None where feature serving is down and the request itself has enough."""
        inputs, meta = prediction.inputs, prediction.meta
        try:
            return await look_up(self._feature_client, meta.product, inputs, meta.request)
        except BeaconError as error:
            if error.code != "feature_store_unavailable":
                raise
            try:
                self._rules(meta.product).check_enough(~np.isnan(inputs.matrix), inputs)
            except BeaconError:
                raise error from None  # features are missing because of the store, not by the client's fault
            meta.telemetry.degraded = error.code
            return None


def _names_of(missing: Mask, product: Product) -> bytes:
    """The names of the features that were imputed in some row, for the header Beacon-Imputed.

    Percent signs, and characters that a header cannot hold, are escaped as in a URL. Too many names are cut off.
    """
    names = [product.feature_names[column] for column in np.flatnonzero(missing.any(axis=0))]
    shown = ", ".join(quote(name, safe=PLAIN) for name in names)
    if len(shown) > LONGEST_HEADER:
        shown = shown[:LONGEST_HEADER].rpartition(",")[0] + ", ..."
    return shown.encode()
