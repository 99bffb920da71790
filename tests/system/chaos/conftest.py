"""One deployment for all of it: `make deploy` in a namespace of its own; KEEP=1 leaves it for the next run."""

import json
import os
import shutil
from collections.abc import Callable, Iterator

import pytest
import yaml
from support.on_cluster import NAMESPACE, VALUES, answers, make, until
from system.chaos.table import PAGE, write
from system.chaos.world import NODE, PORTS, node, open_node_port, settled

from tools.deploy import run

CLASS = "beacon-chaos"
MEGABYTES = 1024
KEEP = os.environ.get("KEEP")
Row = Callable[[str, str, str], None]


@pytest.fixture(scope="session", autouse=True)
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    values = tmp_path_factory.mktemp("chaos") / "values"
    shutil.copytree(VALUES, values)
    found = run(["kubectl", "get", "persistentvolume", CLASS, "-o", "json", "--ignore-not-found"])
    disk = json.loads(found)["spec"]["hostPath"]["path"] if found else node("disk", str(MEGABYTES)) if NODE else ""
    if disk:
        # PostgreSQL on a disk that a test can fill.
        spec = {"capacity": {"storage": f"{MEGABYTES}Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
        spec |= {"hostPath": {"path": disk}, "persistentVolumeReclaimPolicy": "Retain"}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": CLASS}, "spec": spec}
        run(["kubectl", "apply", "-f", "-"], json.dumps(volume))
        file = values / "platform.yaml"
        wanted = yaml.safe_load(file.read_text())
        wanted["postgresql"] |= {"storageClass": CLASS, "storage": f"{MEGABYTES}Mi"}
        file.write_text(json.dumps(wanted))
    if not (KEEP and answers()):
        done = make("deploy", values)
        print(done.stdout)
        assert done.returncode == 0, done.stderr
    until(answers, "a prediction through the ingress", 30)
    for name in PORTS:
        open_node_port(name)
    yield
    if KEEP:
        return
    done = make("undeploy", values)
    assert done.returncode == 0, done.stderr
    run(["kubectl", "delete", "namespace", NAMESPACE])
    if disk:
        run(["kubectl", "delete", "persistentvolume", CLASS])
        node("no-disk", disk)


@pytest.fixture(autouse=True)
def whole() -> None:
    """Each test finds the product whole."""
    parts = {"inference": 2, "feature-serving": 2, "postgresql": 1, "redis": 1, "mlflow": 1}
    for name, count in parts.items():
        until(lambda name=name, count=count: settled(name, count), f"{name} whole", 300)


@pytest.fixture
def row() -> Row:
    """Writes what was seen: the fault, what must hold, the figures."""

    def told(fault: str, wanted: str, seen: str) -> None:
        print(f"\n  {fault}: {seen}", flush=True)
        write(PAGE, fault, wanted, seen)

    return told
