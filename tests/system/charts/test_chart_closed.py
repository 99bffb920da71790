"""What the suites on a cluster close with CLOSED=1: the charts take it, and it closes what it says."""

from pathlib import Path

import pytest
import yaml
from support.closed import VALUES, closed_values
from support.rendering import containers, pods, template

from tools.deploy import NEED_NO_PRODUCT

API = "10.96.0.1/32"


@pytest.mark.parametrize("chart", VALUES)
def test_everything_closed_leaves_no_plain_connection_and_no_open_scope(chart: str, tmp_path: Path) -> None:
    values = closed_values(tmp_path, [API]) / f"{chart}.yaml"
    done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", "--values", str(values))
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    variables = [
        (entry["name"], str(entry["value"]))
        for _, spec in pods(documents)
        for container in containers(spec)
        for entry in container.get("env", [])
        if "value" in entry
    ]
    named = dict(variables)
    texts = [value for _, value in variables]
    assert not [text for text in texts if "http://beacon-mlflow" in text]
    assert not [text for text in texts if text.startswith("postgresql") and "sslmode=verify-full" not in text]
    closed = {"inference": "predict,explain", "feature-serving": "features"}
    if chart in closed:
        assert named["BEACON_CLOSED_SCOPES"] == closed[chart]
    if chart not in NEED_NO_PRODUCT:
        product = next(one for one in documents if one["kind"] == "ConfigMap" and "policy.yaml" in one.get("data", {}))
        assert yaml.safe_load(product["data"]["policy.yaml"])["evidence"] == {"clients": "keyed"}
    asked = [
        peer
        for one in documents
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"].get("egress", [])
        if {port.get("port") for port in rule.get("ports", [])} & {53}
        for peer in rule.get("to", [{"any": "address"}])
    ]
    assert asked
    assert all("podSelector" in peer for peer in asked), asked


def test_helm_test_has_a_key_to_ask_with() -> None:
    """Without it the golden requests are 401 where `keys.requiredFor` names predict."""
    done = template("inference", "--values", "charts/inference/ci/default-values.yaml")
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    (golden,) = [one for one in documents if one["kind"] == "Pod" and one["metadata"]["name"].endswith("golden")]
    variables = {entry["name"]: entry for entry in golden["spec"]["containers"][0]["env"]}
    assert variables["BEACON_API_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "api-key"
