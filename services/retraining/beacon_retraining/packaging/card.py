"""The model card: what a person should know before trusting the model."""

from collections.abc import Iterable

from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import Level
from beacon_core.model_package.manifest import EFFECTS_FILE, FeatureFacts, Manifest
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.packaging.baseline import Baseline
from beacon_retraining.packaging.effects import Effects
from beacon_retraining.packaging.figures import figure
from beacon_retraining.packaging.interval_section import interval_text, slices_text
from beacon_retraining.training.selection import SIMPLICITY, TrainingResult
from beacon_retraining.training.train import TrainedModel

TEMPLATE = """\
# {title}: model {version}

{algorithm} on {width} features, trained {created_at} on {rows} rows ({source}).
It predicts {target}{target_name}{in_unit}.

## Intended use

An estimate of {target}, for one {entity} and with an interval, for people who study or monitor such data. Not
by itself for decisions about people or money: the model knows {rows} rows, and the place and time that they come from.

## Data

- source: {source}; fingerprint (sha256) `{fingerprint}`
- missing values are filled with the training rows' median, or the most frequent value for categories: {imputed}
{data_notes}

## Models compared

{how}.
From simple to complex, the first is taken that is at most one standard error behind the best, row by row, and whose
pooled RMSE is at most {simplicity:.0%} above it: **{algorithm}**.
RMSE, MAE and R2 are means over the folds +- their standard deviation; the pooled RMSE is over all held-out rows.
{search}

| model | RMSE | pooled RMSE | MAE | R2 | squared error above the best |
| --- | --- | --- | --- | --- | --- |
{table}

{baseline}

## Interval

{interval}

## Segments and slices

{slices}

## Importances

Rise of the RMSE{unit_note} on held-out rows when one feature's values are shuffled (importance), and when it is always
missing (absent). The most important is {key}{key_range}.

| feature | importance | absent | training values | fill |
| --- | --- | --- | --- | --- |
{importances}

## Effects

{effects}

## Missing values

Held-out RMSE {rmse} with the gaps that the data have; with more values removed at random: {missing}.

## Limits

- Predictions outside {prediction_min} to {prediction_max}{unit_note}, the range of the training target, are flagged.
- Values outside a feature's training range are flagged; there the model extrapolates.
- Importances and the model show association, not cause.

## Reproduce

Revision {revision}; {libraries}. Equal data, settings and libraries give an equal model.onnx.
"""
EFFECTS_TEXT = "Contributions, partial dependence and the strongest interaction"
LEVELS_SHOWN = 12


def model_card(
    product: Product,
    dataset: Dataset,
    trained: TrainedModel,
    manifest: Manifest,
    effects: Effects,
    baseline: Baseline | None,
    unlabelled: int = 0,
) -> str:
    """MODEL_CARD.md, every figure taken from the training at hand, and `baseline` measured on the same folds.

    `unlabelled` rows of the data have no target, and were left out.
    """
    results = sorted(trained.results, key=lambda result: result.rmse)
    pairs = list(zip(manifest.schema.features, manifest.features, strict=True))
    ranked = sorted(pairs, key=lambda pair: -pair[1].importance)
    absent = dict(zip(manifest.schema.feature_names, trained.assessment.absent.tolist(), strict=True))
    target = manifest.schema.target
    key, key_facts = ranked[0]
    return TEMPLATE.format(
        title=product.title,
        version=manifest.version,
        algorithm=manifest.algorithm,
        width=len(manifest.features),
        created_at=manifest.created_at,
        rows=manifest.data.rows,
        source=manifest.data.source,
        fingerprint=manifest.data.fingerprint,
        target=target.name if target.title == target.name else f"the {target.title}",
        target_name="" if target.title == target.name else f" ({target.name})",
        in_unit=f" in {target.unit}" if target.unit else "",
        unit_note=f" ({target.unit})" if target.unit else "",
        entity=product.entity.name if product.entity else "case",
        imputed=", ".join(f"{feature.name} {value_text(feature, facts, facts.fill)}" for feature, facts in pairs),
        data_notes="\n".join(_data_notes(product, manifest, unlabelled)),
        how=_how(trained, manifest),
        search=_search(trained),
        simplicity=SIMPLICITY - 1,
        table="\n".join(_row(result, trained.excess[result.name]) for result in results),
        baseline=_against(trained.result, baseline),
        interval=interval_text(trained, manifest),
        slices=slices_text(product, dataset, trained.assessment.held_out),
        importances="\n".join(
            f"| {feature.name} | {figure(facts.importance)} | {figure(absent[feature.name])} "
            f"| {training_values(feature, facts)} | {value_text(feature, facts, facts.fill)} |"
            for feature, facts in ranked
        ),
        effects="\n".join(effects_text(effects, manifest)),
        key=key.name,
        key_range=_key_range(key, key_facts),
        rmse=figure(trained.assessment.rmse),
        missing=", ".join(f"{share:.0%} {figure(rmse)}" for share, rmse in trained.assessment.missing.items()),
        prediction_min=_target_text(manifest.prediction_min, manifest),
        prediction_max=_target_text(manifest.prediction_max, manifest),
        revision=manifest.revision,
        libraries=", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items())),
    )


def value_text(feature: Feature, facts: FeatureFacts, number: float) -> str:
    """A number of the model's rows as the value that it stands for."""
    if facts.levels is not None:
        at = int(number)
        return _cell(str(facts.levels[at])) if at < len(facts.levels) else "other"
    if feature.type == "bool":
        return "true" if number else "false"
    value = feature.to_value(number)
    return value if isinstance(value, str) else f"{number:g}"


