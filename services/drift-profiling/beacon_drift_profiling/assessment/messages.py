"""Messages about what a run found, for people: what changed, how sure that is, and what to do."""

import math

from beacon_core.data.drift_results import DriftResult, Figure
from beacon_core.domain.precision import compact, significant, with_unit
from beacon_core.domain.product import Product
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, OUT_OF_RANGE, UNSEEN

ADVICE = {
    DISTANCE: "Check whether the world or the data source changed. If the world did, retrain on new actuals.",
    NULL_RATE: "Check the data source: it no longer fills in these values. Retraining does not help.",
    UNSEEN: "Training had no row of these levels: check the data source, then retrain on rows that have them.",
    OUT_OF_RANGE: "The model extrapolates there: check units and source, then retrain on rows from that range.",
}


def _alone(client: str | None) -> str:
    return "" if client is None else f" Only rows of the client {client} show it."


def drift_message(result: DriftResult, product: Product) -> str:
    """Describe one effect in one window."""
    title = _title(result, product)
    days = result.window.removesuffix("d")
    over = f"over {'the last day' if days == '1' else f'{days} days'} ({result.rows} rows)"
    score, threshold = result.score or 0.0, result.threshold or 0.0
    alone = _alone(result.details.get("client"))
    if result.effect == DISTANCE:
        moved = "is distributed differently than in training"
        median, known = result.details.get("median"), result.details.get("reference_median")
        if median is not None and known is not None and median != known:
            moved = f"has moved: its median is {compact(median)}, in training {compact(known)}"
        return (
            f"{title} {moved} {over}. Its Hellinger distance is {score:.2f}; an alarm begins at {threshold:.2f}.{alone}"
        )
    unseen = ", ".join(result.details.get("unseen", ()))
    levels = "levels that training never saw" + (f" ({unseen})" if unseen else "")
    what = {NULL_RATE: "is missing more often", UNSEEN: f"has {levels} more often"}
    change = what.get(result.effect, "lies outside its training range more often")
    return (
        f"{title} {change} {over}: {score:.1%} more rows than in training; an alarm begins at {threshold:.1%}.{alone}"
    )


def error_message(figure: Figure, expected: float, product: Product, client: str | None = None) -> str:
    """Describe a mean absolute error beside the one that the model promised."""
    value, low, high = (math.nan if found is None else found for found in (figure.value, figure.low, figure.high))
    return (
        f"The mean absolute error over {product.policy.quality.windows_days[0]} days is"
        f" {with_unit(significant(value), product.target.unit)} ({significant(low)} to {significant(high)},"
        f" {figure.rows} actuals); the model promised {significant(expected)}.{_alone(client)}"
    )


def _title(result: DriftResult, product: Product) -> str:
    if result.kind == "prediction":
        return "The prediction"
    if result.kind == "target":
        return f"The actual value ({product.target.title})"
    title = next((feature.title for feature in product.features if feature.name == result.feature), "")
    importance = result.details.get("importance")
    weight = "" if importance is None else f"{importance:.0%} of the model's importance"
    facts = ", ".join(filter(None, ["" if title == result.feature else title, weight]))
    return f"{result.feature} ({facts})" if facts else result.feature
