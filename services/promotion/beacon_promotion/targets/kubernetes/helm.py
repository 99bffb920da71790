"""One Helm release: its history, and the ways to change it, each waited for.

The history is read where Helm keeps it (ConfigMaps), in one request; what is changed is changed by Helm itself.
"""

import base64
import gzip
import json
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kubernetes.client import CoreV1Api

from beacon_core.domain.masking import message_of
from beacon_core.domain.times import read_time
from beacon_core.platform.kubernetes import Access
from beacon_promotion.targets.base.target import TargetUnavailableError

# A promotion makes five revisions, a rollback one: enough for every good model that is remembered.
WAIT = ["--wait", "--timeout=300s", "--history-max=100"]
POLL_SECONDS = 0.5
DONE = ("Install complete", "Upgrade complete", "Rollback to ")
Document = dict[str, Any]


class HelmError(RuntimeError):
    """Helm refused or gave up; the message is its own."""


class Revision(msgspec.Struct, frozen=True):
    """One revision: the values that it was made with, and what was rendered of them."""

    number: int
    status: str
    values: dict[str, Any]
    manifest: str
    begun: datetime
    done: bool
    """Whether Helm completed it; Helm calls a failed one superseded, too, once another one follows."""

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending-")


class Helm:
    """The release `name` in the namespace of `access`, made of the chart in folder `chart`."""

    def __init__(self, access: Access, name: str, chart: Path) -> None:
        self._access, self._name, self._chart = access, name, chart
        self._core = CoreV1Api(access.client())

    def history(self) -> list[Revision]:
        """Every revision that Helm still keeps, the newest first."""
        selector = f"owner=helm,name={self._name}"
        found = self._access.call(self._core.list_namespaced_config_map, label_selector=selector)
        revisions = [_revision(item) for item in found.get("items", [])]
        return sorted(revisions, key=lambda revision: -revision.number)

    def rendered(self, values: dict[str, Any]) -> str:
        """What an upgrade to `values` would apply; nothing is touched. Raises `HelmError`."""
        output = self._run([*self._upgrade_command(), "--dry-run=server", "--output=json"], values)
        manifest: str = json.loads(output)["manifest"]
        return manifest

    def upgrade(self, values: dict[str, Any], check: Callable[[], None]) -> None:
        """Upgrade to `values` alone and wait until all is ready; raises `HelmError`.

        `check` is called again and again meanwhile: what it raises ends the waiting, and the revision has failed.
        """
        self._run([*self._upgrade_command(), *WAIT], values, check)

    def rollback(self, number: int, check: Callable[[], None]) -> None:
        """Go back to a revision, configuration included, and wait; as `upgrade`."""
        self._run(["helm", "rollback", self._name, str(number), "--no-hooks", *WAIT], None, check)

    def _upgrade_command(self) -> list[str]:
        # No hooks: they migrate the store for another build, and a promotion brings no other build.
        return ["helm", "upgrade", self._name, str(self._chart), "--no-hooks", "--reset-values", "--values=-"]

    def _run(self, command: list[str], values: dict[str, Any] | None, check: Callable[[], None] = lambda: None) -> str:
        place = [f"--namespace={self._access.namespace}"]
        try:
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                [*command, *place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise TargetUnavailableError(f"helm does not start: {message_of(error)}") from error
        stdin: str | None = json.dumps(values) if values is not None else ""
        with process:
            while True:
                try:
                    output, complaint = process.communicate(stdin, timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    stdin = None
                try:
                    check()
                except BaseException:
                    # Helm records that the revision failed, and leaves what runs as it is.
                    process.send_signal(signal.SIGTERM)
                    process.communicate()
                    raise
        if process.returncode != 0:
            raise HelmError(f"helm {command[1]}: {complaint.strip()[-1000:]}")
        return output


def documents(manifest: str) -> dict[tuple[str, str], Document]:
    """The objects of a manifest, by kind and name."""
    found = [document for document in yaml.safe_load_all(manifest) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


def _revision(item: dict[str, Any]) -> Revision:
    release = json.loads(gzip.decompress(base64.b64decode(item["data"]["release"])))
    return Revision(
        number=release["version"],
        status=release["info"]["status"],
        values=release.get("config") or {},
        manifest=release.get("manifest") or "",
        done=release["info"].get("description", "").startswith(DONE),
        begun=read_time(release["info"]["last_deployed"]),
    )
