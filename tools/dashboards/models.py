"""What the model does: its predictions and errors, and the drift of its inputs."""

import re

from grafana_foundation_sdk.models.dashboard import Dashboard

from beacon_core.domain.policy import LARGE_RESIDUAL
from beacon_core.domain.precision import compact, with_unit
from beacon_core.domain.product import Product
from tools.dashboards.panels import (
    BAD,
    GOOD,
    SO_SO,
    Panel,
    bar_gauge,
    dashboard,
    heatmap,
    stat,
    table,
    time_series,
)
from tools.dashboards.queries import (
    SECONDS,
    SHARE,
    buckets,
    by,
    limit,
    most,
    of_predictions,
    quantiles,
    quoted,
    rates,
    realised,
    since,
)


def in_unit(product: Product) -> str:
    """The target's unit, for a title."""
    return f" ({product.target.unit})" if product.target.unit else ""


def model(product: Product) -> Dashboard:
    """What the model answers, and how right it was."""
    unit = in_unit(product)
    predicted = rates("model_version", "model_predictions_total", "version {{model_version}}")
    predictions = (
        time_series("Predictions", "ops", predicted),
        time_series(f"Predicted values{unit}", "none", *quantiles("model_prediction_value", 0.1, 0.5, 0.9)),
        heatmap(f"Distribution of predictions{unit}", "none", buckets("model_prediction_value")),
    )
    ranges = (
        time_series(
            "Very low or very high",
            SHARE,
            of_predictions("model_extreme_predictions_total", "side"),
            (limit("extreme_share"), "limit"),
            note=_extremes(product),
        ),
        time_series(
            "Outside the range of the training target",
            SHARE,
            of_predictions("model_out_of_range_predictions_total", "model_version"),
            (limit("out_of_range_share"), "ticket"),
            (limit("out_of_range_page"), "page"),
        ),
        time_series(
            "Most important feature out of its normal range",
            SHARE,
            of_predictions("model_key_feature_out_of_range_total"),
        ),
    )
    inputs = (
        time_series(
            "Imputed, by feature",
            SHARE,
            most(of_predictions("model_imputations_total", "feature")),
            (limit("imputed_share"), "limit"),
        ),
        time_series(
            "Out of training's range, by feature",
            SHARE,
            most(of_predictions("model_out_of_range_features_total", "feature")),
            (limit("input_out_of_range_share"), "limit"),
        ),
        time_series(
            "Rows with a feature out of training's range, by client",
            SHARE,
            most(
                by(
                    "client",
                    "sum by (client) (increase(model_client_out_of_range_predictions_total[30m]))"
                    " / (sum by (client) (increase(model_client_predictions_total[30m])) > 0)",
                )
            ),
            (limit("input_out_of_range_share"), "limit"),
        ),
    )
    expected = "min(beacon_model_expected_error)"
    error = (
        time_series(
            f"Mean absolute error, rolling{unit}",
            "none",
            realised("mae"),
            (expected, "expected by training"),
            (f"scalar({limit('max_mae_ratio')}) * {expected}", "limit"),
        ),
        time_series(f"Root mean squared error{unit}", "none", realised("rmse")),
        time_series("R²", "none", realised("r2")),
        time_series(f"Estimated error, before the actuals{unit}", "none", realised("estimated_error")),
    )
    too_little = "Actual less prediction: above 0, the model predicts too little."
    limit_of_large = product.policy.quality.large_residual
    large = f"Residuals above {LARGE_RESIDUAL:g} expected errors"
    if limit_of_large is not None:
        large = f"Residuals above {with_unit(compact(limit_of_large, 6), product.target.unit)}"
    residuals = (
        time_series(f"Mean residual{unit}", "none", realised("bias"), note=too_little),
        time_series(large, SHARE, realised("large_residual_share")),
        time_series(
            "Actuals within the interval",
            SHARE,
            realised("coverage"),
            (limit("interval_coverage"), "promise"),
            (limit("min_coverage"), "limit"),
        ),
    )
    segments = tuple(_segment(name, unit) for name in product.segments)
    rows_behind = by("window", 'beacon_model_error_rows{metric="mae", segment=""}')
    newest = since("max(beacon_actual_last_timestamp_seconds)")
    actuals = (
        time_series("Rows behind the error", "none", rows_behind, (limit("min_labels"), "enough")),
        time_series("Predictions with an actual", SHARE, realised("label_coverage")),
        time_series("Delay of the actuals", SECONDS, realised("label_delay_seconds")),
        stat("Newest actual", SECONDS, newest, note="How long ago it came."),
    )
    rows = {
        "Predictions": predictions,
        "Ranges": ranges,
        "Inputs": inputs,
        "Error, where actuals are known": error,
        "Residuals": residuals,
        "Segments": segments,
        "Actuals": actuals,
    }
    question = f"Is {product.target.title} predicted as well as promised?"
    return dashboard("beacon-model", "model and business", question, rows)


