"""What the model does: its answers and errors, the drift of what it is asked."""

from beacon_core.domain.product import Product
from tools.dashboards.grafana import Dashboard, Row, panel, stat
from tools.dashboards.queries import (
    BAD,
    GOOD,
    RATE,
    SECONDS,
    SHARE,
    SO_SO,
    heatmap,
    limit,
    of_predictions,
    quantiles,
    realised,
)


def model(product: Product) -> Dashboard:
    """What the model answers, and how right it was."""
    unit = product.target.unit
    answers = (
        panel(
            "Predictions",
            "ops",
            (f"sum by (model_version) (rate(model_predictions_total{RATE}))", "version {{model_version}}"),
        ),
        panel(f"Predicted values ({unit})", "none", *quantiles("model_prediction_value", 0.1, 0.5, 0.9)),
        heatmap(f"Distribution of predictions ({unit})", "none", "model_prediction_value"),
    )
    ranges = (
        panel(
            "Very low or very high",
            SHARE,
            of_predictions("model_extreme_predictions_total", "side"),
            (limit("extreme_share"), "limit"),
            note=f"Below {product.target.low:g} or above {product.target.high:g} {unit}; of half an hour.",
        ),
        panel(
            "Outside the range of the training target",
            SHARE,
            of_predictions("model_out_of_range_predictions_total", "model_version"),
            (limit("out_of_range_share"), "ticket"),
            (limit("out_of_range_page"), "page"),
        ),
        panel(
            "Most important feature out of its normal range",
            SHARE,
            of_predictions("model_key_feature_out_of_range_total", ""),
        ),
    )
    inputs = (
        panel(
            "Imputed, by feature",
            SHARE,
            of_predictions("model_imputations_total", "feature"),
            (limit("imputed_share"), "limit"),
        ),
        panel(
            "Out of training's range, by feature",
            SHARE,
            of_predictions("model_out_of_range_features_total", "feature"),
            (limit("input_out_of_range_share"), "limit"),
        ),
    )
    error = (
        panel(
            f"Mean absolute error, rolling ({unit})",
            "none",
            realised("mae"),
            ("min(beacon_model_expected_error)", "expected by training"),
            (f"scalar({limit('max_mae_ratio')}) * min(beacon_model_expected_error)", "limit"),
        ),
        panel(f"Root mean squared error ({unit})", "none", realised("rmse")),
        panel("R²", "none", realised("r2")),
        panel("Estimated error, before the actuals", "none", realised("estimated_error")),
    )
    residuals = (
        panel(
            f"Mean residual ({unit})",
            "none",
            realised("bias"),
            note="Actual less prediction: above 0, the model says too little.",
        ),
        panel(
            f"Residuals above {product.policy.quality.large_residual:g} {unit}", SHARE, realised("large_residual_share")
        ),
        panel(
            "Actuals within the interval",
            SHARE,
            realised("coverage"),
            (limit("interval_coverage"), "promise"),
            (limit("min_coverage"), "limit"),
        ),
    )
    segments = tuple(
        panel(
            f"Mean absolute error by {name} ({unit})",
            "none",
            (
                f'max by (segment, window) (beacon_model_error{{metric="mae", segment=~"{name}=.*"}})',
                "{{segment}}, {{window}}",
            ),
        )
        for name in product.segments
    )
    actuals = (
        panel(
            "Rows behind the error",
            "none",
            ('max by (window) (beacon_model_error_rows{metric="mae", segment=""})', "{{window}}"),
            (limit("min_labels"), "enough"),
        ),
        panel("Predictions with an actual", SHARE, realised("label_coverage")),
        panel("Delay of the actuals", SECONDS, realised("label_delay_seconds")),
        stat(
            "Newest actual", SECONDS, "time() - max(beacon_actual_last_timestamp_seconds)", note="How long ago it came."
        ),
    )
    return Dashboard(
        "beacon-model",
        "model and business",
        f"Is {product.target.title} predicted as well as promised?",
        (
            Row("Predictions", answers),
            Row("Ranges", ranges),
            Row("Inputs", inputs),
            Row("Error, where actuals are known", error),
            Row("Residuals", residuals),
            Row("Segments", segments),
            Row("Actuals", actuals),
        ),
    )


