"""The tools whose syncs promotion has to outlive, each in a namespace of its own."""

import json
import shutil
from pathlib import Path

from support import argocd
from support.control_plane import ControlPlane
from support.gitops import ArgoCd, Document, Flux, Git, HelmUpgrade, Replacing, Syncer
from support.rendering import HELM, KUBE_VERSION, documents_of, helm
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA, told_all

HELM_4 = "helm4"
"""Helm 4 beside the machine's own, where it is there."""
ITSELF = "argo-cd-itself"
TOOLS = ("flux", "argo-cd", "argo-cd-server-side", ITSELF, "helm", "helm-4", "replacing")
NAMESPACE = "beacon"
"""That of skaffold.yaml."""
CHART = str(ROOT / "charts" / UMBRELLA)
POLICIES = "--api-versions=admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


def namespace_of(tool: str) -> str:
    return f"beacon-{tool}"


def promotion_of(namespace: str) -> str:
    """The user as whom promotion asks the API."""
    return f"system:serviceaccount:{namespace}:beacon-promotion"


def needs(tool: str) -> str | None:
    """What the tool needs and this machine has not; None where it is there."""
    if tool == "helm-4" and shutil.which(HELM_4) is None:
        return "Helm 4 is not here: make .tools/bin/helm4"
    if tool == ITSELF and not argocd.is_there():
        return "Argo CD is not here: make .tools/bin/argocd"
    return None


def product_values(folder: Path) -> Path:
    """The values of the shipped product, as `make product-values` writes them."""
    file = folder / "product.json"
    file.write_text(json.dumps(told_all(load_product(Settings().product))), encoding="utf-8")
    return file


def repository(namespace: str, values: Path) -> Git:
    """The umbrella chart as Git has it, rendered for the namespace."""

    def render(more: list[str]) -> list[Document]:
        given = (f"--namespace={namespace}", KUBE_VERSION, POLICIES, f"--values={values}", *more)
        done = helm("template", "beacon", CHART, *given)
        assert done.returncode == 0, done.stderr
        return documents_of(done.stdout)

    return Git(render)


def syncer(tool: str, plane: ControlPlane, namespace: str, values: Path) -> Syncer:
    if tool == "flux":
        return Flux(plane, namespace)
    if tool == "replacing":
        return Replacing(plane, namespace)
    if tool.startswith("argo-cd"):
        return ArgoCd(plane, namespace, server_side=tool != "argo-cd")
    return HelmUpgrade(plane, namespace, HELM_4 if tool == "helm-4" else HELM, CHART, [values])
