"""Beacon on the cluster, as the paging suite needs it: its receivers, varied traffic, models for its registry."""

import base64
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from support.on_cluster import ADDRESS, NAMESPACE, PRODUCT, cluster, signing_key
from support.steady_load import Door

from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import Package, read_package
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import sign_folder
from beacon_core.sources.rows import read_rows

EDGE = f"edge.{NAMESPACE}.svc.cluster.local"
INGRESS = ADDRESS.removeprefix("http://")
# In the pod of MLflow, which has its client: takes a package, registers it, and prints the version it got.
LOGIN = """
import os
os.environ["MLFLOW_TRACKING_USERNAME"] = os.environ["MLFLOW_WRITER_USERNAME"]
os.environ["MLFLOW_TRACKING_PASSWORD"] = os.environ["MLFLOW_WRITER_PASSWORD"]
"""
REGISTER = f"""{LOGIN}
import base64, io, sys, tarfile, tempfile
from mlflow import MlflowClient
name, sha256 = sys.argv[1:]
client = MlflowClient("http://127.0.0.1:5000")
with tempfile.TemporaryDirectory() as folder:
    tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.stdin.read()))).extractall(folder)
    experiment = client.get_experiment_by_name("paging")
    number = experiment.experiment_id if experiment else client.create_experiment("paging")
    run = client.create_run(number)
    client.log_artifacts(run.info.run_id, folder, "package")
source = f"{{run.info.artifact_uri}}/package"
tags = {{"sha256": sha256}}
print(client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=0).version)
"""
# In a pod of inference: prints a folder as an archive.
SHOW = """
import base64, io, sys, tarfile
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as archive:
    archive.add(sys.argv[1], ".")
print(base64.b64encode(buffer.getvalue()).decode())
"""
NEWEST = f"""{LOGIN}
from mlflow import MlflowClient
found = MlflowClient("http://127.0.0.1:5000").search_model_versions("name = '%s'")
print(max(int(version.version) for version in found))
"""


def write_values(folder: Path, receiver: str) -> None:
    """Values of `make deploy`: every alert goes to the receiver, in each way that it can be read there."""
    ways: dict[str, Any] = {
        name: [{"webhook": {"url": f"{receiver}/{name}"}}] for name in ("page", "ticket", "deadman")
    }
    ways["page"].append({"slack": {"secret": {"name": "paging-test", "key": "slack"}}})
    network = {"egress": [{"to": [{"ipBlock": {"cidr": "10.250.0.0/24"}}]}]}
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    values: dict[str, Any] = {
        # A machine that tests on all its cores looks features up more slowly than production's 150 ms.
        "inference": {
            "ingress": {"host": EDGE},
            "resources": small,
            "env": {"BEACON_FEATURES_TIMEOUT_SECONDS": "1"},
        },
        "feature-serving": {"resources": small},
        "retraining": {"arguments": ["--here", "--repeats", "1"]},
        "monitoring": {
            "receivers": ways,
            "deadmanInterval": "1m",
            "prober": {"ingressUrl": f"http://{EDGE}/v1/predict"},
            "networkPolicy": network,
        },
    }
    for name, given in values.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(given))


def prepare(receiver: str) -> None:
    """The secret of the receiver, and a name by which pods reach the ingress."""
    kubectl = cluster().kubectl
    kubectl("delete", "secret", "paging-test", "--ignore-not-found")
    kubectl("create", "secret", "generic", "paging-test", f"--from-literal=slack={receiver}/slack")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge"},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "edge", "labels": {"kubernetes.io/service-name": "edge"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [INGRESS]}],
    }
    kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, slice_]}))


def sample() -> list[dict[str, float]]:
    """The rows of the bundled sample as features; missing values are left out."""
    rows, names = read_rows(PRODUCT), PRODUCT.feature_names
    return [{name: row[name] for name in names if row[name] is not None} for row in rows]


def doors(by_entity: float = 0.2) -> list[Door]:
    """Varied traffic: rows of the sample, alone, in batches and by other protocols; a share of it by entity alone."""
    found = []
    rows = sample()[:400:4]
    for number, row in enumerate(rows):
        name, path, body = "row", "/v1/predict", {"features": row}
        if number % 10 < by_entity * 10:
            name, body = "entity", {"entity": {PRODUCT.entity.key: number * 4 + 1}}
        elif number % 10 == 8:
            name, path, body = "batch", "/v1/predict/batch", {"rows": [{"features": r} for r in rows[:5]]}
        elif number % 10 == 9:
            name, path, body = "mlflow", "/invocations", {"dataframe_records": [row]}
        found.append(Door(name, f"{ADDRESS}{path}", body, number % 2 == 0, EDGE))
    return found


def served(folder: Path) -> Package:
    """The package that serves now, brought out of a pod."""
    release = json.loads(cluster().helm("get values", "inference", "-o", "json"))["model"]
    pin = Pin(release["name"], release["version"], release["sha256"])
    inside = f"/var/lib/beacon/models/{pin.name}/{pin.version}"
    command = ["exec", "deployment/beacon-inference", "-c", "inference", "--", "python", "-c", SHOW, inside]
    content = base64.b64decode(cluster().kubectl(*command))
    place = package_folder(folder, pin)
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(place, filter="data")
    return read_package(place, pin.sha256)


def register(make: Callable[[Path, Package, str], Pin], folder: Path) -> Pin:
    """Make a package of the next version with `make(models, base, version)`, and put it into the registry."""
    newest = cluster().kubectl("exec", "beacon-mlflow-0", "--", "python", "-c", NEWEST % PRODUCT.name)
    version = str(int(newest) + 1)
    pin = make(folder / "made", served(folder / "served"), version)
    made = package_folder(folder / "made", pin)
    sign_folder(made, signing_key(folder), pin.sha256)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(made, ".")
    content = base64.b64encode(buffer.getvalue()).decode()
    command = ["exec", "-i", "beacon-mlflow-0", "--", "python", "-c", REGISTER, pin.name, pin.sha256]
    given = cluster().kubectl(*command, given=content).split()[-1]
    assert given == version
    return pin


def release(pin: Pin) -> None:
    """Put a version into service, as promotion does; returns when its pods are up."""
    chosen = ["--set-string", f"model.version={pin.version}", "--set-string", f"model.sha256={pin.sha256}"]
    cluster().upgrade("inference", *chosen, "--wait", "--timeout", "5m")
