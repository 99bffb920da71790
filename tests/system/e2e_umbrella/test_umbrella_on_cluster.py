"""One release on a real cluster: `helm install beacon charts/beacon`, to a first prediction and through changes.

`make e2e-umbrella`. No `make deploy` and no script has a part in it: Helm installs, the hook makes the Secrets, the
first training and the first release are Jobs, and promotion changes the Deployment, which Helm leaves as it is.
"""

import json
import os
import time

from support.on_cluster import NAMESPACE, cluster, until
from support.umbrella import CHART, applied, helm, make_namespace
from system.e2e_promotion import world

from tools.deploy import run

FIRST_PREDICTION_SECONDS = 120
KEPT = bool(os.environ.get("DEPLOYED"))
"""DEPLOYED=1 keeps what is there."""


def annotation() -> str:
    path = "jsonpath={.spec.template.metadata.annotations['beacon/release']}"
    return cluster().kubectl("get", "deployment", "beacon-inference", "-o", path)


def test_one_command_ends_with_a_prediction() -> None:
    if not KEPT:
        make_namespace()
    began = time.monotonic()
    if not KEPT:
        helm("install", *applied(world.HOST))
        assert annotation() == ""
    until(world.answers, "a prediction through the ingress", 900)
    seconds = time.monotonic() - began
    print(f"\n  helm install beacon {CHART}, to a prediction through the ingress: {seconds:.0f} s", flush=True)
    assert world.serving().version == "1"
    assert json.loads(annotation())["model"]["version"] == "1"
    # Nobody but promotion changed the model, and it wrote it down.
    until(lambda: [row.step for row in world.ledger()] == ["adopt"], "the first release in the ledger", 60)
    leftovers = cluster().kubectl("get", "serviceaccount,role,rolebinding", "-o", "name")
    assert "beacon-secrets" not in leftovers
    assert KEPT or seconds <= FIRST_PREDICTION_SECONDS


def test_an_upgrade_changes_the_release_and_not_the_model() -> None:
    before = annotation()
    with world.steady() as load:
        helm("upgrade", *applied(world.HOST, "--set=inference.env.BEACON_LOG_LEVEL=WARNING"))
        cluster().rolled_out("deployment/beacon-inference")
    assert load.failed == [], load.told()
    assert annotation() == before
    assert "BEACON_LOG_LEVEL" in cluster().kubectl("get", "deployment", "beacon-inference", "-o", "json")


def test_a_promotion_a_rollback_and_upgrades_amid_them_lose_nothing() -> None:
    world.phases(6, 36)
    clock = world.Clock()
    with world.models() as models, world.steady() as load:
        first, pin = world.serving(), models.good(1.001)
        world.judge(pin)
        done = world.promote("promote")
        assert done.status == 0, done.output
        assert world.serving() == pin
        # What Helm, Argo CD or Flux apply again leaves the model that promotion released.
        helm("upgrade", *applied(world.HOST))
        cluster().rolled_out("deployment/beacon-inference")
        assert world.serving() == pin
        world.phases(6, 36)
        helm("rollback", "--wait")
        assert world.serving() == pin
        world.reject(pin)
        done = world.promote("back")
        assert done.status == 0, done.output
        assert world.serving() == first
        rows = world.ledger()
    assert load.failed == [], load.told()
    assert world.contradictions(load.answers, rows, clock) == []
    steps = {row.step for row in rows}
    assert {"dark", "shadow", "canary", "release", "verify"} <= steps
    assert (
        "deployment.apps/beacon-inference-canary" not in cluster().kubectl("get", "deployments", "-o", "name").split()
    )


def test_a_bad_model_never_gets_to_users() -> None:
    world.phases(6, 36)
    with world.models() as models, world.steady() as load:
        first, pin = world.serving(), models.bad("crashes at load")
        world.judge(pin)
        world.promote("bad")
        assert world.serving() == first
    assert load.failed == [], load.told()
    assert {answer.version for answer in load.answers} == {first.version}


def test_it_goes_as_it_came() -> None:
    helm("uninstall", "--wait")
    chosen = "--selector=app.kubernetes.io/part-of=beacon"
    left = cluster().kubectl("get", "deployment,statefulset,cronjob,service", chosen, "-o", "name").split()
    assert left == []
    run(["kubectl", "delete", "namespace", NAMESPACE])
