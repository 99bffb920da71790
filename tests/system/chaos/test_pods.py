"""Pods and processes of inference that die under load: what was under way may fail, what was acknowledged is kept."""

import time

from support.on_cluster import cluster, until
from support.steady_load import Load, under_load
from system.chaos.conftest import Row
from system.chaos.world import (
    RATE,
    container,
    direct,
    drained,
    ingress,
    needs_node,
    node,
    pods,
    restarts,
    roll,
    settled,
)

KILLS = 4
BACK_SECONDS = 40
# Kills the worker of gunicorn, the only child of the first process; prints its pid.
KILL_WORKER = """
import os, pathlib
for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
    pid, _, rest = stat.read_text().partition(" (")
    if rest.rpartition(")")[2].split()[1] == "1" and int(pid) != os.getpid():
        if "beacon" in (stat.parent / "cmdline").read_text():
            os.kill(int(pid), 9)
            print(pid)
"""
# Many children that take a little each (and write to it, else the kernel gives none): the largest process of the
# container is the server's.
FILL_MEMORY = """
import os, time
for _ in range(120):
    if os.fork() == 0:
        kept = b"x" * (6 << 20)
        time.sleep(15)
        os._exit(0)
time.sleep(8)
"""


def most_under_way(load: Load, moment: float, within: float) -> int:
    """The most requests that were under way at once around a moment."""
    spans = [(answer.sent, answer.sent + answer.seconds) for answer in load.answers]
    near = [begin for begin, _ in spans if abs(begin - moment) < within] or [moment]
    return max(sum(begin <= at <= end for begin, end in spans) for at in near)


def test_a_pod_that_is_deleted_answers_what_it_took(row: Row) -> None:
    with under_load(ingress() + direct("inference"), RATE) as load:
        time.sleep(3)
        name = pods("inference")[0]["metadata"]["name"]
        start = time.monotonic()
        cluster().kubectl("delete", "pod", name, "--wait=true")
        gone = time.monotonic() - start
        until(lambda: settled("inference", 2), "two pods", 120)
    assert not load.failed, load.told()
    drained(load)
    assert gone <= 30
    row(
        "a pod of inference deleted under load",
        "0 failed, gone within 30 s, 0 acknowledged lost",
        f"0 failed of {len(load.answers):,}, gone after {gone:.0f} s, {len(load.acknowledged):,} acknowledged, 0 lost",
    )


@needs_node
def test_a_pod_killed_at_once_fails_no_more_than_it_had_under_way(row: Row) -> None:
    failed, worst, answered, kept, back = 0, 0, 0, 0, 0.0
    for kill in range(KILLS):
        pod = pods("inference")[kill % 2]
        with under_load(ingress(), RATE) as load:
            time.sleep(3)
            moment = time.monotonic()
            node("signal", "KILL", container(pod))
            done = time.monotonic()
            time.sleep(2)
            until(lambda: settled("inference", 2), "two pods", 120)
            back = max(back, time.monotonic() - moment)
            time.sleep(2)
        under_way = most_under_way(load, done, done - moment + 1)
        assert len(load.failed) <= under_way, f"{load.told()}; {under_way} under way"
        drained(load)
        failed, worst = failed + len(load.failed), max(worst, under_way)
        answered, kept = answered + len(load.answers), kept + len(load.acknowledged)
    row(
        f"a pod of inference killed (-9) under load, {KILLS} times, through the ingress",
        "no more fail than were under way, 0 acknowledged lost",
        f"{failed} failed of {answered:,} (up to {worst} under way), {kept:,} acknowledged, 0 lost; "
        f"ready again after {back:.0f} s at most",
    )


def test_a_worker_killed_is_started_anew_in_its_pod(row: Row) -> None:
    before = restarts("inference")
    name = pods("inference")[0]["metadata"]["name"]
    with under_load(ingress(), RATE) as load:
        time.sleep(3)
        start = time.monotonic()
        assert cluster().kubectl("exec", name, "--", "python", "-c", KILL_WORKER).strip()
        done = time.monotonic()
        time.sleep(10)
    under_way = most_under_way(load, done, done - start + 1)
    assert len(load.failed) <= under_way, f"{load.told()}; {under_way} under way"
    slowest = max(answer.seconds for answer in load.answers)
    drained(load)
    assert restarts("inference") == before
    row(
        "the worker in a pod of inference killed (-9) under load",
        "no more fail than were under way, the pod stays, 0 acknowledged lost",
        f"{len(load.failed)} failed of {len(load.answers):,} ({under_way} under way), "
        f"the slowest waited {slowest:.1f} s, {len(load.acknowledged):,} acknowledged, 0 lost",
    )


def test_a_pod_over_its_memory_limit_comes_back(row: Row) -> None:
    roll("inference")  # a container that has been killed before is started again later each time
    name = pods("inference")[0]["metadata"]["name"]
    before = restarts("inference")
    with under_load(ingress(), RATE) as load:
        time.sleep(3)
        start = time.monotonic()
        cluster().kubectl("exec", name, "--", "python", "-c", FILL_MEMORY, check=False)
        killed = memory_kills(name)
        if killed == 0:  # the container itself was killed, and a new one counts from zero
            until(lambda: restarts("inference") > before, "a restart", 60)
        until(lambda: settled("inference", 2), "two pods", 120)
        back = time.monotonic() - start
        time.sleep(5)
    drained(load)
    again = restarts("inference") - before
    assert back <= BACK_SECONDS
    assert {answer.status for answer in load.failed} <= {503}, load.told()
    row(
        "the memory limit of a pod of inference hit under load",
        f"well again by itself within {BACK_SECONDS} s, 0 acknowledged lost",
        f"{f'its container was started anew {again} times' if again else f'{killed} processes killed'}, "
        f"{len(load.failed)} failed of {len(load.answers):,}, all well after {back:.0f} s, "
        f"{len(load.acknowledged):,} acknowledged, 0 lost",
    )


def memory_kills(name: str) -> int:
    """How often the kernel killed for want of memory in a pod's container, by its cgroup's own count."""
    files = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
    told = cluster().kubectl("exec", name, "--", "sh", "-c", f"cat {files} 2>/dev/null; true", check=False)
    return sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("oom_kill "))
