"""A source of each kind can be reached by a run of retraining: its ports, and its credentials from Secrets alone."""

from typing import Any

import pytest
from support.rendering import pods, rendered

from beacon_core.platform.settings import ROOT

HTTPS = 443
"""For https, AWS's s3 and Kaggle."""


def egress(values: str) -> list[tuple[Any, list[int]]]:
    """The peers (None: all) and ports of the run's rules."""
    policies = [item for item in rendered("retraining", values) if item["kind"] == "NetworkPolicy"]
    (policy,) = [item for item in policies if item["metadata"]["name"] == "beacon-retraining"]
    return [(rule.get("to"), [port["port"] for port in rule["ports"]]) for rule in policy["spec"]["egress"]]


@pytest.mark.parametrize("values", ["default-values.yaml", "sources-values.yaml"])
def test_https_s3_and_kaggle_are_reached_without_a_rule(values: str) -> None:
    everywhere = [ports for peers, ports in egress(values) if "0.0.0.0/0" in _networks(peers or [])]
    assert any(HTTPS in ports for ports in everywhere)


def _networks(peers: list[dict[str, Any]]) -> set[str]:
    return {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}


def test_a_database_and_an_endpoint_of_ones_own_are_reached_by_values() -> None:
    added = [rule for rule in egress("sources-values.yaml") if rule not in egress("default-values.yaml")]
    assert added == [
        ([{"ipBlock": {"cidr": "10.2.0.0/16"}}], [5432]),
        ([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "minio"}}}], [9000]),
    ]


@pytest.mark.parametrize(
    ("values", "secret"), [("default-values.yaml", "beacon-source"), ("sources-values.yaml", "sales-sources")]
)
def test_every_run_has_the_variables_of_the_secrets(values: str, secret: str) -> None:
    runs = [
        spec["containers"][0] for _, spec in pods(rendered("retraining", values)) if "envFrom" in spec["containers"][0]
    ]
    assert [run["command"][3] for run in runs] == ["schedule", "requests"]
    for run in runs:
        assert run["envFrom"] == [{"secretRef": {"name": name, "optional": True}} for name in ("kaggle", secret)]


def test_the_page_names_the_secrets_and_the_values() -> None:
    page = (ROOT / "docs" / "how-to" / "data-sources.md").read_text(encoding="utf-8")
    for name in ("beacon-source", "sourceSecret", "kaggleSecret", "networkPolicy.egress", "AWS_ENDPOINT_URL"):
        assert name in page
