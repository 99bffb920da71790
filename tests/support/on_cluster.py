"""What the tests know of the cluster: commands on one namespace. `make e2e` and `make chaos` say which."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from beacon_core.product import load_product
from beacon_core.settings import ROOT
from charts.deploy import Cluster

ADDRESS = os.environ.get("ADDRESS") or "http://127.0.0.1"
NAMESPACE = os.environ["NAMESPACE"]
TAG = os.environ["TAG"]
PRODUCT = load_product(ROOT / "feature_repo" / "product.yaml")
ROW = {feature.name: feature.example for feature in PRODUCT.features}
PREDICT = f"{ADDRESS}/v1/predict"
BODY: dict[str, Any] = {"features": ROW}
VALUES = ROOT / os.environ["VALUES"]
TARGETS = {
    "inference": (8080, 9090),
    "feature-serving": (6566, 9091),
    "console": (8090,),
    "mlflow": (5000,),
    "postgresql": (5432,),
    "redis": (6379,),
}
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
    sys.stdout.write(f"{host} {port}\\n")  # in one go: lines of threads must not mix

with ThreadPoolExecutor(32) as pool:
    list(pool.map(probe, sys.argv[1:]))
"""


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
    return Cluster(NAMESPACE, "", TAG, VALUES)


def make(target: str) -> subprocess.CompletedProcess[str]:
    """`make deploy` or `make undeploy`, as a user would call it."""
    given = [f"NAMESPACE={NAMESPACE}", f"TAG={TAG}", f"VALUES={VALUES}"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", target, *given], capture_output=True, text=True, check=False, cwd=ROOT, env=variables
    )


def predict(body: object) -> httpx.Response:
    return httpx.post(PREDICT, json=body, timeout=10)


def answers() -> bool:
    try:
        return predict(BODY).status_code == 200
    except httpx.HTTPError:
        return False


def secret(key: str) -> str:
    return (
        cluster().kubectl("get", "secret", "beacon", f'--template={{{{index .data "{key}" | base64decode}}}}').strip()
    )


def sql(query: str) -> str:
    command = ["exec", "beacon-postgresql-0", "--", "psql", "-h", "/tmp", "-U", "beacon", "-d", "beacon", "-tAc", query]
    return cluster().kubectl(*command).strip()


def until(true: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)


def open_from(labels: dict[str, str]) -> set[tuple[str, int]]:
    """The addresses of ours that take a connection from a pod with these labels."""
    addresses = [f"beacon-{name}:{port}" for name, ports in TARGETS.items() for port in ports]
    # Headless or not, a metrics port is reached by the pod's own address, too.
    pods = json.loads(cluster().kubectl("get", "pods", "-o", "json"))["items"]
    for pod in pods:
        name = pod["metadata"]["labels"].get("app.kubernetes.io/name", "")
        addresses += [
            f"{pod['status']['podIP']}:{port}" for port in TARGETS.get(name, ()) if pod["status"].get("podIP")
        ]
    name = f"probe-{secrets.token_hex(3)}"
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": f"beacon-inference:{TAG}",
                    "command": ["sh", "-c", 'sleep 4; exec python -c "$0" "$@"', PROBE, *addresses],
                    "securityContext": security,
                }
            ],
        },
    }
    cluster().kubectl("create", "-f", "-", given=json.dumps(pod))
    try:
        phase = "--for=jsonpath={.status.phase}=Succeeded"
        cluster().kubectl("wait", f"pod/{name}", phase, "--timeout=120s")
        lines = cluster().kubectl("logs", name).split("\n")
    finally:
        cluster().kubectl("delete", "pod", name, "--wait=false")
    return {(line.split()[0], int(line.split()[1])) for line in lines if line}
