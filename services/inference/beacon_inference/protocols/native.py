"""Beacon's own protocol: /v1/predict and /v1/predict/batch."""

from collections.abc import Sequence
from typing import Any

import msgspec

from beacon_core.domain.product import Product
from beacon_core.spool.record import Record
from beacon_core.web.http import Request, Response, encode_json
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.inputs import ParsedRequest, Protocol
from beacon_inference.protocols.messages import BatchResponse
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.serializer import Serializer


def one(parsers: PerProduct[NativeParser], serializers: PerProduct[Serializer]) -> Protocol:
    """The protocol of /v1/predict: one row, one prediction."""

    def parse(request: Request, product: Product) -> ParsedRequest:
        serializer = serializers(product)

        def respond(records: Sequence[Record]) -> Response:
            return Response(serializer.text(records[0]))

        return ParsedRequest(parsers(product).row(request.body), respond)

    return parse


def batch(parsers: PerProduct[NativeParser], serializers: PerProduct[Serializer]) -> Protocol:
    """The protocol of /v1/predict/batch: rows, and predictions in the same order."""

    def parse(request: Request, product: Product) -> ParsedRequest:
        serializer = serializers(product)

        def respond(records: Sequence[Record]) -> Response:
            answers: Any = msgspec.Raw(b",".join([text for record in records for text in serializer.texts(record)]))
            return Response(encode_json(BatchResponse([answers])))

        return ParsedRequest(parsers(product).batch(request.body), respond)

    return parse
