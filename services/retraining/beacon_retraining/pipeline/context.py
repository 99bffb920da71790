"""The inputs of a stage, and the names of the files that the stages exchange (dvc.yaml lists them)."""

from pathlib import Path

import msgspec

from beacon_core.data.database import Engine
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, read_package
from beacon_core.platform.settings import Settings
from beacon_retraining.files import write_json
from beacon_retraining.pipeline.workspace import Run
from beacon_retraining.training.settings import TrainSettings

RAW = "raw"
LABELS = "labels.parquet"
CHAMPION = "champion.json"
LOST_PACKAGES = "gone.json"
ROWS = "rows.parquet"
PRODUCTION = "production.parquet"
VALIDATION = "validation.json"
DATASET = "dataset.parquet"
DATASET_SUMMARY = "dataset.json"
MODEL = "model.onnx"
TRAINED = "trained.json"
METRICS = "metrics.json"
TRIALS = "trials.json"
PACKAGE = "package"
PACKAGED = "package.json"
VERDICT = "verdict.json"
VERDICT_TABLE = "verdict.md"
VERDICT_PLOT = "verdict.svg"
REPORT = "report.html"
REGISTERED = "registered.json"


class PackagingResult(msgspec.Struct, frozen=True):
    """package.json: the package of this run, below the folder `package`, and the key of its inputs."""

    version: str
    sha256: str
    run_key: str


class RegistrationResult(msgspec.Struct, frozen=True):
    """registered.json: the version of this run in the registry, and its verdict."""

    version: str
    """Its number in the registry."""
    sha256: str
    """The digest of the package."""
    run_id: str
    """The run in MLflow."""
    verdict: str
    """pass, fail or inconclusive."""


class Context(msgspec.Struct, frozen=True):
    """One run's settings, product, store, workspace folder, parameters and options."""

    settings: Settings
    product: Product
    engine: Engine
    folder: Path
    training: TrainSettings
    run: Run

    def packaged(self) -> PackagingResult:
        """Which package this run made."""
        return msgspec.json.decode((self.folder / PACKAGED).read_bytes(), type=PackagingResult)

    def package(self) -> Package:
        """The package of this run, verified."""
        result = self.packaged()
        return read_package(self.folder / PACKAGE / self.product.name / result.version, result.sha256)

    def lost_packages(self) -> list[str]:
        """The digests of packages that were made here and that the registry has lost or refused.

        A new one makes DVC run the stage package again, instead of taking the same package from its cache.
        """
        file = self.folder / LOST_PACKAGES
        return msgspec.json.decode(file.read_bytes(), type=list[str]) if file.is_file() else []

    def add_lost_package(self, sha256: str | None) -> None:
        """Add a package's digest to them; None adds nothing."""
        known = self.lost_packages()
        write_json(self.folder / LOST_PACKAGES, known if sha256 is None or sha256 in known else [*known, sha256])

    def champion(self) -> Pin | None:
        """The model in service when this run began, or None."""
        return msgspec.json.decode((self.folder / CHAMPION).read_bytes(), type=Pin | None)
