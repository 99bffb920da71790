"""What the tests know of the cluster: commands on one namespace. `make e2e` and `make chaos` say which."""

import base64
import functools
import json
import os
import re
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from support.closed import CLOSED, closed_values, make_certificates
from support.products import SPEC

from beacon_core.commands.cluster_secrets import INSTALLATION, SIGNING_KEY, SIGNING_SECRET, name_in
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_core.platform.signing_keys import SigningKey, read_private_key
from tools.deploy import BY_HAND, Cluster, DeployError, prepare, run

ADDRESS = os.environ.get("ADDRESS") or "http://127.0.0.1"
NAMESPACE = os.environ["NAMESPACE"]
TAG = os.environ["TAG"]
PRODUCT = load_product(SPEC)
ROW = {feature.name: feature.example for feature in PRODUCT.features}
PREDICT = f"{ADDRESS}/v1/predict"
BODY: dict[str, Any] = {"features": ROW}
NAMES = (ROOT / "charts" / "beacon-lib" / "templates" / "_names.tpl").read_text(encoding="utf-8")
PORTS: dict[str, int] = yaml.safe_load(NAMES.partition('define "beacon.ports" -}}')[2].partition("{{")[0])
BESIDES: dict[str, str] = yaml.safe_load(NAMES.partition('define "beacon.besides" -}}')[2].partition("{{")[0])
End = tuple[str, int]
ENDS: dict[str, End] = {
    arrow: end
    for arrow, port in PORTS.items()
    if (end := (BESIDES.get(arrow, arrow.removesuffix("-metrics")), port))[0] not in BY_HAND
}
"""Where each arrow of the library chart ends: the component whose pods listen, and the port.

But for components that `make deploy` leaves to a person: they are not there.
"""


def api_addresses() -> list[str]:
    """The addresses of the Kubernetes API, as pods reach it."""
    service = json.loads(run(["kubectl", "get", "service", "kubernetes", "-n", "default", "-o", "json"]))
    ends = json.loads(run(["kubectl", "get", "endpoints", "kubernetes", "-n", "default", "-o", "json"]))
    found = [one["ip"] for subset in ends["subsets"] for one in subset["addresses"]]
    return [f"{address}/32" for address in (*service["spec"]["clusterIPs"], *found)]


SUITE_VALUES = ROOT / os.environ["VALUES"]
VALUES = closed_values(SUITE_VALUES, api_addresses()) if CLOSED else SUITE_VALUES
# Prints every address that takes a connection.
PROBE = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def probe(word):
    host, port = word.split(":")
    try:
        socket.create_connection((host, int(port)), 4).close()
    except OSError:
        return
    sys.stdout.write(word + "\\n")  # in one go: lines of threads must not mix

with ThreadPoolExecutor(32) as pool:
    list(pool.map(probe, sys.argv[1:]))
"""

# Takes connections at every port that it is given.
LISTEN = """
import socket, sys, time

sockets = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
time.sleep(3600)
"""
DARK = "inference-dark"


class Steps:
    """The steps of the suite with their times, told as they end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.lines.append(f"{what:<64} {time.monotonic() - start:6.1f} s")
        print(f"\n  {self.lines[-1]}", flush=True)


def cluster() -> Cluster:
    return Cluster(NAMESPACE, "", TAG, VALUES, PRODUCT)


def secret_text(name: str, key: str) -> str:
    """The text that a Secret has under a key."""
    data = json.loads(cluster().kubectl("get", "secret", name, "-o", "json"))["data"]
    return base64.b64decode(data[key]).decode()


def signing_key(folder: Path, installation: str = INSTALLATION) -> SigningKey:
    """The key that signs models there; its file comes into `folder`."""
    file = folder / SIGNING_KEY
    file.touch(0o600)
    file.write_text(secret_text(name_in(installation, SIGNING_SECRET), SIGNING_KEY))
    return read_private_key(file)


def make(target: str, values: Path = VALUES) -> subprocess.CompletedProcess[str]:
    """`make deploy` or `make undeploy`, as a user would call it."""
    if CLOSED and target == "deploy":
        prepare(cluster())
        make_certificates(cluster())
    given = [f"NAMESPACE={NAMESPACE}", f"TAG={TAG}", f"VALUES={values}"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", target, *given], capture_output=True, text=True, check=False, cwd=ROOT, env=variables
    )


@functools.cache
def known(service: str = "inference") -> dict[str, str]:
    """The headers by which a service knows the tests, where it asks who sends a request."""
    return (
        {"X-API-Key": secret({"inference": "api-key", "feature-serving": "feature-token"}[service])} if CLOSED else {}
    )


