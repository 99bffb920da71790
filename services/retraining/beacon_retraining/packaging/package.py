"""Package: the fitted model as the folder that inference serves, with its manifest, profile and card."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from onnxruntime import InferenceSession

from beacon_core.domain.precision import decimals_of
from beacon_core.domain.product import Product
from beacon_core.model_package.explanation.explainer import Explainer
from beacon_core.model_package.manifest import (
    BATCH_FILE,
    CARD_FILE,
    EFFECTS_FILE,
    EXPLANATION_FILE,
    MANIFEST_VERSION,
    MODEL_FILE,
    PROFILE_FILE,
    FeatureFacts,
    GoldenRequest,
    Interval,
    Manifest,
    Package,
    Score,
    TrainingData,
    digest,
)
from beacon_core.model_package.recipe import Recipe
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.packaging import export
from beacon_retraining.packaging.baseline import find_baseline
from beacon_retraining.packaging.batch_form import make_batch_form
from beacon_retraining.packaging.card import model_card
from beacon_retraining.packaging.effects import Effects, find_effects
from beacon_retraining.packaging.effects_plot import effects_plot
from beacon_retraining.packaging.explanation import make_explanation
from beacon_retraining.packaging.graph import export_model, export_spread
from beacon_retraining.packaging.install import place
from beacon_retraining.packaging.profile import reference_profile
from beacon_retraining.packaging.spread_output import run_with_spread
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.fitting import FittedModel
from beacon_retraining.training.imputation import impute, model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.splits import splits_text
from beacon_retraining.training.train import TrainedModel

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
GOLDEN_ROWS = 8
INTERVAL_METHOD = "conformal, from the signed residuals of the cross-validation"
SPREAD_METHOD = (
    "normalized conformal, from the signed residuals of the cross-validation over each row's spread ({kind})"
)


class PackageOrigin(msgspec.Struct, frozen=True):
    """The origin of a package: the registry's version, the data's source, the code's revision, the time.

    `unlabelled` rows of the source have no target, and were left out.
    """

    version: str
    source: str
    revision: str
    created_at: datetime
    unlabelled: int = 0


class PackageParts(msgspec.Struct, frozen=True):
    """What a package holds of its model, whoever trained it: the graph, and the figures that were measured of it.

    `fill` and `importances` are by feature; the absolute error is in the target's unit. `card` writes the model card.
    `recipe` is None for a model that Beacon did not train.
    """

    model: bytes
    fill: Matrix
    importances: Matrix
    interval: Interval
    expected_absolute_error: float
    scores: tuple[Score, ...]
    algorithm: str
    libraries: dict[str, str]
    card: Callable[[Manifest, Effects], str]
    recipe: Recipe | None = None


def write_package(
    models: Path,
    product: Product,
    dataset: Dataset,
    trained: TrainedModel,
    settings: TrainSettings,
    origin: PackageOrigin,
    model: bytes | None = None,
) -> Package:
    """Write `models`/NAME/VERSION in one step and return it, read back and verified.

    `model` is what `export_model` and `export_spread` made earlier.
    A package of that version that was never registered is replaced.
    """
    if model is None:
        if trained.model is None:
            raise ValueError("a training that was read from its file has no model to export")
        model = export_model(dataset, FittedModel(trained.model, trained.fill, dataset.schema))
        model = export_spread(model, dataset, trained)
    return assemble(models, product, dataset, parts_of(product, dataset, trained, settings, model, origin), origin)


def parts_of(
    product: Product,
    dataset: Dataset,
    trained: TrainedModel,
    settings: TrainSettings,
    model: bytes,
    origin: PackageOrigin,
) -> PackageParts:
    """The parts of a model that Beacon trained."""
    baseline = find_baseline(dataset.fingerprint, settings)
    spread, widths = trained.interval.spread, trained.interval.widths
    return PackageParts(
        model=model,
        fill=trained.fill,
        importances=trained.importances,
        interval=Interval(
            method=INTERVAL_METHOD if spread.is_constant else SPREAD_METHOD.format(kind=spread.kind),
            coverage=product.training.interval_coverage,
            low=widths.low,
            high=widths.high,
            measured_coverage=trained.measured_coverage,
            follows_row=not spread.is_constant,
        ),
        expected_absolute_error=trained.result.mae,
        scores=_scores(product, dataset, trained, settings),
        algorithm=trained.algorithm,
        libraries=trained.libraries,
        recipe=trained.recipe,
        card=lambda manifest, effects: model_card(
            product, dataset, trained, manifest, effects, baseline, origin.unlabelled
        ),
    )


def assemble(models: Path, product: Product, dataset: Dataset, parts: PackageParts, origin: PackageOrigin) -> Package:
    """Write the package of a model of any origin, described by the rows of `dataset`, and read it back."""
    model, session = parts.model, open_session(parts.model)
    columns = model_columns(dataset.features, parts.fill, dataset.schema, dataset.seconds)
    predictions, spreads = run_with_spread(session, columns)
    manifest = Manifest(
        manifest_version=MANIFEST_VERSION,
        product=product.name,
        version=origin.version,
        created_at=origin.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        schema=dataset.schema,
        features=_features(dataset, parts.fill, parts.importances),
        decimals=_decimals(product, dataset),
        target_quantiles=_quantiles(dataset.target),
        prediction_min=float(dataset.target.min()),
        prediction_max=float(dataset.target.max()),
        prediction_quantiles=_quantiles(predictions),
        interval=parts.interval,
        expected_absolute_error=parts.expected_absolute_error,
        scores=parts.scores,
        algorithm=parts.algorithm,
        data=TrainingData(source=origin.source, fingerprint=dataset.fingerprint, rows=len(dataset.target)),
        revision=origin.revision,
        libraries=parts.libraries,
        golden=_golden(session, parts.fill, dataset, predictions, origin.created_at),
        golden_tolerance=export.RELATIVE_TOLERANCE * dataset.spread,
        files={},
        recipe=parts.recipe,
    )
    batch = make_batch_form(model, columns, predictions, spreads)
    explanation = make_explanation(model, dataset.schema, columns, predictions)
    explainer = Explainer(Package(models, manifest, model, "", batch, explanation))
    effects = find_effects(
        explainer,
        dataset.schema.features,
        impute(dataset.features, parts.fill),
        columns,
        dataset.seconds,
        lambda rows, times: explainer.predictions(
            model_columns(rows, parts.fill, dataset.schema, times).astype(np.float32)
        ),
    )
    contents = {
        MODEL_FILE: model,
        PROFILE_FILE: reference_profile(product, dataset, predictions),
        CARD_FILE: parts.card(manifest, effects).encode(),
        EXPLANATION_FILE: explanation,
        EFFECTS_FILE: effects_plot(effects, manifest).encode(),
    }
    if batch is not None:
        contents[BATCH_FILE] = batch
    manifest = msgspec.structs.replace(manifest, files={name: digest(content) for name, content in contents.items()})
    return place(models / product.name / origin.version, contents, manifest)


def _features(dataset: Dataset, fill: Matrix, importances: Matrix) -> tuple[FeatureFacts, ...]:
    facts = []
    for i, feature in enumerate(dataset.schema.features):
        known = dataset.features[:, i][~np.isnan(dataset.features[:, i])]
        known = known if len(known) else fill[[i]]
        facts.append(
            FeatureFacts(
                name=feature.name,
                fill=float(fill[i]),
                min=float(known.min()),
                max=float(known.max()),
                quantiles=_quantiles(known),
                importance=float(importances[i]),
                levels=dataset.levels.get(feature.name),
            )
        )
    return tuple(facts)


def _decimals(product: Product, dataset: Dataset) -> int:
    """The product's decimals, else those that the target's spread needs."""
    stated = product.target.decimals
    return decimals_of(dataset.spread) if stated is None else stated


def _quantiles(values: Matrix) -> tuple[float, float, float, float, float, float, float]:
    a, b, c, d, e, f, g = np.quantile(values, QUANTILES).tolist()
    return a, b, c, d, e, f, g


def _scores(product: Product, dataset: Dataset, trained: TrainedModel, settings: TrainSettings) -> tuple[Score, ...]:
    result, how = trained.result, _how(product, dataset, settings)
    return (
        Score("rmse", result.rmse, f"{how}; mean over the folds"),
        Score("pooled_rmse", result.pooled_rmse, f"{how}; over all held-out rows at once"),
        Score("mae", result.mae, f"{how}; mean over the folds"),
        Score("r2", result.r2, f"{how}; mean over the folds"),
    )


def _how(product: Product, dataset: Dataset, settings: TrainSettings) -> str:
    """How the chosen model's figures were measured."""
    effort = effort_of(len(dataset.target), settings)
    all_searched = effort.search_rows == len(dataset.target)
    folds = splits_text(product, effort.folds if all_searched else effort.coverage_folds)
    repeated = (
        f", repeated {effort.repeats} times"
        if all_searched and effort.repeats > 1 and product.time.split != "time"
        else ""
    )
    return f"{folds}{repeated}, imputation and encoding fitted inside"


def _golden(
    session: InferenceSession, fill: Matrix, dataset: Dataset, predictions: Matrix, now: datetime
) -> tuple[GoldenRequest, ...]:
    """Rows from the lowest prediction to the highest, evenly spaced; ages are counted to the package's `created_at`."""
    chosen = np.argsort(predictions, kind="stable")[np.linspace(0, len(predictions) - 1, GOLDEN_ROWS).astype(int)]
    rows = impute(dataset.features[chosen], fill)
    seconds = np.full(len(rows), now.replace(microsecond=0).timestamp())
    answers, spreads = run_with_spread(session, model_columns(rows, fill, dataset.schema, seconds))
    return tuple(
        GoldenRequest(tuple(row), float(answer), float(spread))
        for row, answer, spread in zip(rows.tolist(), answers, spreads, strict=True)
    )
