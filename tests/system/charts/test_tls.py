"""TLS to PostgreSQL, Redis and MLflow, as the charts word it: the right authority and name work, others are refused.

The servers are real ones. The wheels' PostgreSQL and Redis speak no TLS, so this machine's are taken.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from support.certificates import Authority
from support.ports import free_port
from support.rendering import containers, pods, template
from support.settings import Settings

from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError, migrate_at, open_store
from beacon_core.feature_store import repo
from beacon_core.platform.mlflow import CERTIFICATES, Mlflow, RegistryUnavailableError
from beacon_core.platform.settings import ROOT
from beacon_retraining.registry.register import Registry

NAME = "localhost"
CA_FILE = "/etc/beacon-ca/ca.crt"
READER, WRITER = ("beacon-reader", "r" * 20), ("beacon-writer", "w" * 20)


class Certified:
    """What the tests share: an authority with a server's certificate for `localhost`, and one that nobody knows."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.other = Authority(folder, "ours"), Authority(folder, "other")
        self.server = self.ours.certificate(NAME)


@pytest.fixture(scope="module")
def certified() -> Iterator[Certified]:
    # Not in pytest's own folder: another user, as which PostgreSQL runs, cannot reach into that.
    with tempfile.TemporaryDirectory(prefix="beacon-tls-") as folder:
        Path(folder).chmod(0o755)
        yield Certified(Path(folder))


def variable(chart: str, component: str, name: str, *arguments: str) -> str:
    """The value of a container's variable where the values ask for TLS."""
    given = ["--values", f"charts/{chart}/ci/default-values.yaml", "--set", "tls.ca.configMap=ca", *arguments]
    done = template(chart, *given)
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    found = {
        each["value"]
        for labels, spec in pods(documents)
        if labels["app.kubernetes.io/name"] == component
        for container in containers(spec)
        for each in container.get("env", [])
        if each["name"] == name
    }
    assert len(found) == 1, found
    (value,) = found
    return str(value)


def wait_until(answers: Any, log: Path) -> None:
    deadline = time.monotonic() + 240
    while not answers():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@contextlib.contextmanager
