"""What every way to release on a cluster has in common: inference's pods, its packages, the lock and the notes."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from kubernetes.client import AppsV1Api

from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import Package, PackageError
from beacon_core.model_package.release import Release, package_folder
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform.kubernetes import Access, ClusterError
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_promotion.targets.base.refusals import reason_of
from beacon_promotion.targets.base.target import Instance, ReleaseFailedError, TargetUnavailableError
from beacon_promotion.targets.kubernetes.helm import Document
from beacon_promotion.targets.kubernetes.lease import Lease
from beacon_promotion.targets.kubernetes.names import Names
from beacon_promotion.targets.kubernetes.pods import Pods, release_of
from beacon_promotion.targets.kubernetes.state_store import ConfigMapStateStore

CACHE = Path("/var/cache/beacon/models")
"""Where the chart mounts the packages that retraining wrote."""
SHADOW_SHARE = 0.2
"""Share of the requests, where a gateway splits them; the model in service answers, and sends the candidate a copy."""
T = TypeVar("T")


class OnCluster:
    """What serves of one installation; what is released there is said by a class that knows how."""

    splits = True

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings, self._access = settings, access
        self._names = Names(settings.installation)
        self.name = f"cluster {access.namespace}/{self._names.inference}"
        self.state = ConfigMapStateStore(access, self._names)
        self._pods = Pods(access, self._names)
        self._lease = Lease(access, self._names, f"{socket.gethostname()}/{os.getpid()}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold the one lock; raises `BusyError`."""
        return self._lease.held()

    def instances(self) -> list[Instance]:
        """Every ready pod, canaries included."""
        return self._mapped(self._pods.instances)

    def package(self, pin: Pin) -> Package:
        """The package from the shared files, else from MLflow; raises `ReleaseFailedError`."""
        trust = trust_of(self._settings)
        for models in (self._settings.models_dir, CACHE):
            try:
                return read_trusted(package_folder(models, pin), pin.sha256, trust)
            except PackageError:
                continue
        try:
            return download_package(self._settings.mlflow_address, pin, self._settings.models_dir, trust)
        except PackageError as error:
            raise ReleaseFailedError(reason_of(str(error)), str(error)) from error
        except (RegistryUnavailableError, OSError) as error:
            raise TargetUnavailableError(str(error)) from error

    @contextmanager
    def dark(self, pins: Sequence[Pin]) -> Iterator[list[Instance]]:
        """Pods that no user reaches, of the Deployment's own template, one per pin; raises `ReleaseFailedError`."""
        read = AppsV1Api(self._access.client()).read_namespaced_deployment
        template = self._mapped(lambda: self._access.call(read, name=self._names.inference))["spec"]["template"]
        self._hold()
        try:
            with self._pods.dark(pins, template) as instances:
                yield instances
        except ClusterError as error:
            raise TargetUnavailableError(str(error)) from error

    def ended(self, instance: Instance) -> ReleaseFailedError | None:
        """Why the pod died since it got ready; None where it lives."""
        why = self._mapped(lambda: self._pods.death(instance.name))
        return None if why is None else ReleaseFailedError(why.reason, why.message)

    def _check_way_back(self, before: Pin | None) -> None:
        """Raise `ReleaseFailedError` where the package of `before` is gone."""
        if before is None:
            return
        try:
            self.package(before)
        except ReleaseFailedError as error:
            raise ReleaseFailedError("no_way_back", f"version {before.version} cannot be restored: {error}") from error

    def _check(self, pin: Pin) -> None:
        """Raise when a pod reports that it cannot serve the pin, or the lock is lost; called while a rollout lasts."""
        self._hold()
        refusal = self._pods.refusal(pin)
        if refusal is not None:
            raise ReleaseFailedError(refusal.reason, refusal.message)

    def _hold(self) -> None:
        if self._lease.lost.is_set():
            raise TargetUnavailableError("the lock was lost: another run may be at work")

    def _mapped(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except ClusterError as error:
            raise TargetUnavailableError(str(error)) from error


def annotated(deployment: Document | None) -> Release | None:
    """What the pods of a Deployment are to serve; None where nothing was released yet, or there is no Deployment."""
    return None if deployment is None else release_of(deployment["spec"]["template"])
