"""New pods for old, again and again, while clients ask: none may notice. Without preStop some must."""

import pytest
from support.on_cluster import cluster, until
from support.steady_load import Door, under_load
from system.chaos.conftest import Row
from system.chaos.world import RATE, by_entity, direct, drained, ingress, roll

ROLLOUTS = 5
ENOUGH = 15_000
NAMES = ("inference", "feature-serving")


def doors(name: str) -> list[Door]:
    """What a rollout of `name` could fail: clients through the ingress, and clients of its own port."""
    return (ingress() if name == "inference" else by_entity()) + direct(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_request_fails_while_pods_roll(name: str, row: Row) -> None:
    with under_load(doors(name), RATE) as load:
        for _ in range(ROLLOUTS):
            roll(name)
        until(lambda: len(load.answers) >= ENOUGH, f"{ENOUGH} requests", 600)
    assert not load.failed, load.told()
    seconds = drained(load) if name == "inference" else 0
    kept = f"; {len(load.acknowledged):,} acknowledged, 0 lost" if name == "inference" else ""
    assert seconds < 60
    row(
        f"{name} rolled {ROLLOUTS} times under load, through the ingress and past it, new connections and kept ones",
        f"0 failed of at least {ENOUGH:,}",
        f"0 failed of {len(load.answers):,}{kept}; p99 {load.seconds(0.99) * 1000:.0f} ms",
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_pre_stop_the_same_rollouts_fail_some(name: str, row: Row) -> None:
    try:
        cluster().upgrade(name, "--reuse-values", "--set", "shutdown.preStopSeconds=0", "--wait")
        with under_load(doors(name), RATE) as load:
            rollouts = 0
            while rollouts < ROLLOUTS and not load.failed:
                roll(name)
                rollouts += 1
    finally:
        cluster().upgrade(name, "--reuse-values", "--set", "shutdown.preStopSeconds=5", "--wait")
    assert load.failed
    row(
        f"control: {name} rolled without preStop",
        "some fail",
        f"{len(load.failed)} failed of {len(load.answers):,} in {rollouts} rollouts",
    )
