"""Erasure of an entity, or of predictions, from the registry: the training rows that MLflow keeps beside each version.

A model cannot forget: what is left is to name the versions that were trained on the subject, and to mark them.
"""

import tempfile
from pathlib import Path

from beacon_core.data.database import Engine
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.domain.product import Product
from beacon_core.feature_store.erasing import erase_from_parquet
from beacon_core.platform.settings import Settings
from beacon_retraining.registry.register import DATA, TRAINING_ROWS, Registry

TAG = "beacon.trained_on_erased"
"""The tag of a version that was trained on rows of an erased subject: how many they were."""


def erase(settings: Settings, product: Product, _engine: Engine, subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase the subject; raises `RegistryUnavailableError` and `RegistryRefusedError`."""
    registry = Registry(settings.mlflow_address)
    versions = {version.run_id: version.number for version in registry.mlflow.versions(f"name = '{product.name}'")}
    rows, trained = 0, []
    for run_id in registry.runs_of(product.name):
        with tempfile.TemporaryDirectory() as folder:
            file = registry.artifact(run_id, TRAINING_ROWS, Path(folder))
            gone = None if file is None else erase_from_parquet(file, product, subject, dry_run=dry_run)
            if file is None or gone is None:
                continue
            rows += int(gone.sum())
            number = versions.get(run_id)
            trained.append(f"version {number}" if number else f"run {run_id}, which is no version")
            if not dry_run:
                if number is not None:  # before the rows go: a repeat would not find them
                    registry.tag(product.name, number, **{TAG: str(int(gone.sum()))})
                registry.replace_artifact(run_id, file, DATA)
    why = "trained on its rows, and a model keeps what it learned: retrain, and take these versions out of service"
    remains = {"models": [f"{name}: {why}" for name in trained]} if trained else {}
    return ErasedPlace({"rows beside models": rows}, remains)
