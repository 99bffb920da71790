"""Performance: figures from the aggregates of a window, each with its rows and a 95 % confidence interval.

Shares have Wilson's interval; means a normal one from their own variance; RMSE and R2 by the delta method. A figure
that its rows cannot give (R2 of one row) has no value.
"""

import math
from collections.abc import Callable, Mapping

from beacon_core.data.drift_results import Figure
from beacon_core.data.profiles import Aggregates
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_drift_profiling.profiling.aggregates import ALL

Z = 1.959963984540054
PRIOR_ROWS = 50.0
"""How many actuals in a band of predictions weigh as much as the model's own expected error."""

MAE, RMSE, R2, BIAS = "mae", "rmse", "r2", "bias"
LARGE, COVERAGE = "large_residual_share", "coverage"
IN_TIME, KEY_OUTSIDE, OUTSIDE = "in_time_share", "key_feature_outside_share", "any_feature_outside_share"
LABEL_COVERAGE, LABEL_DELAY, ESTIMATE = "label_coverage", "label_delay_seconds", "estimated_error"

TITLES = {
    MAE: "Mean absolute error",
    RMSE: "Root mean squared error",
    R2: "R²",
    BIAS: "Mean error (actual less prediction)",
    LARGE: "Large residuals",
    COVERAGE: "Actuals within the interval",
    IN_TIME: "Answered in time",
    KEY_OUTSIDE: "Most important feature out of its normal range",
    OUTSIDE: "Any feature out of training's range",
    LABEL_COVERAGE: "Predictions with an actual",
    LABEL_DELAY: "Delay of the actuals",
    ESTIMATE: "Estimated error, before the actuals",
}


Interval = tuple[float | None, float | None, float | None]
NOTHING: Interval = (None, None, None)


def figures(segments: Mapping[str, Aggregates]) -> list[Figure]:
    """Every figure of every segment; those of the actuals only where there are some."""
    found = []
    for segment, aggregates in sorted(segments.items()):
        rows, labelled = int(aggregates["rows"]), int(aggregates["labelled"])
        for metric, share in OF_TRAFFIC.items():
            found.append(Figure(metric, segment, *share(aggregates), rows))
        if labelled:
            found += [Figure(metric, segment, *figure(aggregates), labelled) for metric, figure in OF_ACTUALS.items()]
    return found


def estimate(
    segments: Mapping[str, Aggregates], seen: Mapping[str, Aggregates], manifest: Manifest, product: Product
) -> Figure:
    """Estimate the mean absolute error of a window's rows before their actuals come.

    It is the error that each band of predictions has shown in `seen` (rows with actuals), shrunk towards the model's
    expected absolute error where actuals are few, and weighted by the window's mix of bands. Without any actuals it is
    the expected error. The interval holds the sampling error of both; the share of rows with a feature outside its
    training range, where a model's error is unknown, widens it upwards. Concept drift is not in it: no feature shows
    that.
    """
    rows = int(segments.get(ALL, {}).get("rows", 0))
    if rows == 0:
        return Figure(ESTIMATE, ALL, *NOTHING, 0)
    expected = manifest.expected_absolute_error
    spread = _expected_spread(manifest)
    bands = [name for name in segments if any(name.startswith(f"{band}=") for band in _bands(product))] or [ALL]
    total = sum(segments[name]["rows"] for name in bands)
    value = variance = 0.0
    for name in bands:
        weight = segments[name]["rows"] / total
        aggregates = seen.get(name)
        count = aggregates["labelled"] if aggregates else 0.0
        trust = count / (count + PRIOR_ROWS)
        mean = aggregates["absolute"] / count if aggregates and count else expected
        value += weight * (trust * mean + (1 - trust) * expected)
        own = max(aggregates["square"] / count - mean**2, 0.0) / count if aggregates and count else 0.0
        variance += (weight * trust) ** 2 * own
        # The prior is one number for all bands: its error does not average out.
    prior = sum(segments[name]["rows"] / total * PRIOR_ROWS / (_labelled(seen, name) + PRIOR_ROWS) for name in bands)
    half = Z * math.sqrt(variance + (prior * spread) ** 2)
    unknown = segments[ALL]["any_outside"] / rows * expected
    return Figure(ESTIMATE, ALL, value, max(value - half, 0.0), value + half + unknown, rows)


