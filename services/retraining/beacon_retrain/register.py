"""Register: the run and the package in MLflow, and the package as a version of the registered model.

MLflow is a registry here, never a loader: what it holds is pinned by the package digest. Every step may be repeated:
a version is known by the digest of its package, and what a killed run left behind is ended by the next.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import requests
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from beacon_core.manifest import Package, read_package
from beacon_core.product import Product
from beacon_retrain.errors import TRY_AGAIN, RetrainError
from beacon_retrain.install import install

ARTIFACTS = "package"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PACKAGE_TAG = "beacon.package"
DATA = "data"
TRAINING_ROWS = f"{DATA}/dataset.parquet"


class RegistryDown(RetrainError):  # noqa: N818 - a state of the world, not a mistake
    """MLflow does not answer; what was made is kept, and the same run may be tried again."""

    status = TRY_AGAIN


class RegistryError(RetrainError):
    """MLflow answers, and refuses or disagrees."""


class VersionTaken(RegistryError):  # noqa: N818 - a state of the world, not a mistake
    """The registry gave the package's version to another one."""

    status = TRY_AGAIN


class Entry(msgspec.Struct, frozen=True):
    """What a run says beside its package: the key of its inputs, parameters, metrics, and files by folder."""

    run_key: str
    params: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, tuple[Path, ...]] = {}


class Origin(msgspec.Struct, frozen=True):
    """Where a version comes from: its tags, and the run that made it with its parameters."""

    run_id: str
    experiment_id: str
    tags: dict[str, str]
    params: dict[str, str]


