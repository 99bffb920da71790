"""The node and the control plane below it: away, and back."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from support.on_cluster import answers, cluster, sql, until
from support.steady_load import under_load
from system.chaos.conftest import Row
from system.chaos.world import RATE, by_entity, drained, ingress, needs_node, node, settled

from tools.deploy import DeployError

AWAY_SECONDS = 60
# The API server has to start, and the kubelet's next try to tell it how its pods are may be a minute away.
BACK_SECONDS = 120
PERIODS = 3


@needs_node
def test_the_api_server_down(row: Row) -> None:
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        node("stop", "kube-apiserver")
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            node("start", "kube-apiserver")
        time.sleep(5)
    assert not load.failed, load.told()
    until(lambda: answered(lambda: settled("inference", 2)), "the API server", BACK_SECONDS)
    drained(load)
    row(
        f"the API server down for {AWAY_SECONDS} s",
        "serving goes on: 0 failed, 0 acknowledged lost",
        f"0 failed of {len(load.answers):,}, {len(load.acknowledged):,} acknowledged, 0 lost",
    )


@needs_node
def test_dns_down(row: Row) -> None:
    with under_load(ingress(), RATE) as load:
        time.sleep(3)
        node("stop", "coredns")
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            node("start", "coredns")
        time.sleep(5)
    assert not load.failed, load.told()
    drained(load)
    row(
        f"DNS down for {AWAY_SECONDS} s",
        "requests with features go on: 0 failed, 0 acknowledged lost",
        f"0 failed of {len(load.answers):,}, {len(load.acknowledged):,} acknowledged, 0 lost",
    )


@needs_node
def test_the_node_restarted(row: Row) -> None:
    with under_load(ingress(), RATE) as load:
        time.sleep(5)
        start = time.monotonic()
        node("reboot")
        until(answers, "a prediction", 180)
        back = time.monotonic() - start
    parts = {"inference": 2, "feature-serving": 2, "postgresql": 1, "redis": 1, "mlflow": 1}
    for name, count in parts.items():
        until(lambda name=name, count=count: settled(name, count), f"{name} back", 240)
    whole = time.monotonic() - start
    drained(load)
    assert back <= 120
    row(
        "the node restarted: every container, containerd and kubelet killed under load",
        "predictions within 120 s, all of it by itself, 0 acknowledged lost",
        f"predictions after {back:.0f} s, everything after {whole:.0f} s; "
        f"{len(load.acknowledged):,} acknowledged, 0 lost",
    )


def test_two_runs_of_one_job_at_once(row: Row) -> None:
    command = ["python", "jobs/drift.py", "--at", datetime.now(UTC).isoformat()]
    before = int(sql("select count(*) from drift_runs"))
    with ThreadPoolExecutor(2) as pool:
        names = ("drift-one", "drift-two")
        ended = list(pool.map(lambda name: cluster().job(name, "beacon-drift-profiling", command), names))
    codes = sorted(status for status, _ in ended)
    assert codes in ([0, 0], [0, 75]), codes
    assert int(sql("select count(*) from drift_runs")) == before + 1
    row(
        "two runs of the drift job for one hour at once",
        "one counts, the other leaves it alone",
        f"exit {codes[0]} and {codes[1]}; one run of the hour in the store",
    )


@needs_node
def test_the_controller_of_jobs_down_over_three_starts(row: Row) -> None:
    name = "beacon-drift-profiling"
    schedule = cluster().kubectl("get", "cronjob", name, "-o", "jsonpath={.spec.schedule}")
    before = jobs_of(name)
    node("stop", "kube-controller-manager")
    try:
        cluster().kubectl("patch", "cronjob", name, "-p", '{"spec": {"schedule": "* * * * *"}}')
        time.sleep(60 * PERIODS + 5)
    finally:
        node("start", "kube-controller-manager")
    try:
        until(lambda: len(jobs_of(name) - before) > 0, "a job", 50)
        time.sleep(3)
        new = jobs_of(name) - before
    finally:
        cluster().kubectl("patch", "cronjob", name, "-p", f'{{"spec": {{"schedule": "{schedule}"}}}}')
    assert len(new) == 1
    start = time.monotonic()
    cluster().kubectl("wait", "--for=condition=complete", new.pop(), "--timeout=240s")
    seconds = time.monotonic() - start
    row(
        f"the controller of jobs down over {PERIODS} starts of the drift job",
        "one run makes up for them",
        f"one job, well after {seconds:.0f} s",
    )


def answered(true: Callable[[], bool]) -> bool:
    """A question to a cluster that may not answer yet."""
    try:
        return true()
    except DeployError:
        return False


def jobs_of(cron_job: str) -> set[str]:
    """The jobs that a CronJob's schedule started, which have the minute in their names."""
    names = cluster().kubectl("get", "jobs", "-o", "name").split()
    return {name for name in names if re.fullmatch(rf"job.batch/{cron_job}-\d{{8}}", name)}
