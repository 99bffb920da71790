"""The product under chaos: its pods, its doors, what it kept, and what can be done to the node below it."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.on_cluster import ADDRESS, BODY, PREDICT, PRODUCT, cluster, known, until
from support.steady_load import Door, Load, both

NODE = os.environ.get("NODE", "")
BY_ENTITY: dict[str, Any] = {"entity": {PRODUCT.entity.key: 17}}
LOOKUP = {"feature_service": PRODUCT.feature_service, "entities": {PRODUCT.entity.key: [17]}}
PORTS = {"inference": 8080, "feature-serving": 6566}
RATE = 75
"""Requests a second, where the test says nothing else: little enough for two cores that all of it shares."""

needs_node = pytest.mark.skipif(not NODE, reason="NODE= names no program that can do this to the node")


def node(*words: str) -> str:
    """What `NODE` is told to do; .ci/node says which words there are."""
    done = subprocess.run([NODE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pods(name: str) -> list[dict[str, Any]]:
    """The pods of a component, those that end included."""
    text = cluster().kubectl("get", "pods", f"--selector=app.kubernetes.io/name={name}", "-o", "json")
    found: list[dict[str, Any]] = json.loads(text)["items"]
    return found


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def settled(name: str, count: int) -> bool:
    """Whether so many pods are ready, and none other is there."""
    found = pods(name)
    return len(found) == count and all(ready(pod) for pod in found)


def restarts(name: str) -> int:
    return sum(status["restartCount"] for pod in pods(name) for status in pod["status"].get("containerStatuses", []))


def container(pod: dict[str, Any]) -> str:
    """The id of a pod's only container."""
    found: str = pod["status"]["containerStatuses"][0]["containerID"]
    return found


def scale(workload: str, replicas: int) -> None:
    """Scale, and wait until it is so."""
    cluster().kubectl("scale", workload, f"--replicas={replicas}")
    until(lambda: settled(workload.partition("/beacon-")[2], replicas), f"{workload} at {replicas}", 180)


def roll(name: str, count: int = 2) -> None:
    """Replace every pod, and wait until the old ones are gone."""
    cluster().kubectl("rollout", "restart", f"deployment/beacon-{name}")
    cluster().rolled_out(f"deployment/beacon-{name}")
    until(lambda: settled(name, count), f"{name} rolled", 120)


def ingress() -> list[Door]:
    """As clients come, with their features."""
    return both("ingress", PREDICT, BODY, known())


def by_entity() -> list[Door]:
    """As clients come whose features are looked up."""
    return both("entity", PREDICT, BY_ENTITY, known())


def direct(name: str) -> list[Door]:
    """Past the ingress, over a port of the node."""
    host, port = node_port(name)
    address = f"http://{host}:{port}"
    if name == "inference":
        return both("node port", f"{address}/v1/predict", BODY, known(name))
    return both("node port", f"{address}/get-online-features", LOOKUP, known(name))


def open_node_port(name: str) -> None:
    """A Service of type NodePort over a component's pods, so that clients need no ingress; waits until it is open."""
    selector = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "beacon"}
    spec = {"type": "NodePort", "selector": selector, "ports": [{"port": PORTS[name], "targetPort": "http"}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"chaos-{name}"}, "spec": spec}
    cluster().kubectl("apply", "-f", "-", given=json.dumps(service))

    address = node_port(name)

    def is_open() -> bool:
        with socket.socket() as client:
            return client.connect_ex(address) == 0

    until(is_open, f"the node's port of {name}", 60)


def node_port(name: str) -> tuple[str, int]:
    """Host and port of that Service."""
    service = json.loads(cluster().kubectl("get", "service", f"chaos-{name}", "-o", "json"))
    return urlsplit(ADDRESS).hostname or "", service["spec"]["ports"][0]["nodePort"]


def lost(ids: list[str]) -> int:
    """How many of these predictions the log lacks."""
    script = "create temp table told (id text);\ncopy told from stdin;\n" + "\n".join(ids) + "\n\\.\n"
    script += "select count(*) from told left join predictions using (id) where predictions.id is null;\n"
    command = ["psql", "-h", "/tmp", "-U", "beacon", "-d", "beacon", "-qtA", "-v", "ON_ERROR_STOP=1"]
    return int(cluster().kubectl("exec", "-i", "beacon-postgresql-0", "--", *command, given=script))


def drained(load: Load, seconds: float = 60) -> float:
    """Wait until the log has every acknowledged prediction of a load; the seconds that it took."""
    start = time.monotonic()
    ids = load.acknowledged
    assert ids
    until(lambda: lost(ids) == 0, f"{len(ids)} acknowledged predictions in the log", seconds)
    return time.monotonic() - start


def answers_by_entity() -> bool:
    """Whether a prediction whose features are looked up is answered."""
    try:
        return httpx.post(PREDICT, json=BY_ENTITY, headers=known(), timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def seconds_until(true: Callable[[], bool], what: str, limit: float) -> float:
    """Wait, and say how long."""
    start = time.monotonic()
    until(true, what, limit)
    return time.monotonic() - start


def versions() -> int:
    """How many versions of the model the registry has."""
    query = "select count(*) from model_versions"
    command = ["psql", "-h", "/tmp", "-U", "beacon", "-d", "mlflow", "-tAc", query]
    return int(cluster().kubectl("exec", "beacon-postgresql-0", "--", *command))