class Registry:
    """MLflow's server at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = MlflowClient(tracking_uri=address, registry_uri=address)

    def next_version(self, name: str) -> str:
        """The number that the registry will give to the next version of `name`."""
        with self._talking():
            versions = self.client.search_model_versions(f"name = '{name}'")
            return str(max((int(version.version) for version in versions), default=0) + 1)

    def version_of(self, name: str, tag: str, value: str) -> str | None:
        """The newest version of `name` that has the tag, or None."""
        found = self._tagged(name, tag, value)
        return None if found is None else str(found.version)

    def version_at(self, name: str, alias: str) -> str | None:
        """The version that an alias names, or None."""
        with self._talking():
            if not self.client.search_registered_models(f"name = '{name}'"):
                return None
            version = self.client.get_registered_model(name).aliases.get(alias)
            return None if version is None else str(version)

    def origin(self, name: str, version: str) -> Origin:
        """What the registry knows of a version; raises `RegistryError` when there is none."""
        with self._talking():
            known = self.client.get_model_version(name, version)
            run = self.client.get_run(str(known.run_id))
            return Origin(str(known.run_id), str(run.info.experiment_id), dict(known.tags), dict(run.data.params))

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Let `alias` name `version`."""
        with self._talking():
            self.client.set_registered_model_alias(name, alias, version)

    def tag(self, name: str, version: str, **tags: str) -> None:
        """Tag a version, as with its verdict."""
        with self._talking():
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version, key, value)

    def bring(self, name: str, version: str, models: Path) -> Package:
        """Download a version's package to `models`, unless it is there, and verify it against the registry's digest."""
        with self._talking(), tempfile.TemporaryDirectory() as folder:
            known = self.client.get_model_version(name, version)
            sha256 = known.tags.get("sha256", "")
            here = models / name / version
            if here.is_dir():
                return read_package(here, sha256)
            local = self.client.download_artifacts(str(known.run_id), ARTIFACTS, folder)
            return install(read_package(Path(local), sha256), models)

    def training_rows(self, name: str, version: str) -> pd.DataFrame:
        """The rows that a version was trained on."""
        with self._talking(), tempfile.TemporaryDirectory() as folder:
            known = self.client.get_model_version(name, version)
            return pd.read_parquet(self.client.download_artifacts(str(known.run_id), TRAINING_ROWS, folder))

    def register(self, product: Product, package: Package, entry: Entry, alias: str) -> str:
        """Log the run, upload the package, create its version and move `alias` to it; returns the run id.

        The version appears only when every file is up, and once, however often this is repeated.
        """
        name = product.name
        found = self._tagged(name, "sha256", package.sha256)
        with self._talking():
            experiment = self.client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self._end_dead_runs(experiment_id)
            run_id = str(found.run_id) if found else self._upload(experiment_id, product, package, entry)
            self.client.set_registered_model_alias(name, alias, package.manifest.version)
            self.client.set_terminated(run_id)
        return run_id

    def log(self, name: str, params: dict[str, str], metrics: dict[str, float], files: tuple[Path, ...]) -> str:
        """A run of its own in the experiment `name`, for what is no model; returns its id."""
        with self._talking():
            experiment = self.client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(name)
            run_id = str(self.client.create_run(experiment_id).info.run_id)
            for key, param in params.items():
                self.client.log_param(run_id, key, param)
            for key, value in metrics.items():
                self.client.log_metric(run_id, key, value)
            for file in files:
                self.client.log_artifact(run_id, str(file))
            self.client.set_terminated(run_id)
            return run_id

    def _tagged(self, name: str, tag: str, value: str) -> ModelVersion | None:
        with self._talking():
            found = self.client.search_model_versions(f"name = '{name}' and tags.`{tag}` = '{value}'")
        return max(found, key=lambda version: int(version.version), default=None)

    def _end_dead_runs(self, experiment_id: str) -> None:
        """One run at a time is at work, and it is this one: others that say so were killed."""
        for run in self.client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
            if PACKAGE_TAG in run.data.tags:
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _upload(self, experiment_id: str, product: Product, package: Package, entry: Entry) -> str:
        manifest = package.manifest
        tags = {PACKAGE_TAG: package.sha256}
        run = self.client.create_run(experiment_id, tags=tags, run_name=f"{product.name}-{manifest.version}")
        run_id: str = run.info.run_id
        try:
            for key, param in entry.params.items():
                self.client.log_param(run_id, key, param)
            for key, value in entry.metrics.items():
                self.client.log_metric(run_id, key, value)
            for folder, files in entry.files.items():
                for file in files:
                    self.client.log_artifact(run_id, str(file), folder)
            self.client.log_artifacts(run_id, str(package.folder), ARTIFACTS)
            self._create_version(product, package, entry, run_id, f"{run.info.artifact_uri}/{ARTIFACTS}")
        except BaseException:
            with contextlib.suppress(MlflowException, requests.RequestException):
                self.client.set_terminated(run_id, "FAILED")
            raise
        return run_id

    def _create_version(self, product: Product, package: Package, entry: Entry, run_id: str, source: str) -> None:
        manifest = package.manifest
        if not self.client.search_registered_models(f"name = '{product.name}'"):
            self.client.create_registered_model(product.name, description=product.title)
        tags = {
            "sha256": package.sha256,
            "run_key": entry.run_key,
            "data_fingerprint": manifest.data.fingerprint,
            "schema_hash": manifest.schema_hash,
            "revision": manifest.revision,
        }
        created = self.client.create_model_version(product.name, source, run_id, tags=tags, await_creation_for=0)
        if str(created.version) != manifest.version:
            self.client.delete_model_version(product.name, created.version)
            raise VersionTaken(
                f"{self.address}: gave version {created.version} to a package of version {manifest.version}; "
                "another run registered at the same time? The version was deleted again"
            )

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Tell a server that is away from one that refuses."""
        try:
            yield
        except requests.RequestException as error:
            raise RegistryDown(f"MLflow at {self.address} does not answer: {type(error).__name__}") from error
        except MlflowException as error:
            if _is_down(error):
                raise RegistryDown(f"MLflow at {self.address} does not answer: {error.message}") from error
            raise RegistryError(f"MLflow at {self.address}: {error.message}") from error


def _is_down(error: MlflowException) -> bool:
    """MLflow wraps a refused connection and a 5xx that outlived its retries alike."""
    return isinstance(error.__cause__, requests.RequestException) or int(error.get_http_status_code()) >= 500  # type: ignore[no-untyped-call]
