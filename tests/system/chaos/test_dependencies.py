"""What inference stands on goes away, hangs or lies: predictions go on, nothing acknowledged is lost."""

import time

from support.on_cluster import cluster, redis, sql, until
from support.steady_load import Load, under_load
from system.chaos.conftest import Row
from system.chaos.world import (
    RATE,
    answers_by_entity,
    by_entity,
    container,
    drained,
    ingress,
    lost,
    needs_node,
    node,
    pods,
    ready,
    restarts,
    scale,
    seconds_until,
    settled,
    versions,
)

from tools.deploy import DeployError

LOOKUP_SECONDS = 0.3
BACK_SECONDS = 5.0
# Another model each time: one that the registry has is not registered again.
RETRAIN = ["python", "jobs/retrain.py", "--here", "--repeats", "1", "--seed", str(int(time.time()))]
# Changes one byte in the middle of every model.onnx below a folder, or changes it back.
FLIP = """
import pathlib, sys
for file in pathlib.Path(sys.argv[1]).rglob("model.onnx"):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    print(file)
"""


def split(load: Load) -> tuple[Load, Load]:
    """The answers to requests with features, and to those whose features are looked up."""
    with_features, looked_up = Load([], 1), Load([], 1)
    for answer in load.answers:
        (looked_up if answer.door.startswith("entity") else with_features).answers.append(answer)
    return with_features, looked_up


def checked_without_redis(load: Load, before: int, start: float, end: float) -> str:
    """What must hold however Redis is away; says it in figures."""
    with_features, looked_up = split(load)
    assert not with_features.failed, with_features.told()
    assert {answer.status for answer in looked_up.failed} <= {503}, looked_up.told()
    during = Load([], 1)
    during.answers = [answer for answer in looked_up.answers if start < answer.sent < end]
    assert during.failed
    slow = during.seconds(0.99)
    assert slow <= LOOKUP_SECONDS
    assert restarts("inference") + restarts("feature-serving") == before
    return (
        f"0 failed of {len(with_features.answers):,} with features; {len(during.failed):,} lookups answered 503, "
        f"p99 {slow * 1000:.0f} ms; no pod restarted"
    )


def test_redis_down(row: Row) -> None:
    before = restarts("inference") + restarts("feature-serving")
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        scale("statefulset/beacon-redis", 0)
        start = time.monotonic()
        time.sleep(60)
        end = time.monotonic()
        scale("statefulset/beacon-redis", 1)
        back = seconds_until(answers_by_entity, "lookups", 60)
        time.sleep(3)
    seen = checked_without_redis(load, before, start, end)
    assert back <= BACK_SECONDS
    row(
        "Redis down for 60 s",
        "requests with features go on; lookups 503 within 300 ms (p99); back within 5 s; no restart",
        f"{seen}; back {back:.1f} s after Redis",
    )


@needs_node
def test_redis_hung(row: Row) -> None:
    before = restarts("inference") + restarts("feature-serving")
    redis = container(pods("redis")[0])
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        node("signal", "STOP", redis)
        start = time.monotonic()
        time.sleep(30)
        end = time.monotonic()
        node("signal", "CONT", redis)
        back = seconds_until(answers_by_entity, "lookups", 60)
        time.sleep(3)
    seen = checked_without_redis(load, before, start + 1, end)
    assert back <= BACK_SECONDS
    row(
        "Redis hung (SIGSTOP) for 30 s",
        "requests with features go on; lookups 503 within 300 ms (p99); back within 5 s; no restart",
        f"{seen}; back {back:.1f} s after Redis",
    )


def test_redis_emptied(row: Row) -> None:
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        redis("flushall")
        start = time.monotonic()
        status, output = cluster().job(
            "materialize-by-hand", "beacon-materialize", ["python", "jobs/materialize.py", "--all"]
        )
        assert status == 0, output
        back = time.monotonic() - start
        until(answers_by_entity, "lookups", 10)
        time.sleep(3)
    with_features, looked_up = split(load)
    assert not with_features.failed, with_features.told()
    assert {answer.status for answer in looked_up.failed} == {404}, looked_up.told()
    row(
        "Redis emptied",
        "requests with features go on; lookups name the unknown entity (404) until the materialize job has run",
        f"0 failed of {len(with_features.answers):,} with features; {len(looked_up.failed):,} lookups answered 404; "
        f"filled again by the job after {back:.0f} s",
    )


def test_postgresql_restarted(row: Row) -> None:
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        cluster().kubectl("delete", "pod", "beacon-postgresql-0", "--wait=true")
        until(lambda: settled("postgresql", 1), "PostgreSQL", 120)
        time.sleep(3)
    _kept("PostgreSQL restarted", load, row)


@needs_node
def test_postgresql_killed(row: Row) -> None:
    assert (sql("show fsync"), sql("show synchronous_commit")) == ("on", "on")
    before = restarts("postgresql")
    with under_load(ingress() + by_entity(), RATE) as load:
        for kill in (1, 2, 3):
            time.sleep(3)
            node("signal", "KILL", container(pods("postgresql")[0]))
            until(lambda kill=kill: restarts("postgresql") == before + kill, "a restart", 120)
            until(lambda: settled("postgresql", 1), "PostgreSQL", 120)
        time.sleep(3)
    _kept("PostgreSQL killed (-9) three times", load, row)


