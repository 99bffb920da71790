"""What every protocol turns its body into: one float matrix, and who the rows are about."""

from typing import NamedTuple

from beacon_inference.matrix import Matrix


class Ask(NamedTuple):
    """Rows to predict.

    `matrix` is (rows, features) in the product's feature order, NaN where the request gave nothing. `entities` and
    `prediction_ids` have one item a row or are None when no row has one. The paths say how the protocol names a value,
    an entity's key and a prediction id in an error: they are formatted with `row` and `feature`.
    """

    matrix: Matrix
    entities: list[int | None] | None = None
    prediction_ids: list[str | None] | None = None
    path: str = "features.{feature}"
    entity_path: str = "entity.{feature}"
    id_path: str = "prediction_id"
