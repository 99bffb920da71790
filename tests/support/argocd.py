"""Argo CD itself, where it is there (`make .tools/bin/argocd`): repo server and application controller, on no node.

They sync what docs/how-to/gitops.md says: the chart from a repository of charts, here by HTTP, and its values from Git.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support.control_plane import ControlPlane, running
from support.features import Redis
from support.gitops import Git
from support.ports import free_ports
from support.rendering import helm
from support.waiting import until

from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA

Document = dict[str, Any]
PROGRAM = "argocd"
NAMESPACE = "argocd"
DEFINITIONS = ROOT / ".tools" / "argocd"
"""What its module has beside the program: the definitions of its kinds, and the settings of a new installation."""
PAGE = ROOT / "docs" / "how-to" / "gitops.md"
SYNC_SECONDS = 300.0
EVERYTHING = {"group": "*", "kind": "*"}


def is_there() -> bool:
    """Whether the program and its definitions are."""
    return shutil.which(PROGRAM) is not None and DEFINITIONS.is_dir()


@contextlib.contextmanager
def argo_cd(plane: ControlPlane, folder: Path) -> Iterator[str]:
    """Argo CD at work on the control plane; the address of the repository of charts that has the umbrella."""
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "--server-side", f"--kustomize={DEFINITIONS / 'crds'}")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinition", "--all")
    plane.kubectl("apply", f"--kustomize={DEFINITIONS / 'config'}", namespace=NAMESPACE)
    secret = {"stringData": {"server.secretkey": uuid.uuid4().hex}}
    plane.kubectl("patch", "secret", "argocd-secret", f"--patch={json.dumps(secret)}", namespace=NAMESPACE)
    project = {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}]}
    applied(plane, "AppProject", "default", project | {"clusterResourceWhitelist": [EVERYTHING]})
    redis, repo, *metrics = free_ports(4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BEACON_", "MAKE"))} | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "KUBECONFIG": str(plane.kubeconfig),
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_TLS_DATA_PATH": str(folder),
        "ARGOCD_SSH_DATA_PATH": str(folder),
    }
    options = {
        "repo-server": [f"--port={repo}", f"--metrics-port={metrics[0]}", "--revision-cache-expiration=1s"],
        "application-controller": [
            *(f"--repo-server=127.0.0.1:{repo}", f"--metrics-port={metrics[1]}", f"--namespace={NAMESPACE}"),
            *("--app-resync=5", "--app-resync-jitter=0", "--self-heal-timeout-seconds=1"),
        ],
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(Redis(folder, redis))
        for part, own in options.items():
            name = f"argocd-{part}"
            command = [PROGRAM, f"--redis=127.0.0.1:{redis}", *own]
            stack.enter_context(running(folder, name, command, environment | {"ARGOCD_BINARY_NAME": name}))
        yield stack.enter_context(_charts(folder))


@contextlib.contextmanager
def _charts(folder: Path) -> Iterator[str]:
    """A repository of charts with the umbrella, as it is in this checkout."""
    charts = folder / "charts"
    for words in (("package", f"charts/{UMBRELLA}", f"--destination={charts}"), ("repo", "index", str(charts))):
        done = helm(*words)
        assert done.returncode == 0, done.stderr
    handler = functools.partial(_Quiet, directory=str(charts))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def applied(plane: ControlPlane, kind: str, name: str, spec: Document) -> None:
    """Bring an object of Argo CD's to the cluster."""
    metadata = {"name": name}
    given = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    plane.kubectl("apply", "--filename=-", given=json.dumps(given), namespace=NAMESPACE)


