"""The model card: what a person should know before trusting the model."""

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest
from beacon_retraining.packaging.baseline import Baseline
from beacon_retraining.training.train import TrainedModel, TrainingResult

TEMPLATE = """\
# {title}: model {version}

{algorithm} on {width} features, trained {created_at} on {rows} rows ({source}).
It predicts the {target_title} ({target}) in {unit}.

## Intended use

An estimate of the {target_title} of one {entity}, with an interval, for people who study or monitor such data. Not
by itself for decisions about people or money: the model knows {rows} rows, and the place and time that they come from.

## Data

- source: {source}; fingerprint (sha256) `{fingerprint}`
- missing values are filled with the training rows' median, or the most frequent value for categories: {imputed}
{excluded}

## Models compared

{how}.
From simple to complex, the first is taken that is at most one standard error behind the best, row by row:
**{algorithm}**.
RMSE, MAE and R2 are means over the folds +- their standard deviation; the pooled RMSE is over all held-out rows.
The models' own settings were chosen by hand on the data that Beacon ships with, where these figures are too good.

| model | RMSE | pooled RMSE | MAE | R2 | squared error above the best |
| --- | --- | --- | --- | --- | --- |
{table}

{baseline}

## Interval

From prediction - {low:.2f} to prediction + {high:.2f} ({unit}): {method}.
It promises {coverage:.0%}; measured {measured:.1%}, on rows that set neither the model nor the widths (nested
cross-validation). It is an average over all rows, and equally wide everywhere: where errors are larger, more miss it.

## Importances

Rise of the RMSE ({unit}) on held-out rows when one feature's values are shuffled (importance), and when it is always
missing (absent). The most important is {key}; {key_low:g} to {key_high:g} holds 98 % of its training values.

| feature | importance | absent | training range | fill |
| --- | --- | --- | --- | --- |
{importances}

## Missing values

Held-out RMSE {rmse:.2f} with the gaps that the data have; with more values removed at random: {missing}.

## Limits

- Predictions outside {prediction_min:g} to {prediction_max:g} ({unit}), the range of the training target, are flagged.
- Values outside a feature's training range are flagged; there the model extrapolates.
- Importances and the model show association, not cause.

## Reproduce

Revision {revision}; {libraries}. Equal data, settings and libraries give an equal model.onnx.
"""


def model_card(product: Product, trained: TrainedModel, manifest: Manifest, baseline: Baseline | None) -> str:
    """MODEL_CARD.md, every figure taken from the training at hand, and `baseline` measured on the same folds."""
    results = sorted(trained.results, key=lambda result: result.rmse)
    ranked = sorted(manifest.features, key=lambda feature: -feature.importance)
    absent = dict(zip(product.feature_names, trained.assessment.absent.tolist(), strict=True))
    excluded = [f"- excluded: **{name}**, because it {why}" for name, why in product.excluded.items()]
    return TEMPLATE.format(
        title=product.title,
        version=manifest.version,
        algorithm=manifest.algorithm,
        width=len(manifest.features),
        created_at=manifest.created_at,
        rows=manifest.data.rows,
        source=manifest.data.source,
        fingerprint=manifest.data.fingerprint,
        target=manifest.target,
        target_title=product.target.title,
        unit=manifest.unit,
        entity=product.entity.name,
        imputed=", ".join(f"{feature.name} {feature.fill:g}" for feature in manifest.features),
        excluded="\n".join(excluded),
        how=manifest.scores[0].how.partition(";")[0].capitalize(),
        table="\n".join(_row(result, trained.excess[result.name]) for result in results),
        baseline=_against(trained.result, baseline),
        low=manifest.interval.low,
        high=manifest.interval.high,
        method=manifest.interval.method,
        coverage=manifest.interval.coverage,
        measured=manifest.interval.measured_coverage,
        importances="\n".join(
            f"| {feature.name} | {feature.importance:.2f} | {absent[feature.name]:.2f} "
            f"| {feature.min:g} to {feature.max:g} | {feature.fill:g} |"
            for feature in ranked
        ),
        key=ranked[0].name,
        key_low=ranked[0].quantiles[0],
        key_high=ranked[0].quantiles[-1],
        rmse=trained.assessment.rmse,
        missing=", ".join(f"{share:.0%} {rmse:.2f}" for share, rmse in trained.assessment.missing.items()),
        prediction_min=manifest.prediction_min,
        prediction_max=manifest.prediction_max,
        revision=manifest.revision,
        libraries=", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items())),
    )


def _against(result: TrainingResult, baseline: Baseline | None) -> str:
    """How far the model is from a well-known one."""
    if baseline is None:
        return "CatBoost's defaults were not measured on these data and folds (`make compare-catboost` does it)."
    return (
        f"On the same folds, {baseline.name} {baseline.version} as it comes: "
        f"RMSE {baseline.rmse:.3f} +- {baseline.rmse_spread:.2f}, pooled {baseline.pooled_rmse:.3f}, "
        f"MAE {baseline.mae:.3f}, R2 {baseline.r2:.3f}; this model's RMSE is "
        f"{result.rmse / baseline.rmse:.1%} of that (`make compare-catboost`)."
    )


def _row(result: TrainingResult, excess: tuple[float, float]) -> str:
    return (
        f"| {result.name} | {result.rmse:.3f} +- {result.rmse_spread:.2f} | {result.pooled_rmse:.3f} "
        f"| {result.mae:.3f} +- {result.mae_spread:.2f} | {result.r2:.3f} +- {result.r2_spread:.2f} "
        f"| {excess[0]:.2f} +- {excess[1]:.2f} |"
    )
