"""Inference's metrics, which all exist from the start, and the counting of predictions."""

from typing import Any, NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.policy import large_residual
from beacon_core.domain.precision import decimals_of
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import Manifest
from beacon_core.observability import metrics
from beacon_core.observability.client_labels import ClientLabels
from beacon_core.platform.settings import Settings
from beacon_core.web.loop_metrics import CounterSeries, HistogramSeries, LoopCounter, LoopHistogram
from beacon_inference.matrix import Features, Mask
from beacon_inference.models.model import Model
from beacon_inference.per_product import PerProduct

SPARE_DIGITS = 2
"""So many digits fewer than an answer has the end of a bucket."""


class Predicted(NamedTuple):
    """The predictions of one request, what they were made from, and whose request it was."""

    model: Model
    product: Product
    values: list[float]
    features: Features
    client: str


class PredictionTelemetry:
    """The telemetry of one request for predictions, beside that of all requests: for access log, span and metrics.

    The request keeps it until a group of requests is counted, so it holds no more than counting needs.
    """

    # Class attributes, as most requests set few of them.
    synthetic = False
    replayed = False
    degraded: str | None = None
    model_version: str | None = None
    prediction_id: str | None = None
    explained_rows = 0
    _is_answered = False
    _predicted: Predicted | None = None

    def __init__(self, instruments: "Instruments", timings: list[tuple[str, float]]) -> None:
        self._instruments = instruments
        self._timings = timings

    def answered(self, predicted: Predicted, prediction_id: str) -> None:
        """Note the predictions for counting; those of a synthetic request are not counted."""
        self._is_answered = True
        self.model_version = predicted.model.pin.version
        self.prediction_id = prediction_id
        if not self.synthetic:
            self._predicted = predicted

    def log_fields(self) -> dict[str, Any]:
        """Return the fields that apply."""
        fields = {
            "model_version": self.model_version,
            "prediction_id": self.prediction_id,
            "replayed": self.replayed,
            "synthetic": self.synthetic,
            "degraded": self.degraded,
            "explained_rows": self.explained_rows,
        }
        return {name: value for name, value in fields.items() if value}

    def count(self) -> None:
        """Count the request's stages and predictions, if it was answered with a new one."""
        if self._is_answered:
            self._instruments.count(self._timings, self._predicted)


class Instruments:
    """The metrics of predictions; every label set that can be known exists from the start."""

    def __init__(self, registry: CollectorRegistry, product: Product, settings: Settings) -> None:
        self._registry = registry
        imputations = LoopCounter(metrics.IMPUTATIONS, registry)
        features_out = LoopCounter(metrics.OUT_OF_RANGE_FEATURES, registry)
        self._imputations = _by_feature(imputations)
        self._features_out = _by_feature(features_out)
        self._imputations(product)
        self._features_out(product)
        extreme = LoopCounter(metrics.EXTREME_PREDICTIONS, registry)
        self._very_low, self._very_high = extreme.labels("very_low"), extreme.labels("very_high")
        stages = LoopHistogram(metrics.STAGE_SECONDS, registry)
        self._stages = {stage: stages.labels(stage) for stage in metrics.STAGES}
        self._model_latency = LoopHistogram(metrics.MODEL_LATENCY, registry).labels()
        self._key_out = LoopCounter(metrics.KEY_FEATURE_OUT_OF_RANGE, registry).labels()
        self._predictions = LoopCounter(metrics.PREDICTIONS, registry)
        self._predictions_out = LoopCounter(metrics.OUT_OF_RANGE_PREDICTIONS, registry)
        self._of_clients = LoopCounter(metrics.CLIENT_PREDICTIONS, registry)
        self._clients_out = LoopCounter(metrics.CLIENT_OUT_OF_RANGE, registry)
        self._client_labels = ClientLabels()
        for counter in (self._of_clients, self._clients_out):
            counter.labels(ANONYMOUS)
        self._values: HistogramSeries | None = None
        explanations = LoopCounter(metrics.EXPLANATIONS, registry)
        self._explanations = {method: explanations.labels(method) for method in ("exact", "sampled")}
        self._explanation_seconds = LoopHistogram(metrics.EXPLANATION_SECONDS, registry).labels()
        self._explainer_starts = LoopCounter(metrics.EXPLAINER_STARTS, registry).labels()
        self._info = metrics.gauge(metrics.MODEL_INFO, registry)
        self._trained = metrics.gauge(metrics.MODEL_TRAINED, registry)
        self._expected = metrics.gauge(metrics.MODEL_EXPECTED_ERROR, registry)
        self._swaps = LoopCounter(metrics.MODEL_SWAPS, registry)
        for outcome in ("swapped", "refused", "shadow_refused", "shadow_failed"):
            self._swaps.labels(outcome)
        build = metrics.gauge(metrics.BUILD_INFO, registry)
        build.labels("inference", settings.build_version, settings.build_revision).set(1)
        self._thresholds = metrics.gauge(metrics.THRESHOLD, registry)
        self._set_thresholds(_thresholds(product))

    def _set_thresholds(self, limits: dict[str, float | None]) -> None:
        for name, value in limits.items():
            if value is not None:
                self._thresholds.labels(name).set(value)

    def swapped(self, model: Model, shadow: Model | None, product: Product) -> None:
        """Set the metrics of the models now in service, which answer requests of `product`."""
        self._swaps.labels("swapped").inc()
        self._info.clear()
        for role, current in (("champion", model), ("shadow", shadow)):
            if current is not None:
                self._info.labels(current.pin.name, current.pin.version, current.pin.sha256, role).set(1)
        self._trained.set(read_time(model.manifest.created_at).timestamp())
        self._expected.set(model.manifest.expected_absolute_error)
        self._predictions.labels(model.pin.version)
        self._predictions_out.labels(model.pin.version)
        self._set_thresholds(_thresholds(product) | _model_thresholds(product, model.manifest))
        self._imputations(product)
        self._features_out(product)
        if self._values is None:
            # Buckets follow the first model's training quantiles; they stay, so that series stay comparable.
            self._values = LoopHistogram(metrics.PREDICTION_VALUE, self._registry, buckets(model.manifest)).labels()

    def swap_failed(self, outcome: str) -> None:
        """Count a model that was refused, by outcome."""
        self._swaps.labels(outcome).inc()

    def shadow_failed(self) -> None:
        """Count a failed run of the shadow model."""
        self._swaps.labels("shadow_failed").inc()

    def explainer_started(self) -> None:
        """Count a start of the process that explains."""
        self._explainer_starts.inc()

    def explained(self, methods: list[str], seconds: float) -> None:
        """Count one request's explanations by their method, and their time."""
        for method in methods:
            self._explanations[method].inc()
        self._explanation_seconds.observe(seconds)

    def observe_model_run(self, seconds: float) -> None:
        """Count one run of the model."""
        self._model_latency.observe(seconds)

    def count(self, timings: list[tuple[str, float]], predicted: Predicted | None) -> None:
        """Count one answered request: its stages, and its predictions unless it is synthetic."""
        for stage, seconds in timings:
            self._stages[stage].observe(seconds)
        if predicted is not None:
            self._count_predictions(*predicted)

    def _count_predictions(
        self, model: Model, product: Product, values: list[float], features: Features, client: str
    ) -> None:
        # By the model that answered: another one may be in service when the group is counted.
        self._predictions.labels(model.pin.version).inc(len(values))
        manifest = model.manifest
        low, high = extremes(product, manifest)
        if self._values is not None:
            self._values.observe_all(values)
        # The two extremes show whether any prediction has to be counted; usually none has.
        lowest, highest = min(values), max(values)
        if lowest < low:
            self._very_low.inc(sum(value < low for value in values))
        if highest > high:
            self._very_high.inc(sum(value > high for value in values))
        if lowest < manifest.prediction_min or highest > manifest.prediction_max:
            self._predictions_out.labels(model.pin.version).inc(
                sum(not manifest.prediction_min <= value <= manifest.prediction_max for value in values)
            )
        _count_columns(self._imputations(product), features.missing)
        _count_columns(self._features_out(product), features.out_of_range)
        outside = 0 if features.out_of_range is None else int(features.out_of_range.any(axis=1).sum())
        label = self._client_labels.of(client)
        self._of_clients.labels(label).inc(len(values))
        self._clients_out.labels(label).inc(outside)
        if model.key is None:
            return
        key_values = features.rows[:, model.key].tolist()
        if min(key_values) < model.key_low or max(key_values) > model.key_high:
            self._key_out.inc(sum(not model.key_low <= value <= model.key_high for value in key_values))