@needs_node
def test_the_disk_of_postgresql_full(row: Row) -> None:
    """The disk is one of `MEGABYTES`, so that it can be filled."""
    filler = "/var/lib/postgresql/data/filler"
    full = ["exec", "beacon-postgresql-0", "--"]
    with under_load(ingress() + by_entity(), RATE) as load:
        time.sleep(3)
        cluster().kubectl(*full, "sh", "-c", f"dd if=/dev/zero of={filler} bs=1M 2>/dev/null; true")
        time.sleep(45)
        waiting = lost_now(load)
        assert waiting > 0, "the disk was never full"
        until(lambda: freed(filler), "room on the disk", 120)
        back = seconds_until(lambda: settled("postgresql", 1), "PostgreSQL", 180)
        time.sleep(3)
    more = f"{waiting:,} records waited, PostgreSQL well {back:.0f} s after there was room; "
    _kept("the disk of PostgreSQL full for 45 s", load, row, more)


def lost_now(load: Load) -> int:
    """Acknowledged records that PostgreSQL lacks now; all of them while it does not answer."""
    ids = load.acknowledged
    try:
        return lost(ids)
    except DeployError:
        return len(ids)


def freed(filler: str) -> bool:
    """Remove the filler; the container may be between two starts."""
    try:
        cluster().kubectl("exec", "beacon-postgresql-0", "--", "rm", "-f", filler)
    except DeployError:
        return False
    return True


def _kept(fault: str, load: Load, row: Row, more: str = "") -> None:
    assert not load.failed, load.told()
    assert {answer.logged for answer in load.answers} == {True}
    seconds = drained(load)
    row(
        fault,
        "0 failed; 0 of the acknowledged lost, in the log within 60 s",
        f"{more}0 failed of {len(load.answers):,}; {len(load.acknowledged):,} acknowledged, 0 lost, "
        f"all in the log {seconds:.0f} s after the load",
    )


@needs_node
def test_mlflow_down_while_pods_restart(row: Row) -> None:
    before = restarts("inference")
    scale("statefulset/beacon-mlflow", 0)
    with under_load(ingress() + by_entity(), RATE) as load:
        for kill, pod in enumerate(pods("inference"), 1):
            time.sleep(2)
            node("signal", "KILL", container(pod))
            until(lambda kill=kill: restarts("inference") == before + kill, "a restart", 120)
            until(lambda: settled("inference", 2), "two pods", 120)
        gone = pods("inference")[0]["metadata"]["name"]
        cluster().kubectl("delete", "pod", gone, "--wait=false")
        names = lambda: {pod["metadata"]["name"] for pod in pods("inference") if ready(pod)}  # noqa: E731
        back = seconds_until(lambda: len(names() - {gone}) == 2, "two other pods", 180)
    scale("statefulset/beacon-mlflow", 1)
    assert len(load.failed) <= 4, load.told()
    drained(load)
    row(
        "MLflow down; both containers of inference killed, then a pod deleted",
        "containers restart without it, a new pod takes the package from the volume; what was under way may fail",
        f"{len(load.failed)} failed of {len(load.answers):,}; the new pod ready after {back:.0f} s; "
        f"{len(load.acknowledged):,} acknowledged, 0 lost",
    )


def test_mlflow_down_during_a_retraining(row: Row) -> None:
    before = versions()
    scale("statefulset/beacon-mlflow", 0)
    status, output = cluster().job("retrain-in-vain", "beacon-retraining", RETRAIN)
    assert status == 75, f"{status}: {output}"
    assert versions() == before
    scale("statefulset/beacon-mlflow", 1)
    status, output = cluster().job("retrain-again", "beacon-retraining", RETRAIN)
    assert status == 0, output
    assert versions() == before + 1
    row(
        "MLflow down during a retraining",
        "the job asks to be run again (75) and registers nothing; the next one registers one version",
        f"exit 75, {before} versions before and after; the next run: {before + 1}",
    )


def test_a_package_damaged_in_the_artifact_store(row: Row) -> None:
    flip()
    with under_load(ingress() + by_entity(), RATE) as load:
        cluster().kubectl("rollout", "restart", "deployment/beacon-inference")
        until(lambda: len(refusals()) > 0, "a refusal", 120)
        time.sleep(20)
        assert [ready(pod) for pod in pods("inference")].count(True) == 2
        told = refusals()[0]
        flip()
        back = seconds_until(lambda: settled("inference", 2) and not refusals(), "the rollout", 240)
    assert not load.failed, load.told()
    row(
        "one byte of the package changed in MLflow's store and on the shared volume, then a rollout",
        "no new pod starts, the old ones serve on; well again by itself once the byte is right",
        f'0 failed of {len(load.answers):,}; "{told}"; rolled out {back:.0f} s after',
    )


def flip() -> None:
    """Damage the packages, or mend them: in MLflow's store, and on the shared volume, which is looked at first."""
    assert cluster().kubectl("exec", "beacon-mlflow-0", "--", "python", "-c", FLIP, "/mlartifacts")
    status, told = cluster().job("flip", "beacon-retraining", ["python", "-c", FLIP, "/var/lib/beacon/models"])
    assert (status, "model.onnx" in told) == (0, True), told


def refusals() -> list[str]:
    """What pods that could not get their model say."""
    found = []
    for pod in pods("inference"):
        name = pod["metadata"]["name"]
        if not ready(pod):
            text = cluster().kubectl("logs", name, "-c", "fetch-model", check=False)
            found += [line for line in text.splitlines() if "holds other bytes" in line]
    return found
