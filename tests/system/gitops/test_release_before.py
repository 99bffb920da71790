"""A real API takes the upgrade from the release before and the way back: no field that cannot change does.

`make e2e-upgrade` does the same with pods. Hooks are left out, as there is no node.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.control_plane import RELEASE, ControlPlane
from support.rendering import HELM
from system.gitops.tools import HELM_4, product_values

from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA

PAIRS = [(HELM, HELM), (HELM, HELM_4), (HELM_4, HELM_4)]
"""Who installs the release before, and who upgrades it and goes back."""


@pytest.fixture(scope="module")
def before() -> Path:
    """A checkout of the release before, its umbrella chart ready to install."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(
        ["make", "-s", "before"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if "not a valid object name" in made.stderr:
        pytest.skip("this clone has no release before this one")
    assert made.returncode == 0, made.stderr[-3000:]
    return ROOT / made.stdout.splitlines()[-1]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda program: "helm-4" if program == HELM_4 else "helm-3")
def test_an_upgrade_and_the_way_back_are_taken_and_leave_the_model(
    first: str, second: str, before: Path, plane: ControlPlane, tmp_path: Path
) -> None:
    if not (shutil.which(first) and shutil.which(second)):
        pytest.skip("Helm 4 is not here: make .tools/bin/helm4")
    namespace = f"before-{PAIRS.index((first, second))}"
    plane.kubectl("create", "namespace", namespace)

    def helm(program: str, verb: str, *arguments: str, checkout: Path = ROOT) -> None:
        command = [program, verb, UMBRELLA, *arguments, "--no-hooks", f"--namespace={namespace}"]
        done = subprocess.run(
            command,
            cwd=checkout,
            env=os.environ | {"KUBECONFIG": str(plane.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def told(name: str) -> str:
        return plane.kubectl("get", "deployment", name, "-o", "json", namespace=namespace)

    def claimed() -> set[str]:
        return set(plane.kubectl("get", "persistentvolumeclaim", "-o", "name", namespace=namespace).split())

    def image() -> str:
        (container,) = json.loads(told("beacon-inference"))["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    chart = f"charts/{UMBRELLA}"
    old_values = before / ".beacon" / "product-values" / "beacon.json"
    helm(first, "install", chart, f"--values={old_values}", "--set=global.tag=v1", checkout=before)
    assert image() == "beacon-inference:v1"
    pinned = {"metadata": {"annotations": {RELEASE: '{"model": "a pin"}'}}}
    patch = ("deployment", "beacon-inference", "--type=merge", "--field-manager=beacon-promotion")
    body = json.dumps({"spec": {"template": pinned}})
    plane.kubectl("patch", *patch, f"--patch={body}", namespace=namespace)
    claims = claimed()
    helm(second, "upgrade", chart, f"--values={product_values(tmp_path)}", "--set=global.tag=v2")
    assert image() == "beacon-inference:v2"
    assert "a pin" in told("beacon-inference")
    assert claims <= claimed(), "data went with an upgrade"
    helm(second, "rollback")
    assert image() == "beacon-inference:v1"
    assert "a pin" in told("beacon-inference")
    assert claims <= claimed()
