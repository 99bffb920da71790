"""The drill of docs/how-to/backup.md: everything is backed up to an S3, the namespace is deleted, and it comes back.

`make e2e-restore`. The S3 is a server of this machine, at the address that pods reach (S3_HOST).
"""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from support.on_cluster import ADDRESS, BODY, NAMESPACE, cluster, secret, sql, until
from support.umbrella import applied, helm, make_namespace
from system.e2e_promotion import world

from tools.deploy import run

S3_HOST = os.environ.get("S3_HOST") or "10.250.0.1"
PREDICTIONS = int(os.environ.get("REQUESTS") or 5000)
"""So many are made before the backup, and are there after the restore."""
ACTUALS, CLIENTS = 100, 8
ONLY_PLATFORM = [
    f"--set=install.{name}=false"
    for name in ("retraining", "feature-serving", "drift-profiling", "console", "inference", "promotion", "monitoring")
]
KEPT = "secret --selector=app.kubernetes.io/part-of=beacon", "configmap beacon-model-keys"
TABLES = ("predictions", "actuals", "promotions", "verdicts", "approvals", "traffic", "retrain_requests")
GIVEN = {"Host": world.HOST}


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """The port of an S3 with the bucket `backups`."""
    server = ThreadedMotoServer(S3_HOST, 0)
    server.start()
    port = server.get_host_and_port()[1]
    httpx.put(f"http://{S3_HOST}:{port}/backups").raise_for_status()
    yield port
    server.stop()


def release(verb: str, port: int, *more: str) -> None:
    """Install or upgrade all of it; PostgreSQL's pods, which back up, reach the S3."""
    egress = json.dumps([{"ports": [{"port": port}]}])
    helm(verb, *applied(world.HOST, f"--set-json=platform.networkPolicy.egress={egress}", *more))


def begin(port: int) -> None:
    """The namespace, with what backups need for the S3."""
    make_namespace()
    access = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two", "AWS_DEFAULT_REGION": "us-east-1"}
    access["AWS_ENDPOINT_URL"] = f"http://{S3_HOST}:{port}"
    cluster().kubectl(
        "create", "secret", "generic", "beacon-backup", *(f"--from-literal={k}={v}" for k, v in access.items())
    )


def said(name: str) -> str:
    """What the containers of all pods of a job printed; a pod that failed early has some that never started."""
    of_job = f"--selector=batch.kubernetes.io/job-name={name}"
    return cluster().kubectl("logs", of_job, "--all-containers", "--ignore-errors", "--tail=-1")


def job(name: str, cron_job: str) -> str:
    """Run a CronJob's job to its end; its log."""
    cluster().kubectl("create", "job", name, f"--from=cronjob/{cron_job}")

    def ended() -> bool:
        status = json.loads(cluster().kubectl("get", "job", name, "-o", "json")).get("status", {})
        kinds = {each["type"] for each in status.get("conditions", []) if each["status"] == "True"}
        assert "Failed" not in kinds, said(name)
        return "Complete" in kinds

    until(ended, name, 600)
    return said(name)


def objects(what: str) -> list[dict[str, Any]]:
    """What the page saves: the objects, without what belongs to the old cluster."""
    found = json.loads(cluster().kubectl("get", *what.split(), "-o", "json"))
    items: list[dict[str, Any]] = found.get("items", [found])
    for item in items:
        item["metadata"] = {key: item["metadata"][key] for key in ("name", "labels") if key in item["metadata"]}
    return items


def rows() -> dict[str, str]:
    """A digest of all rows of each table, and their number."""
    query = "select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') from {} as t"
    return {table: sql(query.format(table)) for table in TABLES}


def predicted(count: int) -> list[str]:
    """The ids of so many predictions, which several clients asked for."""
    with httpx.Client(headers=GIVEN, timeout=30) as client, ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: client.post(f"{ADDRESS}/v1/predict", json=BODY), range(count)))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json()["prediction_id"] for answer in answers]


def logged(ids: list[str]) -> dict[str, Any]:
    """What inference says of predictions by their ids."""
    key = {"X-API-Key": secret("api-key")}
    answers = {each: httpx.get(f"{ADDRESS}/v1/predictions/{each}", headers=GIVEN | key, timeout=30) for each in ids}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {each: answer.json() for each, answer in answers.items()}


def test_a_namespace_that_was_deleted_comes_back_with_every_record(s3: int) -> None:
    begin(s3)
    release("install", s3)
    until(world.answers, "a prediction through the ingress", 900)
    until(lambda: [row.step for row in world.ledger()] == ["adopt"], "the first release in the ledger", 60)
    before = sql("select count(*) from predictions")
    ids = predicted(PREDICTIONS)
    key = {"X-API-Key": secret("api-key")}
    until(lambda: int(sql("select count(*) from predictions")) >= int(before) + PREDICTIONS, "all of them logged", 60)
    told = [{"prediction_id": each, "value": 20.5} for each in ids[:ACTUALS]]
    httpx.post(f"{ADDRESS}/v1/actuals", json={"actuals": told}, headers=GIVEN | key, timeout=30).raise_for_status()
    until(lambda: int(sql("select count(*) from actuals")) == ACTUALS, "all actuals", 60)

    served, answers = world.serving(), logged(ids[:20])
    began = time.monotonic()
    print(job("backup-by-hand", "beacon-backup"))
    backed_up = time.monotonic() - began
    wanted, kept = rows(), [item for what in KEPT for item in objects(what)]

    run(["kubectl", "delete", "namespace", NAMESPACE, "--timeout=300s"])
    begin(s3)
    began = time.monotonic()
    kept = [item for item in kept if item["metadata"]["name"] != "beacon-backup"]
    cluster().kubectl("create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": kept}))
    release("install", s3, *ONLY_PLATFORM)
    print(job("restore-by-hand", "beacon-restore"))
    assert rows() == wanted
    restored = time.monotonic() - began
    release("upgrade", s3)
    until(world.answers, "a prediction through the ingress", 900)
    seconds = time.monotonic() - began
    times = f"restored {restored:.0f} s after the namespace, answers after {seconds:.0f} s"
    print(f"\n  {PREDICTIONS} predictions; backup {backed_up:.0f} s; {times}")

    assert world.serving() == served
    assert logged(ids[:20]) == answers
    assert rows()["actuals"] == wanted["actuals"]
    lost = set(ids) - set(sql("select id from predictions").split())
    assert lost == set()
    assert cluster().kubectl("get", "jobs", "-o", "name").count("beacon-retraining-first") == 1
    assert sql("select count(*) from verdicts") == "1", "nothing was trained anew"


def test_volumes_stay_when_the_release_goes_and_are_deleted_by_hand(s3: int) -> None:
    helm("uninstall", "--wait")
    left = set(cluster().kubectl("get", "pvc", "-o", "name").split())
    names = {
        f"persistentvolumeclaim/{name}" for name in ("beacon-files", "data-beacon-postgresql-0", "data-beacon-mlflow-0")
    }
    assert names <= left
    cluster().kubectl("delete", "pvc", "--selector=app.kubernetes.io/part-of=beacon")
    assert cluster().kubectl("get", "pvc", "-o", "name").split() == []
    run(["kubectl", "delete", "namespace", NAMESPACE])
