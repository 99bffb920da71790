"""Two releases of the umbrella chart, as Helm renders them, and what a selector of one would choose of the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.rendering import KUBE_VERSION, documents_of, helm, pods

Document = dict[str, Any]
POLICIES = "--api-versions=admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
PART_OF, NAMESPACE = "app.kubernetes.io/part-of", "kubernetes.io/metadata.name"
CLUSTER_SCOPED = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def render(release: str, values: Document, folder: Path, *arguments: str, namespace: str = "shared") -> list[Document]:
    """The objects of `helm install RELEASE charts/beacon`."""
    file = folder / f"{release}.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    command = ("template", release, "charts/beacon", f"--namespace={namespace}", KUBE_VERSION, POLICIES)
    done = helm(*command, "--values", str(file), *arguments)
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


def key(document: Document) -> tuple[str, str, str]:
    """What the API tells objects apart by."""
    metadata = document["metadata"]
    namespace = "" if document["kind"] in CLUSTER_SCOPED else metadata["namespace"]
    return document["kind"], namespace, metadata["name"]


def selectors(document: Document) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each selector of pods in an object: where it stands, the namespace that it looks into, and its labels."""
    kind, own, spec = document["kind"], document["metadata"].get("namespace", ""), document.get("spec", {})
    if kind in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
        yield f"{kind}.selector", own, spec["selector"]["matchLabels"]
    elif kind == "Service":
        yield f"{kind}.selector", own, spec["selector"]
    elif kind == "NetworkPolicy":
        yield f"{kind}.podSelector", own, spec["podSelector"]["matchLabels"]
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in spec[way] or []:
                for peer in rule.get(peers) or []:
                    if "podSelector" in peer:
                        place = peer.get("namespaceSelector", {}).get("matchLabels", {}).get(NAMESPACE, own)
                        yield f"{kind}.{way}", place, peer["podSelector"]["matchLabels"]


def chosen(mine: list[Document], others: list[Document], namespace: str = "shared") -> set[tuple[str, str, str]]:
    """Which selectors of `mine` choose which pods of `others`: selector, whose it is, and the component of the pod."""
    labels = [each for each, _ in pods(others)]
    return {
        (where, document["metadata"]["labels"]["app.kubernetes.io/name"], pod["app.kubernetes.io/name"])
        for document in mine
        for where, place, wanted in selectors(document)
        for pod in labels
        if place == namespace and wanted.items() <= pod.items()
    }
