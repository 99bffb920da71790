"""Register: the run and the package in MLflow, and the package as a version of the registered model.

MLflow is a registry here, never a loader: what it holds is pinned by the package digest. Every step may be repeated:
a version is known by the digest of its package, and the next run ends what a killed run left. People delete versions,
runs, experiments and whole models there, and make versions of their own: none of that stops a registration.
"""

import contextlib
import importlib.metadata
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import requests
from mlflow.artifacts import download_artifacts
from mlflow.entities import LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import plugins

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import mask, mask_all
from beacon_core.domain.product import Product
from beacon_core.model_package.download import ARTIFACTS
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.signature import SIGNATURE_FILE
from beacon_core.platform.mlflow import RegistryUnavailableError, user_of
from beacon_retraining.errors import RetrainError
from beacon_retraining.registry.versions import HIGHEST_TAG, ListedVersions

PACKAGE_TAG = "beacon.package"
DATA = "data"
PAGE = 1000
TRAINING_ROWS = f"{DATA}/dataset.parquet"


def _plugins_but_feasts(group: str) -> list[importlib.metadata.EntryPoint]:
    return [plugin for plugin in importlib.metadata.entry_points(group=group) if not plugin.value.startswith("feast.")]


# Feast brings a plugin with which MLflow's first request loads all of Feast, as slow as typeguard makes it. It adds a
# header to requests that Feast itself sends, and those of this process are none.
plugins._get_entry_points = _plugins_but_feasts


class RegistryRefusedError(RetrainError):
    """MLflow answers, and refuses the request."""


class VersionTakenError(RegistryRefusedError):
    """The registry gave a number above the package's version; the next package gets a number above that one."""

    exit_status = TRY_AGAIN
    again = True


class RegistryEntry(msgspec.Struct, frozen=True):
    """What a run logs beside its package: its run key, parameters, metrics, and files by folder."""

    run_key: str
    params: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, tuple[Path, ...]] = {}


class VersionOrigin(msgspec.Struct, frozen=True):
    """The run that made a version with its parameters, and the version's tags."""

    run_id: str
    experiment_id: str
    tags: dict[str, str]
    params: dict[str, str]


