"""A Kubernetes API of the real programs, for tests: etcd, kube-apiserver, controllers of workloads, and no node.

A thread says of each pod what a kubelet would: that it runs and is ready, that its model does not load, or that a Job's
has ended well. All else is the real thing: admission, rights, fields and their managers, rollouts, garbage collection.
"""

import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from kubernetes.client import Configuration, CoreV1Api
from support.ports import free_ports
from support.waiting import until

from beacon_core.platform.kubernetes import Access, ClusterError

Document = dict[str, Any]
RELEASE = "beacon/release"
START_SECONDS = 180.0
CONTROLLERS = "deployment-controller,replicaset-controller,statefulset-controller,job-controller,"
CONTROLLERS += "garbage-collector-controller"


def program(name: str) -> list[str]:
    """How a program of Kubernetes is called here: by its name, or as a part of `kubenode`; empty where it is not."""
    if shutil.which(name):
        return [name]
    return ["kubenode", name] if name.startswith("kube-") and shutil.which("kubenode") else []


def missing_programs() -> list[str]:
    """What a control plane needs and this machine has not."""
    return [name for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl") if not program(name)]


class ControlPlane:
    """A running control plane."""

    def __init__(self, folder: Path, address: str, tokens: dict[str, str]) -> None:
        self.folder, self.address, self._tokens = folder, address, tokens
        self.kubeconfig = folder / "kubeconfig"
        self._authority = folder / "certificates" / "apiserver.crt"
        given = _kubeconfig(address, tokens["admin"], self._authority)
        self.kubeconfig.write_text(yaml.safe_dump(given), encoding="utf-8")

    def access(self, user: str, namespace: str) -> Access:
        """The API as a user of its token file sees it."""
        configuration = Configuration(self.address)
        configuration.retries, configuration.proxy = False, None
        configuration.ssl_ca_cert = str(self._authority)
        configuration.api_key = {"authorization": f"Bearer {self._tokens[user]}"}
        return Access(configuration, namespace)

    def kubectl(self, *arguments: str, given: str | None = None, namespace: str = "default") -> str:
        """What kubectl prints as the administrator; AssertionError with its message where it fails."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout

    def read(self, kind: str, name: str, namespace: str) -> Document:
        """One object; empty where it is not there."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json", namespace=namespace)
        found: Document = json.loads(text) if text else {}
        return found


@contextlib.contextmanager
def control_plane(users: list[str]) -> Iterator[ControlPlane]:
    """A control plane whose API knows these users and `admin`, who may do all."""
    etcd_client, etcd_peer, secure = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="control-plane-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        tokens = {user: secrets.token_hex(16) for user in ("admin", *users)}
        _write_files(folder, tokens)
        plane = ControlPlane(folder, f"https://127.0.0.1:{secure}", tokens)
        etcd = f"http://127.0.0.1:{etcd_client}"
        peer = f"http://127.0.0.1:{etcd_peer}"
        for server, options in (
            ("etcd", _etcd(folder, etcd, peer)),
            ("kube-apiserver", _api_server(folder, etcd, secure)),
        ):
            stack.enter_context(running(folder, server, [*program(server), *options]))
        until(lambda: _is_ready(plane), f"the API server ({folder}/kube-apiserver.log)", START_SECONDS)
        manager = "kube-controller-manager"
        arguments = (f"--kubeconfig={plane.kubeconfig}", f"--controllers={CONTROLLERS}", "--leader-elect=false")
        more = ("--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400")
        stack.enter_context(running(folder, manager, [*program(manager), *arguments, *more]))
        yield plane


def _kubeconfig(address: str, token: str, authority: Path) -> Document:
    cluster = {"server": address, "certificate-authority": str(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }


def _write_files(folder: Path, tokens: dict[str, str]) -> None:
    lines = [f"{token},{user},{user}{',system:masters' if user == 'admin' else ''}" for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "accounts.key").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "accounts.pub").write_bytes(public)


def _etcd(folder: Path, client: str, peer: str) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _api_server(folder: Path, etcd: str, port: int) -> list[str]:
    return [
        f"--etcd-servers={etcd}",
        f"--cert-dir={folder / 'certificates'}",
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1",  # nobody asks there: it has to be one that is not the loopback's
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.pub'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",  # no controller makes the default one
    ]


def _is_ready(plane: ControlPlane) -> bool:
    try:
        return plane.kubectl("get", "--raw=/readyz") == "ok"
    except AssertionError:
        return False


@contextlib.contextmanager
def running(
    folder: Path, name: str, command: list[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the block ends; what it prints is in NAME.log."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Kubelet:
    """What a kubelet would say of the pods of a namespace; versions in `broken` do not load."""

    def __init__(self, access: Access) -> None:
        self.broken: set[str] = set()
        self._access = access
        self._pods = CoreV1Api(access.client())
        self._status = CoreV1Api(access.client("application/merge-patch+json"))

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Say it until the block ends."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.1):
                with contextlib.suppress(ClusterError):  # a pod that went, an API that is slow: the next time
                    self._say_once()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _say_once(self) -> None:
        for pod in self._access.call(self._pods.list_namespaced_pod).get("items", []):
            if not pod["status"].get("conditions") and "deletionTimestamp" not in pod["metadata"]:
                body = {"status": self._status_of(pod)}
                self._access.call(self._status.patch_namespaced_pod_status, name=pod["metadata"]["name"], body=body)

    def _status_of(self, pod: Document) -> Document:
        if any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", [])):
            return {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}
        annotation = pod["metadata"].get("annotations", {}).get(RELEASE)
        versions = {pin["version"] for pin in json.loads(annotation).values() if pin} if annotation else set()
        waits = pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "inference" and not versions
        refuses = bool(versions & self.broken)
        ready = str(not waits and not refuses)
        status: Document = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        if refuses:
            ended = {"exitCode": 1, "message": "the model does not run", "containerID": "test://1"}
            container = {"name": "inference", "ready": False, "restartCount": 1, "image": "x", "imageID": "x"}
            status["containerStatuses"] = [container | {"state": {"terminated": ended}}]
        return status
