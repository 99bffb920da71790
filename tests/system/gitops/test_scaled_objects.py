"""A real API with KEDA's own definition takes the ScaledObjects of the charts, every field of them."""

import json
from typing import Any

import pytest
from support.control_plane import ControlPlane
from support.rendering import documents_of, template

from beacon_core.platform.settings import ROOT

DEFINITION = ROOT / "tests" / "support" / "keda-scaledobjects.yaml"
SCALING = (
    *("enabled=true", 'by="keda"', "requestsPerSecond=50", "requestsInFlight=2.5", 'prometheus.authentication="mine"'),
    'behavior={"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 30}]}}',
)
CHARTS = ("inference", "feature-serving")


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> ControlPlane:
    """The control plane, which knows the kind."""
    plane.kubectl("apply", "--server-side", f"--filename={DEFINITION}")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(DEFINITION))
    return plane


def scaled_object(chart: str) -> dict[str, Any]:
    values = f"--values=charts/{chart}/ci/default-values.yaml"
    done = template(chart, values, *(f"--set-json=autoscaling.{each}" for each in SCALING))
    assert done.returncode == 0, done.stderr
    (found,) = [each for each in documents_of(done.stdout) if each["kind"] == "ScaledObject"]
    return found | {"metadata": found["metadata"] | {"namespace": "default"}}


def taken(api: ControlPlane, document: dict[str, Any]) -> None:
    api.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", given=json.dumps(document))


@pytest.mark.parametrize("chart", CHARTS)
def test_kedas_definition_takes_it(chart: str, api: ControlPlane) -> None:
    taken(api, scaled_object(chart))


def test_a_misspelt_field_is_refused(api: ControlPlane) -> None:
    document = scaled_object("inference")
    document["spec"]["maxReplicas"] = document["spec"].pop("maxReplicaCount")
    with pytest.raises(AssertionError, match=r"unknown field .*spec\.maxReplicas"):
        taken(api, document)