def _labelled(seen: Mapping[str, Aggregates], name: str) -> float:
    return seen[name]["labelled"] if name in seen else 0.0


def _bands(product: Product) -> list[str]:
    return [name for name, segment in product.segments.items() if segment.of == "prediction"][:1]


def _expected_spread(manifest: Manifest) -> float:
    """Standard error of the expected absolute error: cross-validation saw each training row once."""
    scores = {score.name: score.value for score in manifest.scores}
    square = scores.get("pooled_rmse", scores.get(RMSE, 1.5 * manifest.expected_absolute_error)) ** 2
    variance = max(square - manifest.expected_absolute_error**2, 0.0)
    return math.sqrt(variance / max(manifest.data.rows, 1))


def wilson(hits: float, rows: float) -> Interval:
    """Return the share `hits` / `rows` and Wilson's interval, each None without rows."""
    if rows <= 0:
        return NOTHING
    share = hits / rows
    middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return share, max(middle - half, 0.0), min(middle + half, 1.0)


def _mean(total: float, squares: float, rows: float, least: float = -math.inf) -> Interval:
    mean = total / rows
    if rows < 2:
        return mean, None, None
    half = Z * math.sqrt(max(squares / rows - mean**2, 0.0) / (rows - 1))
    return mean, max(mean - half, least), mean + half


def _mae(aggregates: Aggregates) -> Interval:
    return _mean(aggregates["absolute"], aggregates["square"], aggregates["labelled"], least=0.0)


def _bias(aggregates: Aggregates) -> Interval:
    return _mean(aggregates["error"], aggregates["square"], aggregates["labelled"])


def _rmse(aggregates: Aggregates) -> Interval:
    mean, low, high = _mean(aggregates["square"], aggregates["fourth"], aggregates["labelled"], least=0.0)
    return (
        None if mean is None else math.sqrt(mean),
        None if low is None else math.sqrt(low),
        None if high is None else math.sqrt(high),
    )


def _r2(aggregates: Aggregates) -> Interval:
    """1 - mean(e^2) / mean((y - mean y)^2); its spread is that of a ratio of two means."""
    rows = aggregates["labelled"]
    moments = {name: aggregates[name] / rows for name in ("actual", "actual_2", "actual_3", "actual_4")}
    middle = moments["actual"]
    spread = moments["actual_2"] - middle**2
    if rows < 3 or spread <= 1e-12 * max(middle**2, 1.0):
        return NOTHING
    square = aggregates["square"] / rows
    ratio = square / spread
    # Of d = (y - mean y)^2: its mean square, and its mean product with e^2.
    squared = (
        moments["actual_4"] - 4 * middle * moments["actual_3"] + 6 * middle**2 * moments["actual_2"] - 3 * middle**4
    )
    product = (aggregates["square_actual_2"] - 2 * middle * aggregates["square_actual"]) / rows + middle**2 * square
    variance = (
        (aggregates["fourth"] / rows - square**2)
        - 2 * ratio * (product - square * spread)
        + ratio**2 * (squared - spread**2)
    )
    half = Z * math.sqrt(max(variance, 0.0) / (rows - 1)) / spread
    return 1 - ratio, 1 - ratio - half, min(1 - ratio + half, 1.0)


def _delay(aggregates: Aggregates) -> Interval:
    return aggregates["delay"] / aggregates["labelled"], None, None


def _share_of(name: str, rows: str) -> Callable[[Aggregates], Interval]:
    return lambda aggregates: wilson(aggregates[name], aggregates[rows])


OF_TRAFFIC: dict[str, Callable[[Aggregates], Interval]] = {
    IN_TIME: _share_of("in_time", "rows"),
    KEY_OUTSIDE: _share_of("key_outside", "rows"),
    OUTSIDE: _share_of("any_outside", "rows"),
    LABEL_COVERAGE: _share_of("labelled", "rows"),
}
OF_ACTUALS: dict[str, Callable[[Aggregates], Interval]] = {
    MAE: _mae,
    RMSE: _rmse,
    R2: _r2,
    BIAS: _bias,
    LARGE: _share_of("large", "labelled"),
    COVERAGE: _share_of("covered", "labelled"),
    LABEL_DELAY: _delay,
}
