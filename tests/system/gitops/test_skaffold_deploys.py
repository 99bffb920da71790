"""skaffold installs the umbrella chart on a real API, and again, where it is there: promotion keeps its model."""

from pathlib import Path

import pytest
from support.control_plane import ControlPlane, Kubelet
from support.settings import Settings
from support.skaffold import IMAGES, NEEDED, skaffold
from support.waiting import until
from system.gitops.tools import NAMESPACE, promotion_of

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_promotion.targets.kubernetes.deployment_target import DeploymentTarget
from tools.deploy import POD_SECURITY

pytestmark = pytest.mark.skipif(NEEDED is not None, reason=str(NEEDED))
MODEL = Pin("boston-housing", "1", "1" * 64)


def test_it_installs_upgrades_and_deletes_and_keeps_the_model(plane: ControlPlane, tmp_path: Path) -> None:
    def deploy(tag: str, *more: str) -> None:
        images = [f"--images={image}={image}:{tag}" for image in IMAGES]
        skaffold("deploy", *images, *more, home=tmp_path, KUBECONFIG=str(plane.kubeconfig))

    def image() -> str:
        (container,) = plane.read("deployment", "beacon-inference", NAMESPACE)["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    target = DeploymentTarget(Settings(home=tmp_path), plane.access(promotion_of(NAMESPACE), NAMESPACE))
    with Kubelet(plane.access("admin", NAMESPACE)).at_work():
        deploy("t1", "--status-check=false")
        key, _, value = POD_SECURITY.partition("=")
        assert plane.read("namespace", NAMESPACE, NAMESPACE)["metadata"]["labels"][key] == value
        assert plane.read("configmap", "beacon-product-data", NAMESPACE)
        assert image() == "beacon-inference:t1"
        assert target.serving() is None
        target.release(MODEL)
        # It waits until every Deployment is up, as it does by default.
        deploy("t2")
        assert image() == "beacon-inference:t2"
        assert target.serving() == Release(MODEL)
        skaffold("delete", home=tmp_path, KUBECONFIG=str(plane.kubeconfig))
        until(lambda: not plane.read("deployment", "beacon-inference", NAMESPACE), "inference is gone")
