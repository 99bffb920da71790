"""Register: the run and the package in MLflow, and the package as a version of the registered model.

MLflow is a registry here, never a loader: what it holds is pinned by the package digest.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from beacon_core.manifest import Package
from beacon_core.product import Product
from beacon_retrain.train import Trained, TrainSettings

ARTIFACTS = "package"
CHAMPION = "champion"


class RegistryDown(RuntimeError):  # noqa: N818 - a state of the world, not a mistake
    """MLflow does not answer; what was made is kept, and the same run may be tried again."""


class RegistryError(RuntimeError):
    """MLflow answers, and refuses or disagrees."""


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

    def register(
        self, product: Product, package: Package, trained: Trained, settings: TrainSettings, *, champion: bool
    ) -> str:
        """Log the run, upload the package, create its version; returns the run id.

        The version appears only when every file is up. `champion` moves the alias to it.
        """
        manifest = package.manifest
        with self._talking():
            experiment = self.client.get_experiment_by_name(product.name)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(product.name)
            run = self.client.create_run(experiment_id, run_name=f"{product.name}-{manifest.version}")
            run_id: str = run.info.run_id
            try:
                self._log(run_id, package, trained, settings)
                self._create_version(product, package, run_id, f"{run.info.artifact_uri}/{ARTIFACTS}")
                if champion:
                    self.client.set_registered_model_alias(product.name, CHAMPION, manifest.version)
            except BaseException:
                self.client.set_terminated(run_id, "FAILED")
                raise
            self.client.set_terminated(run_id)
        return run_id

    def _log(self, run_id: str, package: Package, trained: Trained, settings: TrainSettings) -> None:
        manifest = package.manifest
        params = {
            "candidate": trained.candidate,
            "folds": settings.folds,
            "repeats": settings.repeats,
            "seed": settings.seed,
            "data.source": manifest.data.source,
            "data.fingerprint": manifest.data.fingerprint,
            "data.rows": manifest.data.rows,
            "schema_hash": manifest.schema_hash,
        }
        for key, param in params.items():
            self.client.log_param(run_id, key, param)
        for score in manifest.scores:
            self.client.log_metric(run_id, score.name, score.value)
        self.client.log_metric(run_id, "interval_coverage", manifest.interval.measured_coverage)
        for result in trained.results:
            self.client.log_metric(run_id, f"candidates/{result.name}/rmse", result.rmse)
        self.client.log_artifacts(run_id, str(package.folder), ARTIFACTS)

    def _create_version(self, product: Product, package: Package, run_id: str, source: str) -> None:
        manifest = package.manifest
        if not self.client.search_registered_models(f"name = '{product.name}'"):
            self.client.create_registered_model(product.name, description=product.title)
        tags = {
            "sha256": package.sha256,
            "data_fingerprint": manifest.data.fingerprint,
            "schema_hash": manifest.schema_hash,
            "revision": manifest.revision,
        }
        created = self.client.create_model_version(product.name, source, run_id, tags=tags, await_creation_for=0)
        if str(created.version) != manifest.version:
            self.client.delete_model_version(product.name, created.version)
            raise RegistryError(
                f"{self.address}: gave version {created.version} to a package of version {manifest.version}; "
                "another run registered at the same time? The version was deleted again"
            )

    @contextmanager
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
