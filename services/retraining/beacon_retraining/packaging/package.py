"""Package: the fitted model as the folder that inference serves, and everything it says of itself."""

from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import (
    CARD_FILE,
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
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.packaging import export
from beacon_retraining.packaging.card import model_card
from beacon_retraining.packaging.install import place
from beacon_retraining.packaging.peer import find_peer
from beacon_retraining.packaging.profile import reference_profile
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.libraries import LIBRARIES
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import Trained

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
GOLDEN_ROWS = 8
INTERVAL_METHOD = "conformal, from the signed residuals of the cross-validation"


class Origin(msgspec.Struct, frozen=True):
    """Where a package comes from: the registry's version, the data's source, the code's revision, the time."""

    version: str
    source: str
    revision: str
    created_at: datetime


def write_package(
    models: Path,
    product: Product,
    dataset: Dataset,
    trained: Trained,
    settings: TrainSettings,
    origin: Origin,
    model: bytes | None = None,
) -> Package:
    """Write `models`/NAME/VERSION in one step and return it, read back and verified.

    `model` is what `export_model` made earlier. A package of that version that never got into the registry is replaced.
    """
    model = export_model(dataset, trained) if model is None else model
    features = impute(dataset.features, trained.fill)
    predictions = export.run(export.open_session(model), features).astype(np.float64)
    manifest = Manifest(
        manifest_version=MANIFEST_VERSION,
        product=product.name,
        version=origin.version,
        created_at=origin.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        schema_version=product.schema_version,
        schema_hash=product.schema_hash,
        features=_feature_facts(product, dataset, trained),
        target=product.target.name,
        unit=product.target.unit,
        prediction_min=float(dataset.target.min()),
        prediction_max=float(dataset.target.max()),
        prediction_quantiles=_quantiles(predictions),
        interval=Interval(
            method=INTERVAL_METHOD,
            coverage=product.training.interval_coverage,
            low=trained.widths.low,
            high=trained.widths.high,
            measured_coverage=trained.measured_coverage,
        ),
        expected_absolute_error=trained.result.mae,
        scores=_scores(trained, settings),
        algorithm=trained.candidate,
        data=TrainingData(source=origin.source, fingerprint=dataset.fingerprint, rows=len(dataset.target)),
        revision=origin.revision,
        libraries={name: library_version(name) for name in LIBRARIES},
        golden=_golden(features, predictions),
        golden_tolerance=export.TOLERANCE,
        files={},
    )
    contents = {
        MODEL_FILE: model,
        PROFILE_FILE: reference_profile(product, dataset, predictions),
        CARD_FILE: model_card(product, trained, manifest, find_peer(dataset.fingerprint, settings)).encode(),
    }
    manifest = msgspec.structs.replace(manifest, files={name: digest(content) for name, content in contents.items()})
    return place(models / product.name / origin.version, contents, manifest)


def export_model(dataset: Dataset, trained: Trained) -> bytes:
    """The model as ONNX; raises `ParityError` when it does not answer as scikit-learn does."""
    features = impute(dataset.features, trained.fill)
    model = export.to_onnx(trained.model, features.shape[1])
    export.check_parity(model, trained.model, features)
    return model


def _feature_facts(product: Product, dataset: Dataset, trained: Trained) -> tuple[FeatureFacts, ...]:
    facts = []
    for i, feature in enumerate(product.features):
        known = dataset.features[:, i][~np.isnan(dataset.features[:, i])]
        facts.append(
            FeatureFacts(
                name=feature.name,
                type=feature.type,
                fill=float(trained.fill[i]),
                min=float(known.min()),
                max=float(known.max()),
                quantiles=_quantiles(known),
                importance=float(trained.importances[i]),
            )
        )
    return tuple(facts)


def _quantiles(values: Matrix) -> tuple[float, float, float, float, float, float, float]:
    a, b, c, d, e, f, g = np.quantile(values, QUANTILES).tolist()
    return a, b, c, d, e, f, g


def _scores(trained: Trained, settings: TrainSettings) -> tuple[Score, ...]:
    result = trained.result
    folds = f"{settings.folds}-fold cross-validation, repeated {settings.repeats} times, imputation fitted inside"
    return (
        Score("rmse", result.rmse, f"{folds}; mean over the folds"),
        Score("pooled_rmse", result.pooled_rmse, f"{folds}; over all held-out rows at once"),
        Score("mae", result.mae, f"{folds}; mean over the folds"),
        Score("r2", result.r2, f"{folds}; mean over the folds"),
    )


def _golden(features: Matrix, predictions: Matrix) -> tuple[GoldenRequest, ...]:
    """Rows from the lowest prediction to the highest, evenly spaced."""
    chosen = np.argsort(predictions, kind="stable")[np.linspace(0, len(predictions) - 1, GOLDEN_ROWS).astype(int)]
    return tuple(GoldenRequest(tuple(features[row].tolist()), float(predictions[row])) for row in chosen)
