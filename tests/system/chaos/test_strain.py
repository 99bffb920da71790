"""Nothing is gone, but all is slow: other work takes the CPU, every packet takes its time."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from support.on_cluster import cluster, pod_of, until
from support.steady_load import under_load
from system.chaos.conftest import Row
from system.chaos.test_dependencies import split
from system.chaos.world import RATE, answers_by_entity, by_entity, drained, ingress, restarts, roll

STRAINED_SECONDS = 60
MOST_SECONDS = 1.0
FAR_SECONDS = 0.5
# Eight processes that do nothing but count.
BURN = """
import os
for _ in range(7):
    if os.fork() == 0:
        break
while True:
    pass
"""
# Passes bytes on, each piece after half of 200 ms, and one in twenty after 200 ms more, as if it had been lost.
FAR = """
import asyncio, itertools, sys

async def passed(reader, writer, count=itertools.count(1)):
    while piece := await reader.read(65536):
        await asyncio.sleep(0.1 + 0.2 * (next(count) % 20 == 0))
        writer.write(piece)
        await writer.drain()
    writer.close()

async def taken(reader, writer):
    there = await asyncio.open_connection(sys.argv[2], int(sys.argv[1]))
    await asyncio.gather(passed(reader, there[1]), passed(there[0], writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(taken, "", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
PORTS = {"redis": 6379, "postgresql": 5432}
OURS = "app.kubernetes.io/name"


def test_other_work_takes_the_cpu(row: Row) -> None:
    before = restarts("inference") + restarts("feature-serving")
    with pod_of({"app": "burner"}, ["python", "-c", BURN], cpu="100m") as burner:
        until(lambda: phase(burner) == "Running", "the other work", 60)
        with under_load(ingress() + by_entity(), RATE) as load:
            time.sleep(STRAINED_SECONDS)
    with_features, looked_up = split(load)
    assert not with_features.failed, with_features.told()
    assert {answer.status for answer in looked_up.failed} <= {503}, looked_up.told()
    slow = with_features.seconds(0.99)
    assert slow <= MOST_SECONDS
    assert restarts("inference") + restarts("feature-serving") == before
    drained(load)
    row(
        f"8 processes of a pod with five times the CPU request burn both cores for {STRAINED_SECONDS} s",
        "requests with features go on, p99 within 1 s; lookups in time or 503; no restart; 0 acknowledged lost",
        f"0 failed of {len(with_features.answers):,} with features, p99 {slow * 1000:.0f} ms; "
        f"{len(looked_up.failed):,} of {len(looked_up.answers):,} lookups answered 503; no pod restarted; "
        f"{len(load.acknowledged):,} acknowledged, 0 lost",
    )


def test_redis_and_postgresql_far_away(row: Row) -> None:
    with ExitStack() as stack:
        for name in PORTS:
            stack.enter_context(far(name))
        # Their connections are made anew, by the names.
        roll("feature-serving")
        roll("inference")
        with under_load(ingress() + by_entity(), RATE) as load:
            time.sleep(STRAINED_SECONDS)
        assert restarts("inference") + restarts("feature-serving") == 0
        seconds = drained(load)
    roll("feature-serving")
    roll("inference")
    until(answers_by_entity, "lookups", 30)
    with_features, looked_up = split(load)
    assert not with_features.failed, with_features.told()
    assert {answer.status for answer in looked_up.failed} <= {503}, looked_up.told()
    slow = load.seconds(0.99)
    assert slow <= FAR_SECONDS
    row(
        "Redis and PostgreSQL 200 ms away, one packet in twenty 200 ms later (a relay in a pod)",
        "requests with features go on; lookups in time or 503; p99 of all within 500 ms; 0 acknowledged lost",
        f"0 failed of {len(with_features.answers):,} with features; {len(looked_up.failed):,} of "
        f"{len(looked_up.answers):,} lookups answered 503; p99 {slow * 1000:.0f} ms; {len(load.acknowledged):,} "
        f"acknowledged, 0 lost, all in the log {seconds:.0f} s after the load",
    )


@contextmanager
def far(name: str) -> Iterator[None]:
    """Put a relay between a stateful part and who asks it: the part's name leads to the relay."""
    labels = {OURS: f"{name}-far", "app.kubernetes.io/part-of": "beacon", f"reach.beacon/{name}": "true"}
    address = cluster().kubectl("get", "pod", f"beacon-{name}-0", "-o", "jsonpath={.status.podIP}")
    who = {"matchExpressions": [{"key": f"reach.beacon/{name}", "operator": "Exists"}]}
    rule = {"to": [{"podSelector": {"matchLabels": {OURS: f"{name}-far"}}}]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": f"{name}-far"}}
    own = {"to": [{"podSelector": {"matchLabels": {OURS: name}}}]}
    policy |= {"spec": {"podSelector": who, "policyTypes": ["Egress"], "egress": [rule, own]}}
    with pod_of(labels, ["python", "-c", FAR, str(PORTS[name]), address], port=PORTS[name]) as relay:
        cluster().kubectl("apply", "-f", "-", given=json.dumps(policy))
        cluster().kubectl("wait", f"pod/{relay}", "--for=condition=Ready", "--timeout=60s")
        lead(name, f"{name}-far")
        try:
            yield
        finally:
            lead(name, name)
            cluster().kubectl("delete", "networkpolicy", f"{name}-far")


def lead(service: str, to: str) -> None:
    """Let a Service's name lead to the pods of this name."""
    cluster().kubectl("patch", "service", f"beacon-{service}", "-p", json.dumps({"spec": {"selector": {OURS: to}}}))
    time.sleep(6)  # names are cached for 5 s


def phase(pod: str) -> str:
    return cluster().kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}")
