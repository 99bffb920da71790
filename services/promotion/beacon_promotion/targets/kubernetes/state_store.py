"""Promotion's few small entries that outlive a run, in one ConfigMap of its installation."""

import base64

from kubernetes.client import CoreV1Api

from beacon_core.platform.kubernetes import NOT_FOUND, Access, ClusterError
from beacon_promotion.targets.base.target import TargetUnavailableError
from beacon_promotion.targets.kubernetes.helm import Document
from beacon_promotion.targets.kubernetes.names import BEACON, PART_OF, Names


class ConfigMapStateStore:
    """`StateStore` (targets/base/target.py) in one ConfigMap of the installation."""

    def __init__(self, access: Access, names: Names = BEACON) -> None:
        self._access, self._names = access, names
        self._core = CoreV1Api(access.client())
        self._applied = CoreV1Api(access.client("application/apply-patch+yaml"))

    def read(self, name: str) -> bytes | None:
        """What was written under the name last, or None."""
        try:
            found = self._access.call(self._core.read_namespaced_config_map, name=self._names.promotion)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise TargetUnavailableError(str(error)) from error
        content = found.get("binaryData", {}).get(name)
        return None if content is None else base64.b64decode(content)

    def write(self, name: str, content: bytes | None) -> None:
        """Keep it; None removes it."""
        try:
            if content is None:
                # By a merge: an apply would leave what another manager of fields wrote.
                body: Document = {"binaryData": {name: None}}
                self._access.call(self._core.patch_namespaced_config_map, name=self._names.promotion, body=body)
            else:
                self._apply(name, content)
        except ClusterError as error:
            if content is None and error.status == NOT_FOUND:
                return
            raise TargetUnavailableError(str(error)) from error

    def _apply(self, name: str, content: bytes) -> None:
        """One entry, the ConfigMap made where it is not there; a manager of its own lets the other entries be."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._names.promotion, "labels": {PART_OF: self._names.installation}},
            "binaryData": {name: base64.b64encode(content).decode()},
        }
        manager = f"{self._names.promotion}-{name}"
        apply = self._applied.patch_namespaced_config_map
        self._access.call(apply, name=self._names.promotion, body=body, field_manager=manager, force=True)
