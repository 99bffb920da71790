"""`beacon doctor` on machines and states that are broken for real, one thing at a time."""

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.features import Redis
from support.forks import Forks, forks
from support.packages import release_package
from support.ports import free_port, free_ports
from support.postgres import postgres
from support.products import SPEC
from support.settings import Settings

from beacon_core.commands import beacon
from beacon_core.data.database import migrate_at
from beacon_core.data.roles import SCHEMA_SUPPORT, SCHEMA_VERSION
from beacon_core.domain.product import Product
from beacon_core.platform.locks import exclusive
from beacon_core.platform.settings import PREFIX, ROOT
from beacon_laptop.doctor import cluster, machine, state
from beacon_laptop.doctor.findings import Finding
from beacon_laptop.doctor.log_stores import log_stores
from beacon_laptop.ports import PORTS

PYTHON = ROOT / ".venvs" / "laptop" / "bin" / "python"
MODULES = ("beacon_laptop.doctor.command", "beacon_core.feature_store", "sqlalchemy.dialects.postgresql.psycopg")
pytestmark = [pytest.mark.xdist_group("doctor"), pytest.mark.slow]
Doctor = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def ports() -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """`beacon` of the laptop's environment, with what its doctor imports."""
    with forks(Path(beacon.__file__), MODULES, tmp_path_factory.mktemp("doctor"), PYTHON) as made:
        yield made


@pytest.fixture
def doctor(tmp_path: Path, ports: dict[str, str], program: Forks) -> Doctor:
    """The findings of the program by what was looked at; `status` is its exit status."""

    def run(*arguments: str, **given: str) -> dict[str, dict[str, str]]:
        command = ["doctor", "--json", *arguments]
        kept = {name: os.environ[name] for name in ("PATH", "HOME")}
        own = {f"{PREFIX}HOME": str(tmp_path / "home"), f"{PREFIX}PRODUCT": str(SPEC)}
        quick = [] if "--cluster" in arguments or given.pop("WHOLE", "") else ["--quick"]
        done = program.run([*command, *quick], kept | own | ports | given, ROOT)
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (found["state"] == "fail")
        return {one["check"]: one for one in found["findings"]}

    return run


def broken(found: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, one in found.items() if one["state"] == "fail"}


def test_a_sound_machine_has_nothing_broken(doctor: Doctor) -> None:
    found = doctor(WHOLE="1")
    assert broken(found) == set(), found
    assert {"Python", "make", "git", "disk", "memory", "state", "database", "model", "services", "product"} <= set(
        found
    )
    assert all(one["state"] == "ok" or one["mend"] for one in found.values())


def test_a_taken_port_names_its_holder_and_how_to_be_rid_of_it(doctor: Doctor, ports: dict[str, str]) -> None:
    port = ports["BEACON_CONSOLE_PORT"]
    with socket.create_server(("127.0.0.1", int(port))):
        found = doctor()
    assert broken(found) == {f"port {port}"}
    one = found[f"port {port}"]
    assert f"(pid {os.getpid()}: " in one["text"]
    assert one["mend"] == f"kill {os.getpid()}, or set BEACON_CONSOLE_PORT to another port"


def test_a_port_of_the_run_at_work_is_no_fault_but_a_service_that_does_not_answer_is(
    doctor: Doctor, tmp_path: Path, ports: dict[str, str]
) -> None:
    with (
        exclusive(tmp_path / "home" / "run" / "lock", "", str(os.getpid())),
        socket.create_server(("127.0.0.1", int(ports["BEACON_CONSOLE_PORT"]))),
    ):
        found = doctor()
    assert found[f"port {ports['BEACON_CONSOLE_PORT']}"]["state"] == "ok"
    assert broken(found) == {"mlflow", "feature-serving", "inference", "prediction-log", "console"}
    assert found["inference"]["mend"] == f"tail {tmp_path / 'home' / 'logs' / 'inference.log'}"


