"""The values of charts/beacon/clusters, with which docs/how-to/clusters.md installs: rendered, valid, and right."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import KUBE_VERSION, containers, documents_of, helm, pods
from support.settings import Settings
from system.charts.test_validation import VERSIONS, valid, without_foreign, write

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA, told_all

Document = dict[str, Any]
FOLDER = ROOT / "charts" / UMBRELLA / "clusters"
KIND_OWN = "kind-cluster"
"""kind's own file, not values."""
CLUSTERS = sorted(file.stem for file in FOLDER.glob("*.yaml") if file.stem != KIND_OWN)
ONE_NODE, IN_S3 = {"kind", "k3s"}, {"eks"}
PAGE = (ROOT / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("product") / "values.json"
    file.write_text(json.dumps(told_all(load_product(Settings().product))), encoding="utf-8")
    return file


def render(cluster: str, product: Path, *more: str) -> dict[tuple[str, str], Document]:
    values = (f"--values={product}", f"--values=charts/{UMBRELLA}/clusters/{cluster}.yaml")
    done = helm("template", "beacon", f"charts/{UMBRELLA}", "--namespace=beacon", KUBE_VERSION, *values, *more)
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in documents_of(done.stdout)}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_values_of_a_cluster_render_what_kubernetes_takes(cluster: str, product: Path, tmp_path: Path) -> None:
    values = (f"--values={product}", f"--values=charts/{UMBRELLA}/clusters/{cluster}.yaml")
    linted = helm("lint", "--strict", f"charts/{UMBRELLA}", *values, KUBE_VERSION)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    file = write(tmp_path, list(render(cluster, product).values()), cluster)
    done = valid([without_foreign(file, tmp_path)], VERSIONS[-1])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_files_are_shared_as_its_nodes_need_it(cluster: str, product: Path) -> None:
    found = render(cluster, product)
    if cluster in IN_S3:
        assert not [name for kind, name in found if kind == "PersistentVolumeClaim"]
        return
    claim = found["PersistentVolumeClaim", "beacon-files"]["spec"]
    assert claim["accessModes"] == (["ReadWriteOnce"] if cluster in ONE_NODE else ["ReadWriteMany"])
    assert ("storageClassName" in claim) is (cluster not in ONE_NODE)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_promotion_may_make_is_what_inference_is(cluster: str, product: Path) -> None:
    """The values add nothing to inference's pods that promotion's admission policies would refuse in a canary."""
    values = yaml.safe_load((FOLDER / f"{cluster}.yaml").read_text(encoding="utf-8"))["inference"]
    policy_counts = {"serviceAccount", "extraEnv", "envFrom", "extraVolumes", "extraContainers", "extraInitContainers"}
    assert not values.keys() & (policy_counts | {"env", "secretEnv", "keys", "tls", "spool"})


def peers(found: dict[tuple[str, str], Document], name: str) -> list[Document]:
    """Who may come to a service, but for pods of Beacon's own."""
    rules = found["NetworkPolicy", name]["spec"]["ingress"]
    return [peer for rule in rules for peer in rule["from"] if "podSelector" not in peer]


@pytest.mark.parametrize(
    ("cluster", "namespace"),
    [("k3s", "kube-system"), ("aks", "app-routing-system"), ("openshift", "openshift-ingress")],
)
def test_the_clusters_own_ingress_controller_is_let_in(cluster: str, namespace: str, product: Path) -> None:
    wanted = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    found = render(cluster, product, "--set=console.ingress.enabled=true")
    assert peers(found, "beacon-inference") == [wanted]
    assert peers(found, "beacon-console") == [wanted]


@pytest.mark.parametrize(("cluster", "network"), [("eks", "10.0.0.0/16"), ("gke", "35.191.0.0/16")])
def test_a_clouds_load_balancer_is_let_in_by_its_network(cluster: str, network: str, product: Path) -> None:
    assert {"ipBlock": {"cidr": network}} in peers(render(cluster, product), "beacon-inference")


def test_openshift_chooses_the_user_of_every_pod(product: Path) -> None:
    for labels, spec in pods(list(render("openshift", product).values())):
        name = labels["app.kubernetes.io/name"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert not [each["name"] for each in containers(spec) if "runAsUser" in each["securityContext"]]


def test_on_eks_the_pods_that_ask_aws_have_a_role(product: Path) -> None:
    found = render("eks", product)
    roles = {
        name: annotations["eks.amazonaws.com/role-arn"]
        for (kind, name), each in found.items()
        if kind == "ServiceAccount"
        and "eks.amazonaws.com/role-arn" in (annotations := each["metadata"].get("annotations", {}))
    }
    assert set(roles) == {"beacon-platform", "beacon-retraining", "beacon-feature-serving"}
    (mlflow,) = [each for (kind, name), each in found.items() if name == "beacon-mlflow" and kind == "StatefulSet"]
    assert mlflow["spec"]["template"]["spec"]["serviceAccountName"] == "beacon-platform"


def test_on_gke_the_gateway_takes_the_ingress_place(product: Path) -> None:
    found = render("gke", product)
    assert ("Ingress", "beacon-inference") not in found
    assert found["HTTPRoute", "beacon-inference"]["spec"]["hostnames"] == ["beacon.example.com"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_page_has_a_section_for_it(cluster: str) -> None:
    assert f"charts/beacon/clusters/{cluster}.yaml" in PAGE
