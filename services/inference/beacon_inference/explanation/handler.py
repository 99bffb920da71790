"""Explanations on request: POST /v1/explain, V1's :explain, and `explain` of Open Inference's /infer.

A request has features or an entity, as /v1/predict takes them, or `rows` of them, or the `prediction_id` of a logged
prediction, which is explained by the model that made it. The stages of a prediction read the rows; then the process
that explains has them. An explanation is no prediction: nothing of it is logged as one. V1's rows are explained in the
same way. With /infer the explanation comes beside a prediction, which is logged as any other.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.release import package_folder
from beacon_core.platform.clock import timestamp
from beacon_core.platform.settings import Settings
from beacon_core.spool.block import Values
from beacon_core.spool.record import Record
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Request, Response, encode_json
from beacon_inference.explanation.explained import Explained, responses_of
from beacon_inference.explanation.job import Answer, Job
from beacon_inference.explanation.logged import Packages, filled, rows_of
from beacon_inference.explanation.process import ExplainerProcess
from beacon_inference.explanation.turns import Turns
from beacon_inference.metrics import Instruments
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.encoding import ValueEncoder
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS, ParsedRequest, Protocol
from beacon_inference.prediction.pipeline import Pipeline
from beacon_inference.prediction.prediction import Prediction
from beacon_inference.prediction_log.log import PredictionLog
from beacon_inference.protocols.messages import ExplanationResponse, ExplanationsResponse, V1ExplanationsResponse
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.table import TableParser
from beacon_inference.protocols.v1 import v1

ID_ALONE = "send either a prediction_id alone, or features, an entity or rows"


class ExplanationDetails:
    """What the log line and the span say of a request for explanations."""

    def __init__(self, pin: Pin, rows: int, prediction_id: str | None) -> None:
        self._fields = {
            "model_version": pin.version,
            "explained_rows": rows,
            **({} if prediction_id is None else {"prediction_id": prediction_id}),
        }

    def log_fields(self) -> dict[str, Any]:
        """The model, how many rows, and the logged prediction that was explained."""
        return self._fields

    def count(self) -> None:
        """Explanations are counted when they are made."""


class Explanations:
    """Answers requests for explanations."""

    def __init__(
        self,
        settings: Settings,
        access: AccessControl,
        pipeline: Pipeline,
        models: Models,
        log: PredictionLog,
        instruments: Instruments,
        process: ExplainerProcess,
    ) -> None:
        self._settings = settings
        self._access = access
        self._pipeline = pipeline
        self._models = models
        self._log = log
        self._instruments = instruments
        self._process = process
        self._packages = Packages(settings)
        self._searches = Turns()
        self._parsers = PerProduct(lambda product: NativeParser(product, MOST_EXPLAINED_ROWS))
        self._v1 = v1(models, PerProduct(partial(TableParser, max_rows=MOST_EXPLAINED_ROWS)))
        self._encoders = PerProduct(ValueEncoder)

    async def stop(self) -> None:
        """End the process, and remove what was downloaded for it."""
        await self._process.stop()
        await asyncio.to_thread(self._packages.close)

    async def handle(self, request: Request) -> Response:
        """Answer /v1/explain; raises BeaconError."""
        prediction_id = logged_id(request.body)
        if prediction_id is None:
            explained = await self._read(self._parse, request)
        else:
            self._access.check(request, "read_log")
            self._access.take_rows(request, 1)
            explained = await self._of_record(await self._find(prediction_id))
        request.details = ExplanationDetails(explained.pin, len(explained.rows), prediction_id)
        return _response(explained, ExplanationsResponse(await self._explain(explained)))

    async def handle_v1(self, request: Request) -> Response:
        """Answer V1's :explain; raises BeaconError."""
        explained = await self._read(self._v1, request)
        request.details = ExplanationDetails(explained.pin, len(explained.rows), None)
        found = await self._explain(explained)
        return _response(explained, V1ExplanationsResponse([each.prediction for each in found], found))

    async def of_records(self, records: Sequence[Record]) -> list[ExplanationResponse]:
        """Explain the predictions of records, in the order of their rows; raises BeaconError.

        Each by the model that made it: that in service, or an earlier one where a retry gets its first answer.
        """
        return [each for record in records for each in await self._explain(await self._of_record(record))]

    async def _read(self, protocol: Protocol, request: Request) -> Explained:
        """The rows of a request, as the model in service has them."""
        prediction = self._pipeline.validate(protocol, request)
        await self._pipeline.lookup(prediction)
        self._pipeline.impute(prediction)
        return self._of_prediction(prediction)

    def _parse(self, request: Request, product: Product) -> ParsedRequest:
        parser = self._parsers(product)
        inputs = parser.batch(request.body) if is_rows(request.body) else parser.row(request.body)
        if inputs.prediction_ids is not None:
            row = next(at for at, name in enumerate(inputs.prediction_ids) if name is not None)
            raise BeaconError("invalid_body", ID_ALONE, inputs.id_path.format(row=row))
        return ParsedRequest(inputs, _no_response)

    def _of_prediction(self, prediction: Prediction) -> Explained:
        product, features, model = prediction.meta.product, prediction.features, prediction.meta.models.model
        values: list[Values] = features.values.tolist()
        self._encoders(product).decode(values, features.texts)
        missing = np.isnan(features.values)
        stored = np.zeros_like(missing) if features.from_store is None else features.from_store
        names = product.feature_names
        return Explained(
            model.pin,
            model.manifest,
            str(package_folder(self._settings.models_dir, model.pin)),
            features.rows,
            [dict(zip(names, row, strict=True)) for row in values],
            [
                {
                    name: "store" if stored[row, at] else "request"
                    for at, name in enumerate(names)
                    if not missing[row, at]
                }
                for row in range(len(values))
            ],
            timestamp(),
        )

    async def _find(self, prediction_id: str) -> Record:
        unknown = BeaconError("unknown_prediction", f"no prediction has the id {prediction_id[:64]}", "prediction_id")
        if not is_client_id(prediction_id):
            raise unknown
        async with self._searches.take():
            found = await self._log.find([prediction_id])
        if prediction_id not in found.records:
            raise unknown
        return found.records[prediction_id]

    async def _of_record(self, record: Record) -> Explained:
        product = self._models.product
        pin = Pin(product.name, record.version, record.sha256)
        package = await self._packages.find(pin)
        stored = record.from_store or {}
        return Explained(
            pin,
            package.manifest,
            str(package.folder),
            filled(rows_of(record, package.manifest, product), package.manifest),
            [dict(zip(record.names, values, strict=True)) for values in record.values()],
            [
                {
                    name: "store" if at in stored.get(row, ()) else "request"
                    for at, (name, value) in enumerate(zip(record.names, values, strict=True))
                    if value is not None
                }
                for row, values in enumerate(record.values())
            ],
            record.time,
            record.ids,
        )

    async def _explain(self, explained: Explained) -> list[ExplanationResponse]:
        began = time.perf_counter()
        job = Job(explained.folder, explained.pin.sha256, explained.rows.tolist(), explained.seconds)
        answer: Answer = await self._process.answer(job)
        if answer.failure == "package":
            self._packages.forget(explained.pin)
            raise BeaconError("model_gone", f"version {explained.pin.version} cannot be explained: {answer.reason}")
        if answer.failure:
            raise BeaconError("internal", f"the explanation failed: {answer.reason}")
        self._instruments.explained([each.method for each in answer.explanations], time.perf_counter() - began)
        return responses_of(explained, answer, self._models.product)


def logged_id(body: bytes) -> str | None:
    """The id of a request that has a prediction id alone; None for any other body, which the parser checks."""
    found = _top(body)
    if found is None or set(found) != {"prediction_id"}:
        return None
    name = msgspec.json.decode(found["prediction_id"])
    if not isinstance(name, str):
        raise BeaconError("invalid_type", "prediction_id must be a string", "prediction_id")
    return name


def is_rows(body: bytes) -> bool:
    """Whether a body is for several rows."""
    return "rows" in (_top(body) or ())


def _top(body: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _response(explained: Explained, message: ExplanationsResponse | V1ExplanationsResponse) -> Response:
    return Response(encode_json(message), headers=[(b"beacon-model-version", explained.pin.version.encode())])


def _no_response(_: Any) -> Response:
    raise AssertionError("an explanation is no prediction")
