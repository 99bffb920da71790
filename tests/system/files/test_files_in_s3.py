"""All services of a laptop with their shared files in a real S3 server; other processes stand for pods elsewhere.

Such a process has a BEACON_HOME of its own, empty as the disk of a pod is, and reaches the same store, Redis, MLflow
and S3.
"""

import http.client
import io
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.features import Process, Redis
from support.ports import free_ports
from support.s3 import s3_bucket
from support.waiting import until
from system.e2e_laptop.beacon_run import READY, Run, ports_of_a_run

from beacon_core.data import drift_results
from beacon_core.data.database import open_store
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.model_package.manifest import MANIFEST_FILE, digest
from beacon_core.model_package.release import read_release, write_release
from beacon_core.platform import s3_client
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

BUCKET, PLACE, TOKEN = "files", "s3://files/beacon", "a-token-for-tests"
PUSHES = 6
QUICK = ("--repeats", "1", "--folds", "3", "--budget-seconds", "0")
Wsgi = Callable[[dict[str, Any], Any], Any]


class Switch:
    """What requests to S3 pass through: off, each gets the answer of a server that is overloaded."""

    on = True

    def before(self, app: Wsgi) -> Wsgi:
        def serve(environ: dict[str, Any], start: Any) -> Any:
            if self.on:
                return app(environ, start)
            start("503 Slow Down", [("Content-Length", "0")])
            return [b""]

        return serve


SWITCH = Switch()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket(BUCKET, before=SWITCH.before) as address:
        s3_client._client.cache_clear()
        yield address


