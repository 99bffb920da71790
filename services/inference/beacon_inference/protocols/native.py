"""Beacon's own protocol: /v1/predict and /v1/predict/batch."""

from collections.abc import Sequence

from beacon_core.web.http import Request, Response, encode_json
from beacon_inference.prediction.inputs import ParsedRequest, Protocol
from beacon_inference.prediction_log.record import Record
from beacon_inference.protocols.messages import BatchResponse
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.serializer import Serializer


def one(parser: NativeParser, serializer: Serializer) -> Protocol:
    """The protocol of /v1/predict: one row, one prediction."""

    def respond(records: Sequence[Record]) -> Response:
        (answer,) = serializer.responses(records[0])
        return Response(encode_json(answer))

    def parse(request: Request) -> ParsedRequest:
        return ParsedRequest(parser.row(request.body), respond)

    return parse


def batch(parser: NativeParser, serializer: Serializer) -> Protocol:
    """The protocol of /v1/predict/batch: rows, and predictions in the same order."""

    def respond(records: Sequence[Record]) -> Response:
        answers = [answer for record in records for answer in serializer.responses(record)]
        return Response(encode_json(BatchResponse(answers)))

    def parse(request: Request) -> ParsedRequest:
        return ParsedRequest(parser.batch(request.body), respond)

    return parse