def drift(product: Product) -> Dashboard:
    """How far traffic is from training, and the features that matter most."""
    ratio = "max by (kind, feature, effect, window) (beacon_drift_score / beacon_drift_threshold)"
    of_features = 'max by (feature) (beacon_drift_score{kind="data"} / beacon_drift_threshold{kind="data"})'
    whole = (
        stat(
            "Confirmed shifts",
            "none",
            "sum(max by (kind, feature, effect, window) (beacon_drift_confirmed))",
            (None, GOOD),
            (1, SO_SO),
        ),
        stat(
            "Nearest to an alarm",
            SHARE,
            f"max({ratio})",
            (None, GOOD),
            (0.8, SO_SO),
            (1, BAD),
            note="Score as a share of its threshold.",
        ),
        stat(
            "Newest run",
            SECONDS,
            'time() - max(beacon_job_last_success_timestamp_seconds{job="drift"})',
            note="How long ago it ended.",
        ),
        stat("Requests to retrain that wait", "none", 'sum(beacon_retrain_requests{state="waiting"})'),
    )
    features = (
        panel(
            "Largest shift of each feature, as a share of its threshold",
            SHARE,
            (of_features, "{{feature}}"),
            kind="bargauge",
            levels=((None, GOOD), (0.8, SO_SO), (1, BAD)),
        ),
        panel(
            "Every shift; 1: confirmed",
            "none",
            "max by (kind, feature, effect, window) (beacon_drift_confirmed)",
            kind="table",
        ),
    )
    answers = (
        panel(
            "Shift of the predictions",
            "none",
            ('max by (window) (beacon_drift_score{kind="prediction", effect="hellinger"})', "{{window}}"),
            ('max by (window) (beacon_drift_threshold{kind="prediction", effect="hellinger"})', "threshold {{window}}"),
        ),
        panel(
            f"Shift of the actuals ({product.target.name})",
            "none",
            ('max by (window) (beacon_drift_score{kind="target", effect="hellinger"})', "{{window}}"),
            ('max by (window) (beacon_drift_threshold{kind="target", effect="hellinger"})', "threshold {{window}}"),
        ),
        panel("Predictions compared", "none", ("max by (window) (beacon_drift_rows)", "{{window}}")),
        panel(
            "Features out of training's range",
            SHARE,
            realised("any_feature_outside_share"),
            note="Share of the predictions with at least one.",
        ),
    )
    rows = [Row("Now", whole), Row("Features", features), Row("Answers", answers)]
    for name in product.key_features:
        score, threshold = (
            f'max by (window) (beacon_drift_{what}{{feature="{name}", effect="hellinger"}})'
            for what in ("score", "threshold")
        )
        title = next(feature.title for feature in product.features if feature.name == name)
        shares = [
            (of_predictions(f'{metric}{{feature="{name}"}}', "")[0], word)
            for metric, word in (
                ("model_imputations_total", "imputed"),
                ("model_out_of_range_features_total", "out of training's range"),
            )
        ]
        rows.append(
            Row(
                f"{name}: {title}",
                (
                    panel("Shift", "none", (score, "{{window}}"), (threshold, "threshold {{window}}")),
                    panel("Missing and out of range", SHARE, *shares),
                    panel(
                        "Other effects",
                        "none",
                        (
                            f'max by (effect, window) (beacon_drift_score{{feature="{name}", effect!="hellinger"}})',
                            "{{effect}}, {{window}}",
                        ),
                    ),
                ),
            )
        )
    return Dashboard(
        "beacon-drift", "drift and important features", "Does the world still look like the training data?", tuple(rows)
    )