@pytest.fixture(scope="module")
def run(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    (port,) = free_ports(1)
    given = {
        "BEACON_FILES": PLACE,
        "BEACON_FEATURE_TOKEN": TOKEN,
        "BEACON_DRIFT_EVERY_SECONDS": "86400",
        "BEACON_FEATURE_REPO": str(ROOT / "feature_repo" / "redis"),
        "REDIS_CONNECTION": f"127.0.0.1:{port}",
    }
    with Redis(tmp_path_factory.mktemp("redis"), port):
        laptop = Run(tmp_path_factory.mktemp("s3") / "home", ports_of_a_run(), more=given)
        try:
            laptop.wait_for(READY)
            yield laptop
        finally:
            laptop.clear()


@pytest.fixture(scope="module")
def product(run: Run) -> Product:
    return load_product(run.settings.product)


def keys() -> set[str]:
    found = s3_client.client().list_objects_v2(Bucket=BUCKET).get("Contents", ())
    return {each["Key"].removeprefix("beacon/") for each in found}


def rows() -> Any:
    """The offline rows, as they lie in the bucket."""
    body = s3_client.client().get_object(Bucket=BUCKET, Key="beacon/data/features.parquet")["Body"].read()
    return pq.read_table(io.BytesIO(body))


def elsewhere(run: Run, home: Path) -> dict[str, str]:
    """The environment of a pod: nothing of the laptop's state but what it shares."""
    own = {
        "BEACON_HOME": str(home),
        "BEACON_DATABASE_URL": run.settings.database,
        "BEACON_MLFLOW_URL": run.settings.mlflow_address,
        "BEACON_RELEASE": str(home / "release.json"),
        "BEACON_MODEL_KEYS_FILE": str(run.settings.trusted_keys_file),
        "BEACON_MODEL_SIGNING_KEY_FILE": str(run.settings.signing_key_file),
    }
    return {**run.environment, **own}


def job(run: Run, service: str, name: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = ROOT / ".venvs" / service / "bin" / "python"
    command = [str(python), f"jobs/{name}.py", *arguments]
    done = subprocess.run(
        command, env=elsewhere(run, home), capture_output=True, text=True, check=False, cwd=ROOT, timeout=1500
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def ask(port: int, path: str, body: object, token: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def row(product: Product, entity: int, time: str) -> dict[str, list[Any]]:
    """The columns of a push: each feature's example, for one entity."""
    values = {feature.name: [feature.example] for feature in product.features}
    return {product.keys[0]: [entity], EVENT_TIME: [time], **values}


def push(port: int, product: Product, entity: int, time: str = "2026-01-01T00:00:00Z") -> tuple[int, Any]:
    body = {"push_source_name": definitions.push_source_name(product), "df": row(product, entity, time)}
    return ask(port, "/push", body | {"to": "online_and_offline"}, TOKEN)


def entities(product: Product) -> list[int]:
    found: list[int] = rows()[product.keys[0]].to_pylist()
    return found


def test_nothing_that_services_share_lies_on_the_laptop(run: Run) -> None:
    assert {"data/features.parquet", "data/targets.parquet", "feast/registry.db"} <= keys()
    assert not (run.home / "data").exists()
    assert not (run.home / "feast" / "registry.db").exists()
    assert not (run.home / "dvc-remote").exists()


def test_predictions_by_entity_and_a_push_that_they_see(run: Run, product: Product) -> None:
    assert all("prediction" in answer or "predictions" in answer for answer in run.predictions())
    assert push(run.settings.features_port, product, 90001)[0] == 200
    assert 90001 in entities(product)
    status, answer = ask(run.settings.inference_port, "/v1/predict", {"entity": {product.keys[0]: 90001}})
    assert status == 200, answer


def test_two_feature_servers_push_at_once_and_lose_no_row(run: Run, product: Product, tmp_path: Path) -> None:
    """Two pods: each has its own copy of the file, and one of them is overtaken all the time."""
    port, metrics = free_ports(2)
    given = elsewhere(run, tmp_path / "pod") | {
        "BEACON_FEATURES_PORT": str(port),
        "BEACON_FEATURES_METRICS_PORT": str(metrics),
    }
    command = [str(ROOT / ".venvs/feature-serving/bin/python"), "-m", "beacon_feature_serving"]
    statuses: list[tuple[int, Any]] = []
    with Process(command, tmp_path, given) as second:
        second.wait_until(lambda: ask(port, "/get-online-features", {})[0] != 503, 60)

        def send(to: int, first: int) -> None:
            statuses.extend(push(to, product, first + number) for number in range(PUSHES))

        threads = [
            threading.Thread(target=send, args=(to, 91000 + 1000 * number))
            for number, to in enumerate((run.settings.features_port, port))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
    assert {status for status, _ in statuses} == {200}, statuses
    wanted = [*range(91000, 91000 + PUSHES), *range(92000, 92000 + PUSHES)]
    assert sorted(entity for entity in entities(product) if entity in wanted) == wanted


def test_a_retraining_elsewhere_begins_with_what_the_last_one_pushed(run: Run, tmp_path: Path) -> None:
    first = job(run, "retraining", "retrain", tmp_path / "one", *QUICK)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"pushed to {PLACE}/dvc-remote" in first.stdout + first.stderr
    assert "dvc-remote/dvc.lock" in keys()
    again = job(run, "retraining", "retrain", tmp_path / "two", *QUICK)
    assert again.returncode == 0, again.stdout + again.stderr
    text = again.stdout + again.stderr
    assert f"restored as pushed to {PLACE}/dvc-remote" in text
    assert "Stage 'train' didn't change, skipping" in text, text


def test_drift_elsewhere_takes_the_packages_from_mlflow(run: Run, product: Product, tmp_path: Path) -> None:
    version = read_release(run.settings.release_file).model.version
    for feature in range(30):
        status, _ = ask(run.settings.inference_port, "/v1/predict", {"entity": {product.keys[0]: 1 + feature}})
        assert status == 200
    engine = open_store(run.settings.database)

    def compared() -> dict[str, Any]:
        done = job(run, "drift-profiling", "drift", tmp_path / "drift")
        assert done.returncode == 0, done.stdout + done.stderr
        with engine.connect() as connection:
            newest = drift_results.newest_run(connection)
        assert newest is not None
        facts: dict[str, Any] = newest.summary["versions"].get(version, {})
        return facts

    assert until(compared, "a version that was compared", 120)["reference"] == "ok"
    assert (tmp_path / "drift" / "models" / product.name / version / "manifest.json").is_file()


def test_a_package_comes_from_mlflow_and_not_with_other_bytes(run: Run, product: Product, tmp_path: Path) -> None:
    released = read_release(run.settings.release_file)

    def fetch(home: Path) -> subprocess.CompletedProcess[str]:
        home.mkdir()
        write_release(home / "release.json", released)
        return job(run, "inference", "fetch_model", home)

    done = fetch(tmp_path / "one")
    assert done.returncode == 0, done.stdout + done.stderr
    (model,) = [
        file
        for file in (run.home / "mlartifacts").rglob("model.onnx")
        if digest((file.parent / MANIFEST_FILE).read_bytes()) == released.model.sha256
    ]
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        done = fetch(tmp_path / "two")
    finally:
        model.write_bytes(content)
    assert done.returncode == REFUSED
    assert "model.onnx: " in done.stdout + done.stderr
    assert "holds other bytes than the pinned" in done.stdout + done.stderr
    assert not (tmp_path / "two" / "models" / product.name / released.model.version).exists()


def test_materialization_elsewhere_brings_pushed_rows_online(run: Run, tmp_path: Path) -> None:
    done = job(run, "feature-serving", "materialize", tmp_path / "materialize", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(name.endswith(".progress.json") for name in keys())


def test_while_s3_is_away_what_serves_goes_on(run: Run, product: Product, tmp_path: Path) -> None:
    before = entities(product)
    SWITCH.on = False
    try:
        status, _ = ask(run.settings.inference_port, "/v1/predict", {"entity": {product.keys[0]: 1}})
        assert status == 200
        status, answer = push(run.settings.features_port, product, 93000)
        assert status == 503, answer
        assert "BEACON_FILES: s3://files/beacon/" in json.dumps(answer)
        for service, name in (("feature-serving", "materialize"), ("retraining", "retrain")):
            done = job(run, service, name, tmp_path / name)
            assert done.returncode == TRY_AGAIN, done.stdout + done.stderr
            lines = [line for line in (done.stdout + done.stderr).splitlines() if "try again" in line]
            assert len(lines) == 1, lines
            assert PLACE in lines[0]
    finally:
        SWITCH.on = True
    assert entities(product) == before
    assert push(run.settings.features_port, product, 93000)[0] == 200
    assert 93000 in entities(product)


def test_erasure_reaches_what_lies_in_s3(run: Run, product: Product) -> None:
    key, gone = product.keys[0], 1
    held = [name for name in keys() if name.startswith("dvc-remote/files/") and has(name, key, gone)]
    assert gone in entities(product)
    assert held, "DVC keeps rows of it"
    run.do("forget", f"ENTITY={gone}", "REASON=a test")
    assert gone not in entities(product)
    assert [name for name in keys() if name.startswith("dvc-remote/files/") and has(name, key, gone)] == []
    targets = s3_client.client().get_object(Bucket=BUCKET, Key="beacon/data/targets.parquet")["Body"].read()
    assert gone not in pq.read_table(io.BytesIO(targets))[key].to_pylist()


def has(name: str, key: str, value: int) -> bool:
    """Whether an object is a Parquet file with a row of the entity."""
    body = s3_client.client().get_object(Bucket=BUCKET, Key=f"beacon/{name}")["Body"].read()
    if not body.startswith(b"PAR1"):
        return False
    table = pq.read_table(io.BytesIO(body))
    return key in table.column_names and value in table[key].to_pylist()


def test_a_retraining_after_an_erasure_begins_anew(run: Run, tmp_path: Path) -> None:
    done = job(run, "retraining", "retrain", tmp_path / "three", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "begins anew" in done.stdout + done.stderr


def test_a_backup_of_the_laptop_has_its_state_and_not_the_bucket(run: Run, tmp_path: Path) -> None:
    run.do("backup", f"TO={tmp_path / 'backups'}")
    (backup,) = (tmp_path / "backups").iterdir()
    listed = subprocess.run(["tar", "-tf", backup / "home.tar"], capture_output=True, text=True, check=True).stdout
    assert "beacon.db" in listed
    assert "features.parquet" not in listed