def _count_columns(counts: list[CounterSeries], mask: Mask | None) -> None:
    if mask is not None:
        for count, masked in zip(counts, mask.sum(axis=0).tolist(), strict=True):
            count.inc(masked)


def extremes(product: Product, manifest: Manifest) -> tuple[float, float]:
    """Predictions below the first or above the second are extreme: by product.yaml, else by training."""
    target, quantiles = product.target, manifest.target_quantiles
    return quantiles[0] if target.low is None else target.low, quantiles[-1] if target.high is None else target.high


def buckets(manifest: Manifest) -> tuple[float, ...]:
    """Upper ends for the histogram of predictions, two at least: the quantiles of training, short enough to be read."""
    for quantiles in (manifest.prediction_quantiles, manifest.target_quantiles):
        decimals = decimals_of(max(quantiles) - min(quantiles)) - SPARE_DIGITS
        ends = sorted({round(value, decimals) for value in quantiles})
        if len(ends) > 1:
            return tuple(ends)
    value = manifest.target_quantiles[0]  # the target is constant
    return (value - abs(value) / 10, value + abs(value) / 10) if value else (-1.0, 1.0)


def _by_feature(counter: LoopCounter) -> PerProduct[list[CounterSeries]]:
    return PerProduct(lambda product: [counter.labels(name) for name in product.feature_names])


def _model_thresholds(product: Product, manifest: Manifest) -> dict[str, float | None]:
    """The limits that product.yaml and policy.yaml leave to the model."""
    low, high = extremes(product, manifest)
    return {
        "large_residual": large_residual(product.policy.quality, manifest.expected_absolute_error),
        "target_low": low,
        "target_high": high,
    }


def _thresholds(product: Product) -> dict[str, float | None]:
    return {
        "latency_slo_seconds": product.policy.serving.latency_slo_seconds,
        "interval_coverage": product.training.interval_coverage,
        "availability_slo": product.policy.serving.availability_slo,
        "min_coverage": product.policy.promotion.min_coverage,
        "min_labels": product.policy.drift.min_labels,
        "min_features": product.min_features,
        "large_residual": product.policy.quality.large_residual,
        "target_low": product.target.low,
        "target_high": product.target.high,
        "max_mae_ratio": product.policy.drift.max_mae_ratio,
        **msgspec.structs.asdict(product.policy.monitoring),
    }