def _segment(name: str, unit: str) -> Panel:
    pattern = quoted(f"{re.escape(name)}=.*")
    errors = most(by("segment, window", f'beacon_model_error{{metric="mae", segment=~"{pattern}"}}'))
    return time_series(f"Mean absolute error by {name}{unit}", "none", errors)


def _extremes(product: Product) -> str:
    """Which predictions count as very low or very high."""
    low, high = (
        "training's quantile 1 %" if product.target.low is None else compact(product.target.low, 6),
        "training's quantile 99 %" if product.target.high is None else compact(product.target.high, 6),
    )
    return f"Below {low} or above {with_unit(high, product.target.unit)}; of half an hour."


def drift(product: Product) -> Dashboard:
    """How far traffic is from training, and the features that matter most."""
    each = "kind, feature, effect, window"
    ratio = f"max by ({each}) (beacon_drift_score / beacon_drift_threshold)"
    of_features = by("feature", 'beacon_drift_score{kind="data"} / beacon_drift_threshold{kind="data"}')
    confirmed, _ = by(each, "beacon_drift_confirmed")
    newest = since('max(beacon_job_last_success_timestamp_seconds{job="drift"})')
    near = (None, GOOD), (0.8, SO_SO), (1, BAD)
    now = (
        stat("Confirmed shifts", "none", f"sum({confirmed})", (None, GOOD), (1, SO_SO)),
        stat("Nearest to an alarm", SHARE, f"max({ratio})", *near, note="Score as a share of its threshold."),
        stat("Newest run", SECONDS, newest, note="How long ago it ended."),
        stat("Requests to retrain that wait", "none", 'sum(beacon_retrain_requests{state="waiting"})'),
    )
    features = (
        bar_gauge("Largest shift of each feature, as a share of its threshold", SHARE, most(of_features), *near),
        table("Every shift; 1: confirmed", confirmed),
    )
    answers = (
        time_series("Shift of the predictions", "none", *_shift('kind="prediction"')),
        time_series(f"Shift of the actuals ({product.target.name})", "none", *_shift('kind="target"')),
        time_series("Predictions compared", "none", by("window", "beacon_drift_rows")),
        time_series(
            "Features out of training's range",
            SHARE,
            realised("any_feature_outside_share"),
            note="Share of the predictions with at least one.",
        ),
    )
    titles = {feature.name: feature.title for feature in product.features}
    rows: dict[str, tuple[Panel, ...]] = {"Now": now, "Features": features, "Answers": answers}
    rows |= {
        name if titles[name] == name else f"{name}: {titles[name]}": _feature(name) for name in product.key_features
    }
    question = "Does the world still look like the training data?"
    return dashboard("beacon-drift", "drift and important features", question, rows)


def _shift(labels: str) -> list[tuple[str, str]]:
    """The shift and its threshold."""
    score, threshold = (f'beacon_drift_{what}{{{labels}, effect="hellinger"}}' for what in ("score", "threshold"))
    return [by("window", score), by("window", threshold, "threshold {{window}}")]


def _feature(feature: str) -> tuple[Panel, ...]:
    name = quoted(feature)
    imputed = of_predictions(f'model_imputations_total{{feature="{name}"}}', legend="imputed")
    outside = of_predictions(f'model_out_of_range_features_total{{feature="{name}"}}', legend="out of training's range")
    others = by("effect, window", f'beacon_drift_score{{feature="{name}", effect!="hellinger"}}')
    return (
        time_series("Shift", "none", *_shift(f'feature="{name}"')),
        time_series("Missing and out of range", SHARE, imputed, outside),
        time_series("Other effects", "none", others),
    )
