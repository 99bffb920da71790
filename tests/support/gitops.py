"""What Argo CD, Flux and Helm do with a rendered tree, by kubectl and helm: apply it again and again, and prune.

Stand-ins, each with the labels, the manager of fields and the way of applying of the tool it stands for. Hooks are left
out. `support.argocd` has Argo CD itself, which runs them.
"""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from support.control_plane import ControlPlane

Document = dict[str, Any]
Key = tuple[str, str]
HOOK = "helm.sh/hook"
TRACKING = "argocd.argoproj.io/instance"
PRUNED = "deployments,statefulsets,services,configmaps,pods,jobs,cronjobs,ingresses,networkpolicies,leases,roles,"
PRUNED += "poddisruptionbudgets,serviceaccounts,rolebindings"
"""The kinds in which Argo CD's stand-in looks for what has its label."""


class Git:
    """What is in Git: the values of the release, which a commit changes."""

    def __init__(self, render: Callable[[list[str]], list[Document]]) -> None:
        self._render = render
        self.values: list[str] = []
        self.tree: list[Document] = []
        self.commit()

    def commit(self, *values: str) -> None:
        """Change values (`--set=...`), and render the tree anew."""
        values_now = [*self.values, *values]
        tree = [each for each in self._render(values_now) if HOOK not in each["metadata"].get("annotations", {})]
        self.values, self.tree = values_now, tree


class Syncer(Protocol):
    """One of the tools."""

    def sync(self, git: Git) -> None:
        """Bring the cluster to what Git says."""


def key_of(document: Document) -> Key:
    """By which an object of the tree is found."""
    return document["kind"].lower(), document["metadata"]["name"]


def labelled(document: Document, labels: dict[str, str]) -> Document:
    """The object with labels of its own, those of its pods as they were."""
    metadata = document["metadata"]
    return document | {"metadata": metadata | {"labels": metadata.get("labels", {}) | labels}}


def applied(plane: ControlPlane, namespace: str, tree: list[Document], *options: str) -> None:
    """Apply the objects by kubectl."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": tree})
    plane.kubectl("apply", "--filename=-", *options, given=given, namespace=namespace)


class Flux:
    """kustomize-controller: server-side apply of everything each time, and an inventory for what is gone."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane, self._namespace = plane, namespace
        self._inventory: set[Key] = set()

    def sync(self, git: Git) -> None:
        """Apply all, and delete what the last tree had."""
        names = ("name", "beacon"), ("namespace", "flux-system")
        labels = {f"kustomize.toolkit.fluxcd.io/{key}": value for key, value in names}
        tree = [labelled(each, labels) for each in git.tree]
        options = ("--server-side", "--force-conflicts", "--field-manager=kustomize-controller")
        applied(self._plane, self._namespace, tree, *options)
        found = {key_of(each) for each in tree}
        delete(self._plane, self._namespace, self._inventory - found)
        self._inventory = found


class ArgoCd:
    """Argo CD with a label for what it tracks: three-way merges, or server-side apply; what has the label is pruned."""

    def __init__(self, plane: ControlPlane, namespace: str, *, server_side: bool = False) -> None:
        self._plane, self._namespace = plane, namespace
        own = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        self._options = own if server_side else ()

    def sync(self, git: Git) -> None:
        """Apply all, and delete what has the label, is nobody's child and is not in Git."""
        tree = [labelled(each, {TRACKING: "beacon"}) for each in git.tree]
        applied(self._plane, self._namespace, tree, *self._options)
        chosen = (f"--selector={TRACKING}=beacon", "-o", "json")
        live = json.loads(self._plane.kubectl("get", PRUNED, *chosen, namespace=self._namespace))["items"]
        roots = {key_of(each) for each in live if not each["metadata"].get("ownerReferences")}
        delete(self._plane, self._namespace, roots - {key_of(each) for each in tree})


class HelmUpgrade:
    """`helm upgrade` each time, as Flux's helm-controller and people do; helm knows by itself what is gone."""

    def __init__(self, plane: ControlPlane, namespace: str, program: str, chart: str, files: list[Path]) -> None:
        self._environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}
        given = [f"--values={file}" for file in files]
        self._command = [program, "upgrade", "--install", "beacon", chart, f"--namespace={namespace}", *given]

    def sync(self, git: Git) -> None:
        """Upgrade the release to the values."""
        command = [*self._command, "--no-hooks", "--history-max=3", *git.values]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]


class Replacing:
    """What promotion's model does not outlive: objects are replaced as Git has them (Argo CD's Replace=true)."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane, self._namespace = plane, namespace

    def sync(self, git: Git) -> None:
        """Replace inference's Deployment alone: a Service's address cannot be."""
        (deployment,) = [each for each in git.tree if key_of(each) == ("deployment", "beacon-inference")]
        self._plane.kubectl("replace", "--filename=-", given=json.dumps(deployment), namespace=self._namespace)


def delete(plane: ControlPlane, namespace: str, keys: set[Key]) -> None:
    """Delete the objects, without waiting."""
    for kind, name in sorted(keys):
        plane.kubectl("delete", kind, name, "--ignore-not-found", "--wait=false", namespace=namespace)


class Syncs:
    """How often a tool has synced since it began."""

    def __init__(self) -> None:
        self.count = 0
        self.error: BaseException | None = None


@contextlib.contextmanager
def syncing(syncer: Syncer, git: Git) -> Iterator[Syncs]:
    """Sync one time after another, as fast as it goes, until the block ends; what failed fails the block."""
    syncs, stop = Syncs(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                syncer.sync(git)
            except BaseException as error:  # noqa: BLE001 - told to the test that waits for it
                syncs.error = error
                return
            syncs.count += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield syncs
    finally:
        stop.set()
        thread.join()
    if syncs.error is not None:
        raise syncs.error
