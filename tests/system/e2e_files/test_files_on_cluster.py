"""The umbrella chart with its shared files in S3: no pod mounts a shared volume, and all jobs and both pods work.

`make e2e-files`. The S3 is a server of this machine, at the address that pods reach (S3_HOST).
"""

import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from botocore.session import get_session
from support.on_cluster import NAMESPACE, PRODUCT, cluster, secret, sql, until
from support.s3 import s3_server
from support.umbrella import applied, helm, make_namespace
from system.e2e_promotion import world

from beacon_core.feature_store import definitions
from beacon_core.feature_store.names import EVENT_TIME
from tools.deploy import run

S3_HOST = os.environ.get("S3_HOST") or "10.250.0.1"
PUSHES = 5
PUSH = """
import json, sys, urllib.request
token, first, count, body = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
for entity in range(first, first + count):
    body["df"][sys.argv[5]] = [entity]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request("http://localhost:6566/push", json.dumps(body).encode(), headers)
    print(urllib.request.urlopen(request, timeout=60).status, flush=True)
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 with the bucket `files`, which lies where pods reach it."""
    with s3_server(S3_HOST) as address:
        keys = {"aws_access_key_id": "one", "aws_secret_access_key": "two"}
        client = get_session().create_client("s3", region_name="us-east-1", endpoint_url=address, **keys)
        client.create_bucket(Bucket="files")
        yield client


@pytest.fixture(scope="module", autouse=True)
def installed(s3: Any) -> None:
    make_namespace()
    given = ("--from-literal=access-key-id=one", "--from-literal=secret-access-key=two")
    cluster().kubectl("create", "secret", "generic", "beacon-s3", *given)
    helm("install", *applied(world.HOST, f"--set-string=global.s3.endpoint={s3.meta.endpoint_url}"))
    began = time.monotonic()
    until(world.answers, "a prediction through the ingress", 900)
    print(f"\n  first prediction {time.monotonic() - began:.0f} s after helm install")


def keys(s3: Any) -> set[str]:
    return {each["Key"].removeprefix("beacon/") for each in s3.list_objects_v2(Bucket="files").get("Contents", ())}


def got(kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster().kubectl("get", kind, "-o", "json"))["items"]
    return items


def job(name: str, cron_job: str, *command: str) -> str:
    """What the job of a CronJob says, or another command in its place."""
    status, output = cluster().job(name, f"beacon-{cron_job}", list(command) or None)
    assert status == 0, output
    return output


def test_no_volume_is_shared(s3: Any) -> None:
    claims = {each["metadata"]["name"]: each["spec"]["accessModes"] for each in got("persistentvolumeclaim")}
    assert not [name for name in claims if not re.fullmatch(r"data-beacon-(postgresql|redis|mlflow)-0", name)]
    assert {mode for modes in claims.values() for mode in modes} == {"ReadWriteOnce"}
    mounted = [
        (pod["metadata"]["name"], volume["persistentVolumeClaim"]["claimName"])
        for pod in got("pod")
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert len({claim for _, claim in mounted}) == len(mounted), mounted
    assert {"data/features.parquet", "data/targets.parquet", "feast/registry.db", "dvc-remote/dvc.lock"} <= keys(s3)


def test_both_pods_of_feature_serving_push_at_once(s3: Any) -> None:
    def ready() -> list[str]:
        pods = [pod for pod in got("pod") if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "feature-serving"]
        return [
            pod["metadata"]["name"]
            for pod in pods
            if {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}.get("Ready") == "True"
        ]

    until(lambda: len(ready()) == 2, "two pods of feature serving", 300)
    df = {feature.name: [feature.example] for feature in PRODUCT.features} | {EVENT_TIME: ["2026-01-01T00:00:00Z"]}
    source = definitions.push_source_name(PRODUCT)
    body = json.dumps({"push_source_name": source, "df": df, "to": "online_and_offline"})
    said: list[str] = []

    def push(pod: str, first: int) -> None:
        command = ("python", "-c", PUSH, secret("feature-token"), str(first), str(PUSHES), body, PRODUCT.keys[0])
        said.append(cluster().kubectl("exec", pod, "-c", "feature-serving", "--", *command))

    threads = [
        threading.Thread(target=push, args=(pod, 91000 + 1000 * number)) for number, pod in enumerate(sorted(ready()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert "".join(said).split() == ["200"] * 2 * PUSHES
    table = pq.read_table(io.BytesIO(s3.get_object(Bucket="files", Key="beacon/data/features.parquet")["Body"].read()))
    found = [entity for entity in table[PRODUCT.keys[0]].to_pylist() if entity >= 91000]
    assert sorted(found) == [*range(91000, 91000 + PUSHES), *range(92000, 92000 + PUSHES)]


def test_the_jobs_work(s3: Any) -> None:
    assert "rows since" in job("materialize-again", "materialize")
    assert any(name.endswith(".progress.json") for name in keys(s3))
    text = job("retrain-again", "retraining", "python", "jobs/retrain.py", "--repeats", "1", "--seed", "1")
    assert "restored as pushed to s3://files/beacon/dvc-remote" in text
    job("drift-by-hand", "drift-profiling")
    assert sql("select count(*) from job_runs where state = 'failed'") == "0"
    job("retention-by-hand", "retention")


def test_it_goes_whole() -> None:
    run(["kubectl", "delete", "namespace", NAMESPACE, "--timeout=300s"])
