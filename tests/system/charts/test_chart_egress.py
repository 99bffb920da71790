"""Where pods may open connections to: each is held by a policy, hooks included, and none reaches a cloud's metadata."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from support.rendering import CASES, pods, rendered, template

from tools.product_values import UMBRELLA

METADATA = ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200")
"""Where AWS, Azure, GCP and Alibaba give an instance its credentials, on port 80."""
ASK_THE_API = {"beacon-promotion", "beacon-secrets"}
HELD = [case for case in CASES if case != ("inference", "bare-values.yaml")]
"""The sets of values that do not switch the policies off."""
COREDNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def policies(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == "NetworkPolicy"]


def reaches(peer: dict[str, Any], address: str) -> bool:
    """Whether a peer of a rule is (also) an address outside of the cluster."""
    block = peer.get("ipBlock")
    if block is None:
        return False
    networks = [ip_network(each) for each in (block["cidr"], *block.get("except", []))]
    first, *others = [ip_address(address) in network for network in networks]
    return first and not any(others)


def ports_to(policy: dict[str, Any], address: str) -> set[int]:
    """The ports of an address that the policy lets its pods open connections to."""
    return {
        port["port"]
        for rule in policy["spec"]["egress"]
        if "to" not in rule or any(reaches(peer, address) for peer in rule["to"])
        for port in rule["ports"]
    }


def given(chart: str, *arguments: str) -> list[dict[str, Any]]:
    done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize(("chart", "values"), HELD)
def test_every_pod_is_held_in_what_it_opens(chart: str, values: str) -> None:
    documents = rendered(chart, values)
    held = [policy["spec"] for policy in policies(documents) if "Egress" in policy["spec"]["policyTypes"]]
    for labels, _ in pods(documents):
        matching = [spec for spec in held if spec["podSelector"]["matchLabels"].items() <= labels.items()]
        assert len(matching) == 1, labels["app.kubernetes.io/name"]
        assert all(rule["ports"] for rule in matching[0]["egress"])


@pytest.mark.parametrize(("chart", "values"), HELD)
def test_a_hook_has_its_policy_before_it_starts_and_for_as_long_as_it_lives(chart: str, values: str) -> None:
    def hooks(document: dict[str, Any]) -> tuple[str, str]:
        notes = document["metadata"].get("annotations", {})
        return notes.get("helm.sh/hook", ""), notes.get("helm.sh/hook-delete-policy", "")

    documents = rendered(chart, values)
    of_pods = {
        document["metadata"]["name"]: hooks(document)
        for document in documents
        if document["kind"] in {"Job", "Pod"} and hooks(document)[0]
    }
    of_policies = {
        policy["metadata"]["name"]: hooks(policy)
        for policy in policies(documents)
        if hooks(policy)[0] and int(policy["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    }
    assert of_policies == of_pods


@pytest.mark.parametrize(("chart", "values"), HELD)
def test_nothing_reaches_a_clouds_metadata(chart: str, values: str) -> None:
    # Without the rules that the values add: those are the operator's own.
    # The umbrella chart has them below its charts' names, and its ci values say none.
    more = () if chart == UMBRELLA else ("--set-json", "networkPolicy.egress=[]")
    done = template(chart, "--values", f"charts/{chart}/ci/{values}", *more)
    assert done.returncode == 0, done.stderr
    for policy in policies([document for document in yaml.safe_load_all(done.stdout) if document]):
        for address in METADATA:
            # Who asks the Kubernetes API does so at any address, on the API's ports alone: the metadata is on 80.
            allowed = {443, 6443} if policy["metadata"]["name"] in ASK_THE_API else set()
            assert ports_to(policy, address) <= allowed, (policy["metadata"]["name"], address)


def test_names_are_asked_of_whom_the_values_say() -> None:
    assert all(ports_to(policy, "8.8.8.8") == {53} for policy in policies(given("console")))
    narrow = policies(given("console", "--set-json", f"networkPolicy.dns={json.dumps([COREDNS])}"))
    for policy in narrow:
        assert policy["spec"]["egress"][0]["to"] == [COREDNS]
        assert ports_to(policy, "8.8.8.8") == set()


@pytest.mark.parametrize(
    ("chart", "value", "ports"),
    [
        ("promotion", "apiServer", {443, 6443}),
        ("retraining", "https", {443}),
        ("monitoring", "https", {443}),
    ],
)
def test_what_is_asked_outside_is_narrowed_by_addresses(chart: str, value: str, ports: set[int]) -> None:
    def outside(address: str, *arguments: str) -> set[int]:
        found: set[int] = set()
        for policy in policies(given(chart, *arguments)):
            found |= ports_to(policy, address) - {53}
        return found

    narrow = ("--set", f"networkPolicy.{value}={{10.1.2.0/24}}")
    assert outside("93.184.215.14") == ports
    assert outside("10.1.2.3", *narrow) == ports
    assert outside("93.184.215.14", *narrow) == set()
    for wrong in ("example.com", "10.1.2.3"):
        done = template(
            chart, f"--values=charts/{chart}/ci/default-values.yaml", "--set", f"networkPolicy.{value}={{{wrong}}}"
        )
        assert done.returncode != 0
        assert value in done.stderr
