"""The result of a protocol's parser: the inputs of a prediction, and the function that makes the response."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from beacon_core.domain.entity_key import EntityKey
from beacon_core.domain.product import Product
from beacon_core.spool.record import Record
from beacon_core.web.http import Request, Response
from beacon_inference.matrix import NO_TEXTS, Matrix, Texts

MOST_EXPLAINED_ROWS = 16
"""Rows of one request whose predictions are explained."""


class PredictionInputs(NamedTuple):
    """Rows to predict.

    `matrix` is (rows, features) in the product's feature order, NaN where the request has no value; `texts` are those
    beside it. `entities` and `prediction_ids` have one item per row or are None when no row has one. The paths say how
    the protocol names a value, an entity's key and a prediction id in an error: they are formatted with `row` and
    `feature`.
    """

    matrix: Matrix
    entities: list[EntityKey | None] | None = None
    prediction_ids: list[str | None] | None = None
    path: str = "features.{feature}"
    entity_path: str = "entity.{feature}"
    id_path: str = "prediction_id"
    texts: Texts = NO_TEXTS


class ParsedRequest(NamedTuple):
    """A parsed request. `respond` makes the response from records, in the order of the rows.

    One record holds all rows, unless some of them are a retry. Where explanations were asked for, `explain` makes the
    response instead.
    """

    inputs: PredictionInputs
    respond: Callable[[Sequence[Record]], Response]
    explain: Callable[[Sequence[Record]], Awaitable[Response]] | None = None


Protocol = Callable[[Request, Product], ParsedRequest]
"""The parser of one protocol, for requests of the product that answers; raises BeaconError."""
