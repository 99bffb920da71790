"""Rows to explain, and the answer of the process that explained them as /v1/explain has it."""

from typing import Any, NamedTuple

from beacon_core.domain.pins import Pin
from beacon_core.domain.precision import rounded
from beacon_core.domain.product import Product
from beacon_core.model_package.explanation.explainer import Explanation
from beacon_core.model_package.golden import package_value
from beacon_core.model_package.manifest import Manifest
from beacon_inference.explanation.job import Answer
from beacon_inference.matrix import Matrix
from beacon_inference.protocols.messages import Contribution, ExplanationResponse, ModelPin

SPARE_DECIMALS = 3
"""So many more decimals than a prediction has a contribution."""


class Explained(NamedTuple):
    """Rows to explain: complete (rows, features) of the model's features, with the values that clients had.

    `values` and `sources` have one item per row, by feature; a feature that is not in `sources` was imputed.
    `prediction_ids` are those of logged predictions, one per row.
    """

    pin: Pin
    manifest: Manifest
    folder: str
    rows: Matrix
    values: list[dict[str, Any]]
    sources: list[dict[str, str]]
    seconds: float
    prediction_ids: list[str] | None = None


def responses_of(explained: Explained, answer: Answer, product: Product) -> list[ExplanationResponse]:
    """The answers for all rows, in their order."""
    return [_response(explained, row, answer, product) for row in range(len(answer.explanations))]


def _response(explained: Explained, row: int, answer: Answer, product: Product) -> ExplanationResponse:
    """The answer for one row: the contributions of features in the order of the product, then of computed columns."""
    found, manifest = answer.explanations[row], explained.manifest
    decimals = manifest.decimals
    names = manifest.schema.feature_names
    places = {name: at for at, name in enumerate(product.feature_names)}
    order = sorted(
        range(len(answer.players)),
        key=lambda at: (answer.players[at] not in names, places.get(answer.players[at], len(places)), at),
    )
    prediction, base = rounded([found.prediction, found.base], decimals)
    return ExplanationResponse(
        prediction=prediction,
        base=base,
        unit=manifest.schema.target.unit,
        contributions=[_contribution(explained, row, at, answer, found) for at in order],
        method=found.method,
        samples=found.samples or None,
        scale="logarithmic" if answer.is_log else "linear",
        prediction_id=None if explained.prediction_ids is None else explained.prediction_ids[row],
        model=ModelPin(explained.pin.name, explained.pin.version, explained.pin.sha256),
    )


def _contribution(explained: Explained, row: int, player: int, answer: Answer, found: Explanation) -> Contribution:
    manifest, name = explained.manifest, answer.players[player]
    decimals = manifest.decimals + SPARE_DECIMALS
    (size,) = rounded([found.contributions[player]], decimals)
    error = rounded([found.errors[player]], decimals)[0] if found.errors else None
    features = manifest.schema.features
    if player >= len(features):
        column = [each.name for each in manifest.schema.derived].index(name) - len(manifest.schema.derived)
        return Contribution(name, size, error, found.columns[column], "computed")
    source = explained.sources[row].get(name)
    if source is None:
        number = float(explained.rows[row, player])
        value = package_value(features[player], manifest.features[player], number)
        return Contribution(name, size, error, value, "imputed")
    return Contribution(name, size, error, explained.values[row][name], source)  # type: ignore[arg-type]
