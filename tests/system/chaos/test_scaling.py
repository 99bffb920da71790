"""More load than one pod is meant for."""

from support.on_cluster import cluster, until
from support.steady_load import under_load
from system.chaos.conftest import Row
from system.chaos.world import direct, ingress, pods, ready, seconds_until, settled

PODS = 3
LIMIT_SECONDS = 90
HEAVY, LIGHT = 200, 4
"""Requests a second. An answer takes 0.6 ms of a core and more: HEAVY needs three pods of 40m, LIGHT one."""
ON = ["autoscaling.enabled=true", "autoscaling.min=1", f"autoscaling.max={PODS}", "autoscaling.downSeconds=15"]
REQUEST = "resources.requests.cpu=40m"


def test_pods_come_for_load_and_go_after_it(row: Row) -> None:
    try:
        cluster().upgrade("inference", "--reuse-values", "--set", ",".join([*ON, REQUEST]), "--wait")
        until(lambda: settled("inference", 1), "one pod", 240)
        with under_load(ingress() + direct("inference"), HEAVY) as heavy:
            up = seconds_until(lambda: sum(map(ready, pods("inference"))) >= PODS, "three pods", 240)
        with under_load(ingress() + direct("inference"), LIGHT) as light:
            down = seconds_until(lambda: settled("inference", 1), "one pod again", 400)
    finally:
        cluster().upgrade("inference", "--reset-then-reuse-values", "--set", "autoscaling.enabled=false", "--wait")
        cluster().kubectl("scale", "deployment/beacon-inference", "--replicas=2")
    assert not heavy.failed + light.failed, heavy.told() + light.told()
    assert up <= LIMIT_SECONDS
    row(
        "load that needs three pods, then little, by the autoscaler",
        f"three within {LIMIT_SECONDS} s, one again after it, 0 failed",
        f"three ready after {up:.0f} s, one {down:.0f} s after the load fell; "
        f"0 failed of {len(heavy.answers) + len(light.answers):,}",
    )