def predict(body: object) -> httpx.Response:
    return httpx.post(PREDICT, json=body, headers=known(), timeout=30)


def redis(*command: str) -> str:
    """What its own client says to a command."""
    speaks = ["--tls", "--insecure"] if CLOSED else []
    return cluster().kubectl("exec", "beacon-redis-0", "--", "redis-cli", *speaks, *command)


def answers() -> bool:
    try:
        return predict(BODY).status_code == 200
    except (httpx.HTTPError, DeployError):  # the latter: its key is not there yet
        return False


def secret(key: str) -> str:
    return secret_text(INSTALLATION, key)


def sql(query: str, installation: str = INSTALLATION) -> str:
    """What PostgreSQL answers in the database of an installation."""
    login = ["psql", "-h", "/tmp", "-U", "beacon", "-d", installation.replace("-", "_")]
    return cluster().kubectl("exec", "beacon-postgresql-0", "--", *login, "-tAc", query).strip()


def watched(query: str, label: str = "job", installation: str = INSTALLATION) -> Counter[str]:
    """How many series an installation's Prometheus has for a query, by a label."""
    asked = ["promtool", "query", "instant", "http://localhost:9090", query]
    command = ["exec", f"{installation}-prometheus-0", "--", *asked]
    return Counter(re.findall(rf'\b{label}="([^"]+)"', cluster().kubectl(*command)))


def until(true: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(1)


def labels_of_ours() -> dict[str, dict[str, str]]:
    """The labels that the pods of each component have, jobs included."""
    found = {}
    for item in json.loads(cluster().kubectl("get", "deployment,statefulset,cronjob", "-o", "json"))["items"]:
        spec = item["spec"]
        template = spec["jobTemplate"]["spec"]["template"] if item["kind"] == "CronJob" else spec["template"]
        labels: dict[str, str] = template["metadata"]["labels"]
        found[labels["app.kubernetes.io/name"]] = labels
    return found


def open_from(labels: dict[str, str], namespace: str = NAMESPACE) -> set[End]:
    """The ends of arrows that take a connection, by service or by pod, from a pod with these labels."""
    services = {name for name, _ in ENDS.values()}
    hosts = {f"beacon-{name}.{NAMESPACE}": name for name in services}
    for pod in json.loads(cluster().kubectl("get", "pods", "-o", "json"))["items"]:
        name = pod["metadata"]["labels"].get("app.kubernetes.io/name", "")
        if name in services and pod["status"].get("podIP"):
            hosts[pod["status"]["podIP"]] = name
    ends = {f"{host}:{end[1]}": end for host, name in hosts.items() for end in ENDS.values() if end[0] == name}
    # The policies learn of the pod while it sleeps.
    command = ["sh", "-c", 'sleep 5; exec python -c "$0" "$@"', PROBE, *ends]
    with pod_of(labels, command, namespace) as name:
        there = Cluster(namespace, "", TAG, None, None)
        there.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
        lines = there.kubectl("logs", name).split("\n")
    return {ends[line] for line in lines if line}


@contextmanager
def pod_of(
    labels: dict[str, str], command: list[str], namespace: str = NAMESPACE, *, cpu: str = "10m", port: int = 0
) -> Iterator[str]:
    """A pod with these labels that runs a command in inference's image.

    One without a `port` is never ready, so that no service sends it anything.
    """
    container: dict[str, Any] = {
        "name": "probe",
        "image": f"beacon-inference:{TAG}",
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": cpu}},
    }
    if port:
        container["ports"] = [{"name": "http", "containerPort": port}]
    else:
        container["readinessProbe"] = {"exec": {"command": ["false"]}}
    pod_security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": pod_security, "containers": [container]}
    name = f"probe-{secrets.token_hex(3)}"
    there = Cluster(namespace, "", TAG, None, None)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    there.kubectl("create", "-f", "-", given=json.dumps(pod))
    try:
        yield name
    finally:
        there.kubectl("delete", "pod", name, "--wait=false", "--grace-period=1")


@contextmanager
def dark_pod(labels: dict[str, str]) -> Iterator[None]:
    """What promotion tries a model in, without the model: a pod of that name that takes connections."""
    ports = [str(port) for component, port in ENDS.values() if component == DARK]
    with pod_of(labels, ["python", "-c", LISTEN, *ports]) as name:
        address = ["get", "pod", name, "-o", "jsonpath={.status.podIP}"]
        until(lambda: cluster().kubectl(*address) != "", "an address of the dark pod", 60)
        yield