def training_values(feature: Feature, facts: FeatureFacts) -> str:
    """The range of a measurement, the levels of a category."""
    if feature.type == "bool":
        return "true, false"
    if feature.is_category:
        return _listed(facts.levels or feature.known_levels)
    return f"{value_text(feature, facts, facts.min)} to {value_text(feature, facts, facts.max)}"


def _listed(levels: tuple[Level, ...]) -> str:
    more = len(levels) - LEVELS_SHOWN
    shown = ", ".join(_cell(str(level)) for level in levels[:LEVELS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _cell(text: str) -> str:
    """A text that is no end of a table's cell."""
    return text.replace("|", "\\|")


def _key_range(feature: Feature, facts: FeatureFacts) -> str:
    if feature.is_category:
        return ""
    low, high = (value_text(feature, facts, facts.quantiles[at]) for at in (0, -1))
    return f"; {low} to {high} holds 98 % of its training values"


def _target_text(value: float, manifest: Manifest) -> str:
    return f"{value:.{manifest.decimals}f}".rstrip("0").rstrip(".") if manifest.decimals else f"{value:.0f}"


def _data_notes(product: Product, manifest: Manifest, unlabelled: int) -> Iterable[str]:
    """What was left out, computed, transformed and weighted."""
    if unlabelled:
        yield f"- not trained on: {unlabelled} more rows, which have no {product.target.name}"
    yield from (f"- excluded: **{name}**: {why}" for name, why in product.excluded.items())
    yield from (f"- computed: **{column.name}** is {column.formula.text}" for column in manifest.schema.derived)
    yield from (
        f"- of **{feature.name}** the model has {', '.join(feature.parts)}"
        for feature in manifest.schema.features
        if feature.parts
    )
    if manifest.schema.target.weight:
        yield f"- rows are weighted by **{manifest.schema.target.weight}**, in the fit and in every figure"


def effects_text(effects: Effects, manifest: Manifest) -> Iterable[str]:
    """How much each feature contributes to the predictions, which two interact, and the picture."""
    unit = f" ({manifest.schema.target.unit})" if manifest.schema.target.unit else ""
    how = "exact" if effects.is_exact else "sampled"
    yield (
        f"Mean size of each feature's contribution{unit} to the predictions of {effects.rows} training rows "
        f"({how} Shapley values, as `POST /v1/explain` gives them):"
    )
    sizes = [f"{name} {figure(size)}" for name, size in effects.contributions.items() if size]
    yield ", ".join(sizes) + "." if sizes else "none."
    found = effects.interaction
    if found is not None:
        first, second = (manifest.schema.features[at].name for at in (found.first, found.second))
        yield (
            f"Of the features that contribute most, {first} and {second} interact most: {figure(found.size)}{unit} of "
            f"their common effect is not the sum of their own ({found.share:.0%}, Friedman's and Popescu's H)."
        )
    yield "In the picture, grey bars are the shares of the training rows with a value."
    yield f"\n![{EFFECTS_TEXT}]({EFFECTS_FILE})"


def _how(trained: TrainedModel, manifest: Manifest) -> str:
    """How the models were compared; of many rows, the search was on some of them."""
    how = manifest.scores[0].how.partition(";")[0].capitalize()
    searched, known = len(trained.results[0].rows), len(trained.result.rows)
    notes = [f"the search compared the models on {searched} of the rows, by chance"] if searched < known else []
    notes += [f"{name} cannot be used: {reason}" for name, reason in trained.rejected.items()]
    return "; ".join([how, *notes])


def _search(trained: TrainedModel) -> str:
    """How the settings were found, and what that does to the figures."""
    summary, entry_point = trained.summary, trained.recipe.entry_point
    if entry_point is not None:
        return (
            f"The estimator is that of `{entry_point.function}` (`training.entry_point`), of the code with "
            f"sha256 {entry_point.sha256[:12]}: nothing else was compared."
        )
    if not summary.trials:
        return "No setting was tuned on these data (`training.budget_seconds`)."
    cut = f" The clock ended it: `training.trials: {summary.trials}` makes this model again." if summary.is_cut else ""
    return (
        f"The search tried {summary.trials} settings ({summary.pruned} ended early, {summary.failed} failed).{cut}\n"
        "They were chosen on these rows, so the figures of tuned models and of the blend are a little too good."
    )


def _against(result: TrainingResult, baseline: Baseline | None) -> str:
    """How far the model is from a well-known one."""
    if baseline is None:
        return "CatBoost's defaults were not measured on these data and folds (`make compare-catboost` does it)."
    return (
        f"On the same folds, {baseline.name} {baseline.version} as it comes: "
        f"RMSE {figure(baseline.rmse)} +- {figure(baseline.rmse_spread)}, pooled {figure(baseline.pooled_rmse)}, "
        f"MAE {figure(baseline.mae)}, R2 {baseline.r2:.3f}; this model's RMSE is "
        f"{result.rmse / baseline.rmse:.1%} of that (`make compare-catboost`)."
    )


def _row(result: TrainingResult, excess: tuple[float, float]) -> str:
    return (
        f"| {result.name} | {figure(result.rmse)} +- {figure(result.rmse_spread)} | {figure(result.pooled_rmse)} "
        f"| {figure(result.mae)} +- {figure(result.mae_spread)} | {result.r2:.3f} +- {result.r2_spread:.2f} "
        f"| {figure(excess[0])} +- {figure(excess[1])} |"
    )