class Registry(ListedVersions):
    """MLflow's server at `address`. Methods raise `RegistryUnavailableError` and `RegistryRefusedError`."""

    def __init__(self, address: str) -> None:
        self.address, user, password = user_of(address)
        if user:
            os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # stdout is the job's own
        super().__init__(address)
        self.client = MlflowClient(tracking_uri=self.address, registry_uri=self.address)

    def origin(self, name: str, version: str) -> VersionOrigin:
        """The origin of a version; raises `RegistryRefusedError` when there is none."""
        with self._mapped_errors():
            known = self.client.get_model_version(name, version)
            run = self.client.get_run(str(known.run_id))
            return VersionOrigin(
                str(known.run_id), str(run.info.experiment_id), dict(known.tags), dict(run.data.params)
            )

    def tag(self, name: str, version: str, **tags: str) -> None:
        """Tag a version, as with its verdict."""
        with self._mapped_errors():
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version, key, value)

    def training_rows(self, name: str, version: str) -> pd.DataFrame:
        """The rows that a version was trained on."""
        with self._mapped_errors(), tempfile.TemporaryDirectory() as folder:
            known = self.client.get_model_version(name, version)
            return pd.read_parquet(self.client.download_artifacts(str(known.run_id), TRAINING_ROWS, folder))

    def runs_of(self, name: str) -> list[str]:
        """The ids of all runs of the experiment `name`, those that were deleted too."""
        with self._mapped_errors():
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                return []
            found, token = [], None
            while token != "":
                page = self.client.search_runs([experiment.experiment_id], "", ViewType.ALL, PAGE, page_token=token)
                found += [str(run.info.run_id) for run in page]
                token = page.token or ""
            return found

    def artifact(self, run_id: str, path: str, folder: Path) -> Path | None:
        """Download a file of a run into a folder; None where the run has none."""
        with self._mapped_errors():
            listed = self.client.list_artifacts(run_id, path.rpartition("/")[0])
            if path not in {file.path for file in listed}:
                return None
            return Path(self.client.download_artifacts(run_id, path, str(folder)))

    def replace_artifact(self, run_id: str, file: Path, folder: str) -> None:
        """Upload a file in place of a run's."""
        with self._mapped_errors():
            self.client.log_artifact(run_id, str(file), folder)

    def bring(self, uri: str, folder: Path) -> Path:
        """Download what a URI of MLflow's (runs:/ID/PATH, models:/NAME/VERSION) names; returns where it lies."""
        with self._mapped_errors():
            addresses = {"tracking_uri": self.address, "registry_uri": self.address}
            return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), **addresses))

    def register(
        self, product: Product, package: Package, entry: RegistryEntry, alias: str, signature: bytes | None = None
    ) -> str:
        """Log the run, upload the package, create its version and move `alias` to it; returns the run id.

        The version appears only when every file is up, and once, however often this is repeated.
        """
        name, number = product.name, package.manifest.version
        with self._mapped_errors():
            experiment_id = self._experiment(name)
            self._end_killed_runs(experiment_id)
            found = {version.number: version.run_id for version in self.tagged(name, "sha256", package.sha256)}
            known = found.get(number)
            run_id = self._upload(experiment_id, product, package, entry, signature) if known is None else known
            self.client.set_registered_model_alias(name, alias, number)
            if self.mlflow.has_run(run_id):
                self._log_package(run_id, package, signature)  # again, if somebody removed a file
                self.client.set_terminated(run_id)
        return run_id

    def log(self, name: str, params: dict[str, str], metrics: dict[str, float], files: tuple[Path, ...]) -> str:
        """Log a run without a model in the experiment `name`; returns its id."""
        with self._mapped_errors():
            run_id = str(self.client.create_run(self._experiment(name)).info.run_id)
            for key, param in params.items():
                self.client.log_param(run_id, key, mask(param))
            for key, value in metrics.items():
                self.client.log_metric(run_id, key, value)
            for file in files:
                self.client.log_artifact(run_id, str(file))
            self.client.set_terminated(run_id)
            return run_id

    def _experiment(self, name: str) -> str:
        """The id of the experiment `name`; a deleted one is restored, as MLflow keeps its name."""
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            return str(self.client.create_experiment(name))
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _end_killed_runs(self, experiment_id: str) -> None:
        """End other runs in the state RUNNING: one runs at a time, so they were killed."""
        for run in self.client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
            if PACKAGE_TAG in run.data.tags:
                self.client.set_terminated(run.info.run_id, "KILLED")

    def add_signature(self, run_id: str, signature: bytes) -> None:
        """Put a signature beside the package of a run, in the place of the one that was there."""
        with self._mapped_errors(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, SIGNATURE_FILE)
            file.write_bytes(signature)
            self.client.log_artifact(run_id, str(file), ARTIFACTS)

    def _log_package(self, run_id: str, package: Package, signature: bytes | None) -> None:
        self.client.log_artifacts(run_id, str(package.folder), ARTIFACTS)
        if signature is not None:
            self.add_signature(run_id, signature)

    def _upload(
        self, experiment_id: str, product: Product, package: Package, entry: RegistryEntry, signature: bytes | None
    ) -> str:
        manifest = package.manifest
        tags = {PACKAGE_TAG: package.sha256}
        run = self.client.create_run(experiment_id, tags=tags, run_name=f"{product.name}-{manifest.version}")
        run_id: str = run.info.run_id
        try:
            for key, param in entry.params.items():
                self.client.log_param(run_id, key, mask(param))
            for key, value in entry.metrics.items():
                self.client.log_metric(run_id, key, value)
            for folder, files in entry.files.items():
                for file in files:
                    self.client.log_artifact(run_id, str(file), folder)
            self._log_package(run_id, package, signature)
            self._create_version(product, package, entry, run_id, f"{run.info.artifact_uri}/{ARTIFACTS}")
        except BaseException:
            with contextlib.suppress(MlflowException, requests.RequestException):
                self.client.set_terminated(run_id, "FAILED")
            raise
        return run_id

    def _create_version(
        self, product: Product, package: Package, entry: RegistryEntry, run_id: str, source: str
    ) -> None:
        manifest = package.manifest
        if not self.client.search_registered_models(f"name = '{product.name}'"):
            self.client.create_registered_model(product.name, description=product.title)
        tags = {
            "sha256": package.sha256,
            "run_key": entry.run_key,
            "data_fingerprint": manifest.data.fingerprint,
            "schema_hash": manifest.schema.digest,
            "revision": manifest.revision,
        }
        wanted, given = int(manifest.version), 0
        while given < wanted:
            # Numbers that Beacon has used are not used again, whatever was deleted there. Each has the tags: the wanted
            # number comes early where somebody else registers at the same time.
            created = self.client.create_model_version(
                product.name, source, run_id, tags=mask_all(tags), await_creation_for=0
            )
            given = int(created.version)
            if given != wanted:
                self.client.delete_model_version(product.name, created.version)
        self.client.set_registered_model_tag(product.name, HIGHEST_TAG, str(given))
        if given > wanted:
            raise VersionTakenError(
                f"{self.address}: gave version {given} to a package of version {manifest.version}: a newer one was "
                "deleted there, or registered at the same time. The version was deleted again"
            )

    @contextlib.contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        """Raise `RegistryUnavailableError` or `RegistryRefusedError` for MLflow's errors."""
        try:
            yield
        except requests.RequestException as error:
            raise RegistryUnavailableError(
                f"MLflow at {self.address} does not answer: {type(error).__name__}"
            ) from error
        except MlflowException as error:
            # MLflow wraps a refused connection and a 5xx after its retries alike.
            cause = error.__cause__ or error.__context__
            if isinstance(cause, requests.RequestException):
                raise RegistryUnavailableError(
                    f"MLflow at {self.address} does not answer: {type(cause).__name__}"
                ) from error
            status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
            if status >= 500:
                raise RegistryUnavailableError(f"MLflow at {self.address} answers with status {status}") from error
            raise RegistryRefusedError(f"MLflow at {self.address}: {mask(error.message)}") from error
