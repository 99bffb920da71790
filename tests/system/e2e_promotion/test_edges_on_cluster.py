"""Promotion behind a Gateway, and held by its admission policies, on a real cluster. `-k gateway`."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support import promotion_attempts as attempts
from support.account_attempts import asking_as, otherwise
from support.on_cluster import NAMESPACE, cluster, until
from system.e2e_promotion import world

HOST = "gateway.promotion.test"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:beacon-promotion"
GATEWAY = {"enabled": "true", "name": "contour", "namespace": "projectcontour", "hosts[0]": HOST}


@pytest.fixture(scope="module", autouse=True)
def guarded() -> Iterator[None]:
    """Inference behind the cluster's Gateway, and the policies that hold promotion to inference's objects in force."""
    world.install(*(part for key, value in GATEWAY.items() for part in ("--set", f"gateway.{key}={value}")))
    world.phases(20, 60)
    until(lambda: "no other ConfigMap" in denied(configmap("beacon-inference-other")), "the policies hold", 60)
    yield
    world.install()


def asked_as(verb: str, *arguments: str, given: str | None = None) -> str:
    """What the API says to promotion's account; nothing is changed."""
    command = ["kubectl", "-n", NAMESPACE, f"--as={ACCOUNT}", verb, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def denied(document: dict[str, Any]) -> str:
    """What the API says to an attempt to create it."""
    return asked_as("create", "--dry-run=server", "-f", "-", given=json.dumps(document))


def configmap(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_a_canary_behind_a_gateway_gets_its_share_by_weight(models: world.Models) -> None:
    pin, before, clock = models.good(1.006), len(world.ledger()), world.Clock()
    world.judge(pin)
    with world.steady(host=HOST) as load:
        run = world.promote("gateway")
    rows = world.ledger()[before:]
    (end,) = world.ends_since(before)
    assert end.outcome == "promoted", run.output
    over = next(row.moment for row in rows if (row.step, row.outcome) == ("canary", "pass"))
    answered = [(clock.moment(answer.sent), answer.version) for answer in load.answers]
    first = min(moment for moment, version in answered if version == pin.version)
    versions = [version for moment, version in answered if first <= moment <= over]
    share = sum(version == pin.version for version in versions) / len(versions)
    world.put(
        "a canary behind a Gateway, under the admission policy",
        "0.2 of the requests by weight, and 0 failed requests",
        f"{share:.2f} of {len(versions)} requests during the canary; promoted in {run.seconds:.0f} s, "
        f"{len(load.failed)} of {len(load.answers)} requests failed",
    )
    assert world.serving() == pin
    assert world.inconsistencies() == []
    assert load.failed == [], load.told()
    assert 0.1 < share < 0.3
    route = json.loads(cluster().kubectl("get", "httproute", "beacon-inference", "-o", "json"))
    assert [backend["name"] for backend in route["spec"]["rules"][0]["backendRefs"]] == ["beacon-inference"]


def test_behind_a_gateway_promotion_can_make_nothing_but_what_inference_consists_of() -> None:
    found = attempts.read_world(cluster())
    admitted, refused = attempts.needed(found), attempts.not_needed(found)
    assert any("HTTPRoute" in attempt.what for attempt in admitted)
    with asking_as(cluster(), "beacon-promotion") as access:
        wrong = otherwise(access, [*admitted, *refused])
    # What the Role alone denies.
    rights = {
        ("get", "secrets"): "no",
        ("get", "pods/beacon-inference-x", "--subresource=log"): "no",
        ("get", "pods/beacon-inference-dark-1", "--subresource=log"): "yes",
        ("patch", "deployments/beacon-console"): "no",
        ("create", "jobs"): "no",
        ("create", "rolebindings"): "no",
    }
    held = {right: asked_as("auth", "can-i", *right).splitlines()[-1] for right in rights}
    world.put(
        "promotion's account tries what it needs not",
        "the admission policies and the Role deny it; a dark pod and a promotion pass",
        f"{len(admitted) + len(refused) - len(wrong)} of {len(admitted) + len(refused)} attempts denied or admitted as "
        f"decided; {sum(held[right] == rights[right] for right in rights)} of {len(rights)} rights as decided",
    )
    assert wrong == {}
    assert held == rights