def running(command: list[Any], log: Path, **options: Any) -> Iterator[None]:
    with log.open("wb") as stream:
        process = subprocess.Popen([str(word) for word in command], stdout=stream, stderr=stream, **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


# PostgreSQL


@pytest.fixture(scope="module")
def postgresql(certified: Certified) -> Iterator[int]:
    """The port of a PostgreSQL that takes connections with TLS alone."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    program = found[-1] if found else shutil.which("postgres")
    if program is None:
        pytest.skip("this machine has no PostgreSQL that speaks TLS")
    programs, port = Path(program).parent, free_port()
    user: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="beacon-postgres-tls-") as place:
        folder = Path(place)
        key = Path(shutil.copy(certified.server.key, folder / "server.key"))
        key.chmod(0o600)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (folder, key):
                os.chown(path, nobody.pw_uid, -1)
        data = folder / "data"
        initdb = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "beacon",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n")
        options = {"port": port, "listen_addresses": NAME, "unix_socket_directories": "", "ssl": "on"}
        options |= {"ssl_cert_file": certified.server.certificate, "ssl_key_file": key}
        command = [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())]

        def answers() -> bool:
            ready = [programs / "pg_isready", "-h", NAME, "-p", str(port), "-d", "postgres"]
            return subprocess.run(ready, capture_output=True, check=False).returncode == 0

        with running(command, folder / "log", cwd=folder, **user):
            wait_until(answers, folder / "log")
            yield port


def database_url(port: int, authority: Path, host: str = NAME) -> str:
    """The address that the chart renders, at the test's server and with the test's authority."""
    url = variable("console", "console", "BEACON_DATABASE_URL", "--set", "tls.database=true")
    assert url.endswith(f"?sslmode=verify-full&sslrootcert={CA_FILE}")
    url = url.replace("beacon_console@beacon-postgresql:5432/beacon", f"beacon@{host}:{port}/postgres")
    return url.replace(CA_FILE, str(authority))


def test_postgresql_is_reached_with_the_right_authority(postgresql: int, certified: Certified) -> None:
    url = database_url(postgresql, certified.ours.file)
    migrate_at(url)
    engine = open_store(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).one()
    engine.dispose()
    assert found.ssl
    assert found.version in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize(
    ("host", "authority", "rule"),
    [
        (NAME, "other", "certificate verify failed"),
        ("127.0.0.1", "ours", 'server certificate for "localhost" .* does not match host name "127.0.0.1"'),
    ],
)
def test_postgresql_is_refused_by_authority_and_name(
    postgresql: int, certified: Certified, host: str, authority: str, rule: str
) -> None:
    url = database_url(postgresql, getattr(certified, authority).file, host)
    with pytest.raises(DatabaseUnavailableError, match=rule):
        migrate_at(url)
    with pytest.raises(DatabaseUnavailableError, match=rule), DatabaseClient(url).connect():
        pass


def test_postgresql_without_tls_is_not_taken_for_it(certified: Certified, tmp_path: Path) -> None:
    """Verification needs TLS: a server that offers none is refused, and nothing is sent to it."""
    from support.postgres import postgres

    with postgres() as plain:
        url = database_url(plain.port, certified.ours.file, "127.0.0.1")
        with pytest.raises(DatabaseUnavailableError, match="server does not support SSL, but SSL was required"):
            migrate_at(url)


# Redis


@pytest.fixture(scope="module")
def redis(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis that speaks TLS alone, started with the options of the chart."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("this machine has no Redis that speaks TLS")
    done = template(
        "platform", "--values", "charts/platform/ci/default-values.yaml", "--set", "redis.tlsSecret=certificate"
    )
    (args,) = [
        container["args"]
        for _, spec in pods([document for document in yaml.safe_load_all(done.stdout) if document])
        for container in containers(spec)
        if container["name"] == "redis"
    ]
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    places = {"/etc/beacon-tls/tls.crt": certified.server.certificate, "/etc/beacon-tls/tls.key": certified.server.key}
    places |= {"/data": folder, "6379": port, "0.0.0.0": "127.0.0.1 -::1"}
    options = [str(places.get(word, word)) for word in args]

    def answers() -> bool:
        return "Ready to accept connections" in (folder / "log").read_text()

    with running([program, *options, "--requirepass", "a,secret"], folder / "log"):
        wait_until(answers, folder / "log")
        yield port


def online_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int, authority: Path, host: str = NAME) -> Any:
    """Feast's online store with the connection string that the chart renders, as feature serving opens it."""
    connection = variable("retraining", "retraining", "REDIS_CONNECTION", "--set", "tls.redis=true")
    assert connection.startswith("beacon-redis:6379,ssl=true,")
    connection = connection.replace("beacon-redis:6379", f"{host}:{port}").replace(CA_FILE, str(authority))
    monkeypatch.setenv("REDIS_CONNECTION", connection)
    monkeypatch.setenv("REDIS_PASSWORD", "a,secret")
    settings = Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis")
    store = repo.open_store(settings)
    return store._get_provider().online_store._get_client(store.config.online_store)  # type: ignore[attr-defined]


def test_redis_is_reached_with_the_right_authority(
    redis: int, certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = online_store(monkeypatch, tmp_path, redis, certified.ours.file)
    assert client.ping()
    client.close()


@pytest.mark.parametrize(
    ("host", "authority", "rule"),
    [(NAME, "other", "certificate verify failed"), ("127.0.0.1", "ours", "IP address mismatch")],
)
def test_redis_is_refused_by_authority_and_name(
    redis: int,
    certified: Certified,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    authority: str,
    rule: str,
) -> None:
    from redis.exceptions import ConnectionError as RedisDownError

    client = online_store(monkeypatch, tmp_path, redis, getattr(certified, authority).file, host)
    with pytest.raises(RedisDownError, match=rule):
        client.ping()
    client.close()


# MLflow


@pytest.fixture(scope="module")
def mlflow(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of MLflow behind its logins and with TLS, started with the arguments of the chart."""
    done = template("platform", "--values", "charts/platform/ci/default-values.yaml", "--set", "mlflow.tlsSecret=tls")
    (container,) = [
        container
        for _, spec in pods([document for document in yaml.safe_load_all(done.stdout) if document])
        for container in containers(spec)
        if container["name"] == "mlflow"
    ]
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    places = {"/etc/beacon-tls/tls.crt": certified.server.certificate, "/etc/beacon-tls/tls.key": certified.server.key}
    command = []
    for word in [*container["command"], *container["args"]]:
        told = {"0.0.0.0": "127.0.0.1", "5000": str(port), "/mlartifacts": str(folder / "artifacts")}.get(word, word)
        for place, file in places.items():
            told = told.replace(place, str(file))
        command.append(told)
    command[0] = str(Path(sys.executable).with_name("mlflow"))
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db"}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    for name, (user, password) in {"READER": READER, "WRITER": WRITER}.items():
        environment |= {f"MLFLOW_{name}_USERNAME": user, f"MLFLOW_{name}_PASSWORD": password}
    names = {each["name"] for each in container["env"]}
    assert {f"MLFLOW_{who}_{what}" for who in ("READER", "WRITER") for what in ("USERNAME", "PASSWORD")} <= names

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return ask(port, certified, "/health")[0] == 200
        return False

    with running(command, folder / "log", env=environment, cwd=folder):
        wait_until(answers, folder / "log")
        yield port


def ask(
    port: int, certified: Certified, path: str, login: tuple[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of a request; a POST where there is a body."""
    import ssl

    request = urllib.request.Request(f"https://{NAME}:{port}{path}", body)
    request.add_header("Content-Type", "application/json")
    if login is not None:
        request.add_header("Authorization", f"Basic {b64encode(':'.join(login).encode()).decode()}")
    context = ssl.create_default_context(cafile=str(certified.ours.file))
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def signed_in(monkeypatch: pytest.MonkeyPatch, login: tuple[str, str], authority: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", login[1])
    monkeypatch.setenv(CERTIFICATES, str(authority))
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)


def test_the_chart_names_the_authority_for_both_clients_of_mlflow() -> None:
    given = ("--set", "tls.mlflow=true", "--set", "mlflowUrl=https://beacon-mlflow:5000")
    assert variable("console", "console", CERTIFICATES, *given) == CA_FILE
    done = template("console", "--values", "charts/console/ci/default-values.yaml", "--set", "tls.mlflow=true")
    assert done.returncode != 0
    assert "tls.mlflow: mlflowUrl must begin with https://" in done.stderr


def test_mlflow_is_reached_with_the_right_authority(
    mlflow: int, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(monkeypatch, WRITER, certified.ours.file)
    address = f"https://{NAME}:{mlflow}"
    registry = Registry(address)
    registry.client.create_registered_model("over-tls")
    assert Mlflow(address).model_tags("over-tls") == {}
    assert Mlflow(address).version("over-tls", "1") is None


@pytest.mark.parametrize(
    ("host", "authority", "rule"),
    [(NAME, "other", "certificate verify failed"), ("127.0.0.1", "ours", "IP address mismatch")],
)
def test_mlflow_is_refused_by_authority_and_name(
    mlflow: int,
    certified: Certified,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    authority: str,
    rule: str,
) -> None:
    signed_in(monkeypatch, WRITER, getattr(certified, authority).file)
    with pytest.raises(RegistryUnavailableError, match=f"does not answer: .*{rule}"):
        Mlflow(f"https://{host}:{mlflow}").version("over-tls", "1")


def test_a_missing_file_of_authorities_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    signed_in(monkeypatch, WRITER, tmp_path / "none.crt")
    with pytest.raises(RegistryUnavailableError, match=rf"^{CERTIFICATES}: .*none\.crt: .*No such file"):
        Mlflow("https://localhost:1").version("x", "1")


EXPERIMENT = b'{"name": "theirs"}'
WRITES = {
    "an experiment": ("/api/2.0/mlflow/experiments/create", EXPERIMENT),
    "an experiment, by the pages' route": ("/ajax-api/2.0/mlflow/experiments/create", EXPERIMENT),
    "a model": ("/api/2.0/mlflow/registered-models/create", b'{"name": "theirs"}'),
    "an alias": ("/api/2.0/mlflow/registered-models/alias", b'{"name": "x", "alias": "champion", "version": "1"}'),
    "a tag": ("/api/2.0/mlflow/model-versions/set-tag", b'{"name": "x", "version": "1", "key": "sha256", "value": ""}'),
    "an artifact": ("/api/2.0/mlflow-artifacts/artifacts/x", b"x"),
    "an artifact in parts": ("/api/2.0/mlflow-artifacts/mpu/create/x/search", b"{}"),
    "a route that is no MLflow's yet": ("/api/9.0/mlflow/anything/at-all", b"{}"),
}


def test_without_a_login_mlflow_answers_to_probes_alone(mlflow: int, certified: Certified) -> None:
    assert ask(mlflow, certified, "/health")[0] == 200
    experiments = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    wrong = [None, ("beacon-reader", "x"), ("nobody", READER[1]), (READER[0], WRITER[1]), ("", "")]
    for path in ("/", "/version", experiments, "/get-artifact?path=x&run_uuid=y", "/static-files/index.html"):
        assert {ask(mlflow, certified, path, login)[0] for login in wrong} == {401}
    assert ask(mlflow, certified, experiments, READER)[0] == 200
    assert ask(mlflow, certified, experiments, WRITER)[0] == 200


@pytest.mark.parametrize("what", WRITES)
def test_the_reader_changes_nothing(mlflow: int, certified: Certified, what: str) -> None:
    path, body = WRITES[what]
    assert ask(mlflow, certified, path, READER, body) == (403, b"this login may read, and change nothing")
    assert ask(mlflow, certified, path, WRITER, body)[0] != 403
    assert ask(mlflow, certified, path, None, body)[0] == 401


def test_the_reader_may_ask_what_the_pages_ask(mlflow: int, certified: Certified) -> None:
    for kind in ("runs", "logged-models"):
        body = b'{"experiment_ids": ["0"]}'
        assert ask(mlflow, certified, f"/ajax-api/2.0/mlflow/{kind}/search", READER, body)[0] == 200


def test_a_missing_login_is_named() -> None:
    from beacon_retraining.registry.mlflow_app import LoginError, logins_of

    whole = {"MLFLOW_READER_USERNAME": "a", "MLFLOW_READER_PASSWORD": "b", "MLFLOW_WRITER_USERNAME": "c"}
    with pytest.raises(LoginError, match=r"^MLFLOW_WRITER_PASSWORD is not set$"):
        logins_of(whole)
    assert len(logins_of(whole | {"MLFLOW_WRITER_PASSWORD": "d"})) == 2
