"""Logged predictions as rows of the model that made them, whose package may be in service no more."""

import asyncio
import contextlib
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import Manifest, Package, PackageError
from beacon_core.model_package.model_inputs import FeatureMap
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import SignatureError, read_trusted, trust_of
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import SigningKeyError
from beacon_core.spool.record import Record
from beacon_inference.explanation.turns import Turns
from beacon_inference.matrix import Matrix
from beacon_inference.prediction.encoding import ValueEncoder

KEPT = 2
"""Packages that are held; what was downloaded of others is removed."""


class FoundPackage(NamedTuple):
    """Where a verified package lies, and its manifest."""

    folder: Path
    manifest: Manifest


class Packages:
    """Finds the packages of old predictions: in the models folder, else in MLflow, into a folder of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: OrderedDict[str, FoundPackage] = OrderedDict()
        self._downloads: tempfile.TemporaryDirectory[str] | None = None
        self._turns = Turns()

    async def find(self, pin: Pin) -> FoundPackage:
        """The package; raises BeaconError `model_gone`, `registry_unavailable` or `overloaded`.

        One at a time: threads are few, and predictions need them, too.
        """
        async with self._turns.take():
            found = self._held.pop(pin.sha256, None)
            if found is None:
                package = await asyncio.to_thread(self._find, pin)
                found = FoundPackage(package.folder, package.manifest)
            self._held[pin.sha256] = found
            while len(self._held) > KEPT:
                await asyncio.to_thread(self._drop, self._held.popitem(last=False)[1])
            return found

    def forget(self, pin: Pin) -> None:
        """Look for the package again next time."""
        self._held.pop(pin.sha256, None)

    def close(self) -> None:
        """Remove what was downloaded."""
        if self._downloads is not None:
            self._downloads.cleanup()

    def _find(self, pin: Pin) -> Package:
        try:
            trust = trust_of(self._settings)
        except SigningKeyError as error:
            raise BeaconError("model_gone", f"version {pin.version} cannot be trusted: {message_of(error)}") from error
        with contextlib.suppress(PackageError):
            return read_trusted(package_folder(self._settings.models_dir, pin), pin.sha256, trust)
        gone = f"the model that made the prediction, version {pin.version}, is not here any more"
        try:
            if self._downloads is None:
                self._downloads = tempfile.TemporaryDirectory(prefix="beacon-explained-")
            return download_package(self._settings.mlflow_address, pin, Path(self._downloads.name), trust)
        except RegistryUnavailableError as error:
            raise BeaconError("registry_unavailable", f"{gone}, and MLflow does not answer") from error
        except SignatureError as error:
            refused = f"version {pin.version} is not explained: {message_of(error)}"
            raise BeaconError("model_gone", refused) from error
        except PackageError as error:
            raise BeaconError("model_gone", f"{gone}: {message_of(error)}") from error
        except OSError as error:
            raise BeaconError("model_gone", f"{gone}, and cannot be kept: {message_of(error)}") from error

    def _drop(self, package: FoundPackage) -> None:
        if self._downloads is not None and package.folder.is_relative_to(self._downloads.name):
            shutil.rmtree(package.folder, ignore_errors=True)


def rows_of(record: Record, manifest: Manifest, product: Product) -> Matrix:
    """The features (rows, features) of a record's predictions as the model had them, NaN where none was known.

    The values follow the product of their time: that of the model, or the one that is in force.
    """
    known = [dict(zip(record.names, row, strict=True)) for row in record.values()]
    schema = manifest.schema
    levels = {facts.name: facts.levels for facts in manifest.features if facts.levels is not None}
    of_model = msgspec.structs.replace(product, features=schema.features)
    current = set(schema.feature_names) <= set(product.feature_names)
    for at, each in enumerate((product, of_model) if current else (of_model,)):
        values = [[row.get(feature.name) for feature in each.features] for row in known]
        try:
            matrix, texts = ValueEncoder(each).encode(values, "features.{feature}")
        except BeaconError:
            if at or not current:
                raise
            continue
        return FeatureMap(each.features, schema, levels)(matrix, texts)
    raise AssertionError("one of the products is the last")


def filled(rows: Matrix, manifest: Manifest) -> Matrix:
    """The rows with the value that training fitted for each missing one."""
    return np.where(np.isnan(rows), np.array([facts.fill for facts in manifest.features]), rows)