def test_a_folder_without_rights_is_told_with_the_command_that_gives_them(tmp_path: Path) -> None:
    """As another user where this one is root, whom no right holds up."""
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "beacon.db").touch()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    if os.getuid() != 0:
        home.chmod(0o555)
        found = list(state.folder(home))
        home.chmod(0o755)
        assert [one.state for one in found] == ["fail"]
        return
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        one = next(iter(state.folder(home)))
        os._exit(0 if (one.state, "is not yours" in one.text, "chown" in one.mend) == ("fail", True, True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    home.chmod(0o777)
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        one = next(iter(state.folder(home)))
        os._exit(0 if one.state == "fail" and "beacon.db" in one.text else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert next(iter(state.folder(home))).state == "ok"


def test_an_old_schema_is_told_and_the_command_mends_it(doctor: Doctor, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    url = f"sqlite:///{home / 'beacon.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE something (a INTEGER)")
    engine.dispose()
    found = doctor()
    assert broken(found) == {"database"}
    assert found["database"]["mend"] == "beacon migrate"
    migrate_at(url)
    assert broken(doctor()) == set()


def test_a_schema_that_nobody_knows_is_told(doctor: Doctor, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    migrate_at(f"sqlite:///{home / 'beacon.db'}")
    engine = sa.create_engine(f"sqlite:///{home / 'beacon.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {SCHEMA_VERSION} SET version_num = '9999_future'")
        connection.exec_driver_sql(f"DELETE FROM {SCHEMA_SUPPORT}")
    engine.dispose()
    found = doctor()
    assert broken(found) == {"database"}
    assert "does not know" in found["database"]["text"]


def test_a_stopped_postgresql_is_told_and_a_running_one_has_its_clock_compared(doctor: Doctor) -> None:
    with postgres() as server:
        found = doctor(BEACON_DATABASE_URL=server.url)
        assert broken(found) == set(), found
        assert found["clock of the database"]["state"] == "ok"
        url = server.url
    found = doctor(BEACON_DATABASE_URL=url)
    assert broken(found) == {"database"}
    assert found["database"]["mend"] == "start it, or correct BEACON_DATABASE_URL"


def feature_repo(folder: Path, address: str) -> str:
    shutil.copytree(ROOT / "feature_repo", folder)
    text = "project: beacon\nprovider: local\nonline_store:\n  type: redis\n"
    (folder / "feature_store.yaml").write_text(f"{text}  connection_string: {address}\n")
    return str(folder)


def test_a_stopped_redis_is_told(doctor: Doctor, tmp_path: Path) -> None:
    port = free_port()
    with Redis(tmp_path, port):
        address = f"127.0.0.1:{port}"
        repo = feature_repo(tmp_path / "repo", address)
        found = doctor(BEACON_FEATURE_REPO=repo)
        assert (broken(found), found["Redis"]["text"]) == (set(), f"{address} answers")
    found = doctor(BEACON_FEATURE_REPO=repo)
    assert broken(found) == {"Redis"}
    assert "connection_string" in found["Redis"]["mend"]


@contextmanager
def dated(seconds: float) -> Iterator[str]:
    """An HTTP server whose clock is off by so much."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(204)
            self.send_header("Date", formatdate(time.time() + seconds, usegmt=True))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("off", "expected"), [(0, "ok"), (20, "warn"), (-3600, "fail")])
def test_a_clock_that_is_wrong_is_told(doctor: Doctor, off: float, expected: str) -> None:
    with dated(off) as url:
        found = doctor("--time-url", url)
    assert found[f"clock of {url}"]["state"] == expected


def test_a_model_that_lost_a_byte_is_told(doctor: Doctor, tmp_path: Path, product: Product) -> None:
    home = tmp_path / "home"
    release_package(home, product)
    assert doctor()["model"]["state"] == "ok"
    (file,) = (home / "models").rglob("model.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    found = doctor()
    assert broken(found) == {"model"}
    assert "model.onnx" in found["model"]["text"]


def test_an_mlflow_that_does_not_answer_is_told(doctor: Doctor) -> None:
    found = doctor(BEACON_MLFLOW_URL=f"http://127.0.0.1:{free_port()}")
    assert broken(found) == {"MLflow"}


def test_a_product_with_mistakes_is_told(doctor: Doctor, tmp_path: Path) -> None:
    file = tmp_path / "product.yaml"
    file.write_text(SPEC.read_text(encoding="utf-8").replace("min:", "minimum:"), encoding="utf-8")
    found = doctor(BEACON_PRODUCT=str(file), WHOLE="1")
    assert "product" in broken(found)
    assert found["product"]["mend"] == f"beacon check --product {tmp_path}"


def test_an_environment_unlike_the_lock_is_told(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    site = root / ".venvs" / "inference" / "lib" / "python3.11" / "site-packages" / "msgspec-0.0.1.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: msgspec\nVersion: 0.0.1\n")
    (root / ".venvs" / "inference" / "bin").mkdir()
    (root / ".venvs" / "inference" / "bin" / "python").touch()
    shutil.copy(ROOT / "uv.lock", root)
    found = {one.check: one for one in machine.environments(root)}
    assert found["environment inference"].text.startswith("msgspec is 0.0.1, and ")
    assert found["environment inference"].mend.startswith("rm -f .venvs/inference.stamp; make ")
    assert found["environment console"].text == "is not built"
    assert {one.state for one in found.values()} == {"fail"}


def test_little_memory_and_disk_are_told_by_their_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for limit, check in (("LEAST_DISK", machine.disk), ("LEAST_MEMORY", lambda _: machine.memory())):
        assert next(iter(check(tmp_path))).state != "fail"
        monkeypatch.setattr(machine, limit, 1 << 60)
        found = next(iter(check(tmp_path)))
        assert (found.state, bool(found.mend)) == ("fail", True)


# A cluster


def test_a_cluster_that_does_not_answer_is_told(doctor: Doctor, tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the path")
    config = tmp_path / "kubeconfig"
    server = {"cluster": {"server": f"http://127.0.0.1:{free_port()}"}, "name": "none"}
    context = {"context": {"cluster": "none", "user": ""}, "name": "none"}
    config.write_text(json.dumps({"clusters": [server], "contexts": [context], "current-context": "none"}))
    found = doctor("--cluster", KUBECONFIG=str(config))
    assert broken(found) == {"cluster"}
    assert "refused" in found["cluster"]["text"]
    assert broken(doctor("--cluster", PATH="/nowhere")) == {"cluster"}


POD = {
    "containers": [
        {"name": "a", "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}}]}
    ],
    "volumes": [
        {"name": "v", "secret": {"secretName": "tls"}},
        {"name": "o", "secret": {"secretName": "o", "optional": True}},
    ],
}
DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "inference"},
    "spec": {"replicas": 2, "template": {"spec": POD}},
    "status": {"readyReplicas": 1},
}


def by_check(found: Iterator[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in found}


def test_workloads_pods_and_secrets_of_a_cluster_are_judged() -> None:
    assert by_check(cluster.workload_findings([DEPLOYMENT], "n"))["deployment inference"].state == "fail"
    whole = DEPLOYMENT | {"status": {"readyReplicas": 2}}
    assert by_check(cluster.workload_findings([whole], "n"))["deployment inference"].state == "ok"

    found = by_check(cluster.secret_findings([DEPLOYMENT], [], "n"))
    assert set(found) == {"Secret keys", "Secret tls"}
    keys = {"metadata": {"name": "keys"}, "data": {"other": ""}}
    found = by_check(cluster.secret_findings([DEPLOYMENT], [keys, {"metadata": {"name": "tls"}}], "n"))
    assert found["Secret keys"].text == "lacks the key api, which inference needs"
    keys = {"metadata": {"name": "keys"}, "data": {"api": ""}}
    found = by_check(cluster.secret_findings([DEPLOYMENT], [keys, {"metadata": {"name": "tls"}}], "n"))
    assert [(name, one.state) for name, one in found.items()] == [("Secrets", "ok")]

    waiting = {"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = {"metadata": {"name": "p"}, "status": {"containerStatuses": [waiting]}}
    assert by_check(cluster.pod_findings([pod], "n"))["pod p"].text == "a: ImagePullBackOff: no such image"
    job = {"kind": "CronJob", "metadata": {"name": "drift"}, "spec": {"suspend": True}}
    assert by_check(cluster.schedule_findings([job], "n"))["cronjob drift"].state == "warn"


WAITING = """# TYPE beacon_prediction_log_store_waiting gauge
beacon_prediction_log_store_waiting{store="sql"} 0.0
beacon_prediction_log_store_waiting{store="lake"} 120.0
# TYPE beacon_prediction_log_store_failures_total counter
beacon_prediction_log_store_failures_total{store="sql"} 2.0
beacon_prediction_log_store_failures_total{store="lake"} 7.0
"""


def test_a_store_of_the_log_that_is_away_is_told(tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(WAITING.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        given = Settings(
            home=tmp_path, log_stores=("sql", "lake"), lake="lake", prediction_log_metrics_port=server.server_port
        )
        found = [(finding.state, finding.text) for finding in log_stores(given, runs=True)]
    finally:
        server.shutdown()
        server.server_close()
    assert found == [
        ("ok", "sql takes what is shipped; sql is read, lake gets a copy"),
        ("warn", "120 predictions wait for lake, after 7 failed attempts; they are safe in the spool"),
    ]
    assert [finding.text for finding in log_stores(given, runs=False)] == ["sql is read, lake gets a copy"]
    assert list(log_stores(given, runs=True)) == [], "the check of the services tells of a process that is away"
