"""What a run found, in plain words: what changed, how sure that is, and what to do."""

from collections.abc import Sequence

from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment import results
from beacon_drift_profiling.assessment.performance import MAE, Figure
from beacon_drift_profiling.assessment.results import Alarm, Realised, Result
from beacon_drift_profiling.comparison.compare import DISTANCE, NULL_RATE, OUT_OF_RANGE, UNSEEN
from beacon_drift_profiling.profiling.packages import Reference

MATTERING_EFFECTS = frozenset({DISTANCE, OUT_OF_RANGE})
TO_DO = {
    DISTANCE: "Ask whether the world or the data's source changed. If the world did, retrain on new actuals.",
    NULL_RATE: "Look at where the values come from: something stopped to fill them in. Retraining does not help.",
    UNSEEN: "The model knows nothing of these categories: check the source, then retrain on rows that have them.",
    OUT_OF_RANGE: "The model extrapolates there: check units and source, then retrain on rows from that range.",
}


def say_result(result: Result, product: Product) -> str:
    """Word one effect in one window."""
    title = _title(result, product)
    days = result.window.removesuffix("d")
    over = f"over {'the last day' if days == '1' else f'{days} days'} ({result.rows} rows)"
    score, threshold = result.score or 0.0, result.threshold or 0.0
    if result.effect == DISTANCE:
        moved = "is distributed otherwise than in training"
        median, known = result.details.get("median"), result.details.get("reference_median")
        if median is not None and known is not None and median != known:
            moved = f"has moved: its median is {median:g}, in training {known:g}"
        return (
            f"{title} {moved} {over}. Hellinger distance {score:.2f}; chance and what matters end at {threshold:.2f}."
        )
    what = {NULL_RATE: "is missing more often", UNSEEN: "has categories that training never saw"}
    said = what.get(result.effect, "lies outside its training range more often")
    return f"{title} {said} {over}: {score:.1%} more rows than in training; an alarm begins at {threshold:.1%}."


def _title(result: Result, product: Product) -> str:
    if result.kind == "prediction":
        return "The prediction"
    if result.kind == "target":
        return f"The actual value ({product.target.title})"
    titles = {feature.name: feature.title for feature in product.features}
    importance = result.details.get("importance")
    weight = "" if importance is None else f", {importance:.0%} of the model's importance"
    return f"{result.feature} ({titles.get(result.feature, '')}{weight})"


def alarms_of(found: Sequence[Result], reference: Reference, product: Product) -> list[Alarm]:
    """Confirmed drift of features that the model leans on, one alarm a feature."""
    important = {
        name for name, share in reference.importances.items() if share >= product.policy.drift.min_importance
    } | set(product.key_features)
    alarms: dict[str, Alarm] = {}
    for result in results.worst_first(found):
        matters = result.kind == "data" and result.feature in important and result.effect in MATTERING_EFFECTS
        if result.confirmed and matters and result.feature not in alarms:
            alarms[result.feature] = Alarm(f"drift:{result.feature}", say_result(result, product))
    return list(alarms.values())


def beyond(figure: Figure, expected: float, product: Product) -> bool:
    """Whether an error is beyond its limit even at the low end of its interval, on enough actuals."""
    limit = product.policy.drift.max_mae_ratio * expected
    return figure.rows >= product.policy.drift.min_labels and figure.low is not None and figure.low > limit


def error_alarm(
    realised: Sequence[Realised], earlier: Sequence[tuple[str, Figure]], reference: Reference, product: Product
) -> Alarm | None:
    """Alarm for an error beyond its limit in N of the last M runs; `earlier` are the runs before, the newest first."""
    window = f"{product.policy.quality.windows_days[0]}d"
    expected = reference.manifest.expected_absolute_error
    now = [
        figure
        for part in realised
        if part.window == window and part.model_version == reference.version
        for figure in part.figures
        if (figure.metric, figure.segment) == (MAE, "")
    ]
    if not now or not beyond(now[0], expected, product):
        return None
    needed, runs = product.policy.drift.confirm
    before = [figure for name, figure in earlier if name == window and figure.metric == MAE][: runs - 1]
    if 1 + sum(beyond(figure, expected, product) for figure in before) < needed:
        return None
    figure = now[0]
    reason = (
        f"The mean absolute error over {product.policy.quality.windows_days[0]} days is {figure.value:.2f}"
        f" {product.target.unit} ({figure.low:.2f} to {figure.high:.2f}, {figure.rows} actuals);"
        f" the model promised {expected:.2f}."
    )
    return Alarm("error:mae", reason)
