"""Which findings are alarms that request a retraining: confirmed drift that matters, and an error beyond its limit."""

from collections.abc import Sequence

from beacon_core.data.drift_results import DriftResult, Figure, RealisedFigures, window_name
from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment import messages
from beacon_drift_profiling.assessment.performance import MAE
from beacon_drift_profiling.assessment.results import Alarm, worst_first
from beacon_drift_profiling.comparison.compare import DISTANCE, OUT_OF_RANGE
from beacon_drift_profiling.profiling.packages import Reference

MATTERING_EFFECTS = frozenset({DISTANCE, OUT_OF_RANGE})


def drift_alarms(found: Sequence[DriftResult], reference: Reference, product: Product) -> list[Alarm]:
    """Confirmed drift of the important features, one alarm per feature.

    Important are the key features, and those with at least `min_importance` of the model's importance. A higher null
    rate or an unseen category is no reason to retrain. Drift that several clients show goes before that of one alone.
    """
    important = {
        name for name, share in reference.importances.items() if share >= product.policy.drift.min_importance
    } | set(product.key_features)
    alarms: dict[str, Alarm] = {}
    for result in worst_first(found):
        matters = result.kind == "data" and result.feature in important and result.effect in MATTERING_EFFECTS
        if not (result.confirmed and matters):
            continue
        client, known = result.details.get("client"), alarms.get(result.feature)
        if known is None or (known.client is not None and client is None):
            message = messages.drift_message(result, product)
            alarms[result.feature] = Alarm(f"drift:{result.feature}", message, client)
    return list(alarms.values())


def error_alarm(
    realised: Sequence[RealisedFigures],
    earlier: Sequence[tuple[str, Figure]],
    reference: Reference,
    product: Product,
    client: str | None,
) -> Alarm | None:
    """Alarm for an error beyond its limit in N of the last M runs; `earlier` are the runs before, the newest first.

    `client` is the one whose actuals alone make it so high.
    """
    window = window_name(product.policy.quality.windows_days[0])
    expected = reference.manifest.expected_absolute_error
    now = [
        figure
        for part in realised
        if part.window == window and part.model_version == reference.version
        for figure in part.figures
        if (figure.metric, figure.segment) == (MAE, "")
    ]
    if not now or not _exceeds_limit(now[0], expected, product):
        return None
    needed, runs = product.policy.drift.confirm
    before = [figure for name, figure in earlier if name == window and figure.metric == MAE][: runs - 1]
    if 1 + sum(_exceeds_limit(figure, expected, product) for figure in before) < needed:
        return None
    return Alarm("error:mae", messages.error_message(now[0], expected, product, client), client)


def _exceeds_limit(figure: Figure, expected: float, product: Product) -> bool:
    """Whether an error is beyond its limit even at the low end of its interval, on enough actuals."""
    limit = product.policy.drift.max_mae_ratio * expected
    return figure.rows >= product.policy.drift.min_labels and figure.low is not None and figure.low > limit
