"""Beacon's own protocol: /v1/predict and /v1/predict/batch."""

from beacon_core.serving.http import Request, Response, encode_json
from beacon_inference.native import NativeParser
from beacon_inference.pipeline import Protocol
from beacon_inference.record import Record, Wording


def one(parser: NativeParser, wording: Wording) -> Protocol:
    """One row in, one answer out."""

    def respond(_: Request, records: list[Record]) -> Response:
        return Response(encode_json(wording.answer(records[0])))

    return Protocol(lambda request: parser.row(request.body), respond)


def batch(parser: NativeParser, wording: Wording) -> Protocol:
    """Rows in, answers out, in the same order."""

    def respond(_: Request, records: list[Record]) -> Response:
        return Response(encode_json({"predictions": [wording.answer(record) for record in records]}))

    return Protocol(lambda request: parser.batch(request.body), respond)
