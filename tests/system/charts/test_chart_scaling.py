"""Autoscaling as the charts render it: by CPU, requests per second and requests in flight, by either of two scalers."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import template

CHARTS = ("inference", "feature-serving")


def scaler(chart: str, *given: str) -> dict[str, Any]:
    """The one object that scales."""
    values = f"--values=charts/{chart}/ci/default-values.yaml"
    done = template(chart, values, *(f"--set-json=autoscaling.{each}" for each in ("enabled=true", *given)))
    assert done.returncode == 0, done.stderr
    documents = [each for each in yaml.safe_load_all(done.stdout) if each]
    (found,) = [each for each in documents if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    (deployment,) = [each for each in documents if each["kind"] == "Deployment"]
    assert found["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    scaled: dict[str, Any] = found["spec"]
    return scaled


@pytest.mark.parametrize("chart", CHARTS)
def test_by_default_it_is_cpu_as_before(chart: str) -> None:
    spec = scaler(chart)
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert spec["metrics"] == [{"type": "Resource", "resource": cpu}]
    assert spec["behavior"] == {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 300},
    }


@pytest.mark.parametrize("chart", CHARTS)
def test_by_requests_it_asks_the_api_of_custom_metrics(chart: str) -> None:
    spec = scaler(chart, "cpuPercent=0", "requestsPerSecond=50", "requestsInFlight=2.5")
    assert [(each["pods"]["metric"]["name"], each["pods"]["target"]) for each in spec["metrics"]] == [
        ("http_requests_per_second", {"type": "AverageValue", "averageValue": "50"}),
        ("http_requests_in_flight", {"type": "AverageValue", "averageValue": "2.5"}),
    ]


@pytest.mark.parametrize("chart", CHARTS)
def test_keda_asks_prometheus_for_the_same(chart: str, tmp_path: Path) -> None:
    spec = scaler(chart, 'by="keda"', "min=3", "requestsPerSecond=50", "requestsInFlight=2.5")
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 6)
    cpu, *asked = spec["triggers"]
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    assert {each["metadata"]["serverAddress"] for each in asked} == {"http://beacon-prometheus:9090"}
    assert {each["metadata"]["threshold"] for each in asked} == {"50", "2.5"}
    queries = [each["metadata"]["query"] for each in asked]
    assert all('installation="beacon"' in query and f'job=~"(.*-)?{chart}(-pods)?"' in query for query in queries)
    rules = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_behaviour_is_over_the_charts_own() -> None:
    spec = scaler("inference", "downSeconds=60", "upSeconds=10", 'behavior.scaleUp.selectPolicy="Max"')
    assert spec["behavior"] == {
        "scaleUp": {"stabilizationWindowSeconds": 10, "selectPolicy": "Max"},
        "scaleDown": {"stabilizationWindowSeconds": 60},
    }


def test_by_nothing_is_refused() -> None:
    values = "--values=charts/inference/ci/default-values.yaml"
    done = template("inference", values, "--set=autoscaling.enabled=true,autoscaling.cpuPercent=0")
    assert done.returncode != 0
    assert "autoscaling: set cpuPercent, requestsPerSecond or requestsInFlight" in done.stderr


def test_feature_serving_has_two_pods() -> None:
    done = template("feature-serving", "--values=charts/feature-serving/ci/default-values.yaml")
    (found,) = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Deployment"]
    assert found["spec"]["replicas"] == 2