def documented() -> Document:
    """The spec of the Application that the page has."""
    blocks = re.findall(r"^``` yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [each for block in blocks for each in yaml.safe_load_all(block) if each.get("kind") == "Application"]
    spec: Document = found["spec"]
    return spec


class Application:
    """The Application of the page, with the addresses of this machine: an adapter for the tests of syncs.

    It syncs by itself all the time, heals and prunes; `sync` is the button.
    """

    def __init__(self, plane: ControlPlane, namespace: str, charts: str, product: Path) -> None:
        self._plane, self._name, self._repository = plane, namespace, product.parent / "config"
        self._spec = documented()
        self._git("init", "--quiet", "--initial-branch=main", str(self._repository))
        (self._repository / "beacon").mkdir()
        shutil.copy(product, self._repository / "beacon" / "product.json")
        chart, config = self._spec["sources"]
        version = yaml.safe_load((ROOT / "charts" / UMBRELLA / "Chart.yaml").read_text(encoding="utf-8"))["version"]
        chart |= {"repoURL": charts, "targetRevision": version}
        config["repoURL"] = f"file://{self._repository}"
        self._spec["destination"]["namespace"] = namespace

    def sync(self, git: Git) -> None:
        """Commit what changed in Git, press the button, and wait until its revision was synced."""
        revision = self._committed(git)
        if not self._found():
            applied(self._plane, "Application", self._name, self._spec)
        until(lambda: self._synced(revision), f"{self._name} is synced to {revision}", SYNC_SECONDS)

    def close(self) -> None:
        """Delete the Application, and nothing that it made."""
        self._plane.kubectl("delete", "application", self._name, "--ignore-not-found", namespace=NAMESPACE)

    def _committed(self, git: Git) -> str:
        file = self._repository / "beacon" / "values.yaml"
        text = yaml.safe_dump(nested(git.values))
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            self._git("-C", str(self._repository), "add", "--all")
            author = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
            self._git("-C", str(self._repository), *author, "commit", "--quiet", "--message=values")
        return self._git("-C", str(self._repository), "rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout

    def _found(self) -> Document:
        return self._plane.read("application", self._name, NAMESPACE)

    def is_synced(self) -> bool:
        """Whether Argo CD finds in the cluster what is in Git, of every object."""
        status = self._found()["status"]
        return bool(status["sync"]["status"] == "Synced") and not self._is_busy()

    def out_of_sync(self) -> list[str]:
        """The objects of which it does not."""
        found = self._found()["status"]["resources"]
        return [f"{each['kind']}/{each['name']}" for each in found if each.get("status", "Synced") != "Synced"]

    def _synced(self, revision: str) -> bool:
        """One press of the button, and whether it synced the revision."""
        # One operation at a time, the application's own too: it must not have begun since.
        until(lambda: not self._is_busy(), f"no operation of {self._name} is at work", SYNC_SECONDS)
        seen = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": self._found()["metadata"]["resourceVersion"],
        }
        mark = [{"name": "press", "value": uuid.uuid4().hex}]
        options = self._spec["syncPolicy"]["syncOptions"]
        pressed = {"info": mark, "sync": {"prune": True, "syncOptions": options}}
        patch = f"--patch={json.dumps([seen, {'op': 'add', 'path': '/operation', 'value': pressed}])}"
        try:
            self._plane.kubectl("patch", "application", self._name, "--type=json", patch, namespace=NAMESPACE)
        except AssertionError:
            return False
        until(lambda: not self._is_busy(), f"{self._name} has synced", SYNC_SECONDS)
        state = self._found()["status"]["operationState"]
        if state["operation"].get("info") != mark:
            return False
        assert state["phase"] == "Succeeded", state["message"]
        return bool(state["syncResult"]["revisions"][1] == revision)

    def _is_busy(self) -> bool:
        found = self._found()
        phase = found.get("status", {}).get("operationState", {}).get("phase", "Succeeded")
        return "operation" in found or phase in {"Running", "Terminating"}


def nested(assignments: list[str]) -> Document:
    """`--set=a.b=1` as the values that Helm makes of it: plain names and values alone."""
    values: Document = {}
    for assignment in assignments:
        path, _, value = assignment.removeprefix("--set=").partition("=")
        *folders, last = path.split(".")
        place = values
        for each in folders:
            place = place.setdefault(each, {})
        place[last] = yaml.safe_load(value)
    return values
