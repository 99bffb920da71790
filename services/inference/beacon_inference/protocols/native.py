"""Beacon's own protocol: /v1/predict and /v1/predict/batch."""

from collections.abc import Sequence

from beacon_core.web.http import Request, Response, encode_json
from beacon_inference.prediction.pipeline import Protocol
from beacon_inference.prediction_log.record import Record
from beacon_inference.protocols.messages import BatchResponse
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.serializer import Wording


def one(parser: NativeParser, wording: Wording) -> Protocol:
    """One row in, one answer out."""

    def respond(_: Request, records: Sequence[Record]) -> Response:
        (answer,) = wording.answers(records[0])
        return Response(encode_json(answer))

    return Protocol(lambda request: parser.row(request.body), respond)


def batch(parser: NativeParser, wording: Wording) -> Protocol:
    """Rows in, answers out, in the same order."""

    def respond(_: Request, records: Sequence[Record]) -> Response:
        answers = [answer for record in records for answer in wording.answers(record)]
        return Response(encode_json(BatchResponse(answers)))

    return Protocol(lambda request: parser.batch(request.body), respond)
