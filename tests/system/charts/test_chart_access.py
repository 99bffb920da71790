"""Who may ask: a missing Secret opens no service, MLflow answers to its own names alone, Redis hides its password."""

import os
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from support.features import redis_server
from support.ports import free_port
from support.rendering import CASES, containers, pods, rendered, template

from tools.product_values import UMBRELLA

OWN = ("beacon-mlflow:5000", "beacon-mlflow.beacon.svc.cluster.local:5000", "localhost:8080", "127.0.0.1:5000")
# A web page whose name was made to mean the forwarded port.
FOREIGN = ("evil.example:5000", "localhost.evil.example", "beacon-mlflow.evil.example")


def lines(chart: str, *arguments: str) -> list[str]:
    done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("arguments", "optional"), [((), "false"), (("--set", "apiKey.required=false"), "true")])
def test_without_its_key_inference_starts_only_where_it_may(arguments: tuple[str, ...], optional: str) -> None:
    told = lines("inference", *arguments)
    place = next(place for place, line in enumerate(told) if line.endswith("key: api-key"))
    assert f"optional: {optional}" in told[place - 2 : place + 3]


def test_mlflow_answers_to_its_own_names() -> None:
    told = lines("platform", "--set", "mlflow.allowedHosts={mlflow.example.org}")
    (hosts,) = [line for line in told if "localhost:*" in line]
    allowed = yaml.safe_load(hosts)[0].split(",")

    def is_allowed(host: str) -> bool:  # as MLflow 3 matches a Host
        return any(fnmatch(host, name) for name in allowed)

    assert list(filter(is_allowed, (*OWN, "mlflow.example.org", *FOREIGN))) == [*OWN, "mlflow.example.org"]


def test_promotion_alone_has_rights_on_the_cluster() -> None:
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    found = {chart: {each["kind"] for each in rendered(chart, values)} & kinds for chart, values in CASES}
    assert {chart for chart, rights in found.items() if rights} == {"promotion", UMBRELLA}
    # The chart of all of them has promotion's and, while its hook runs, those to create Secrets.
    roles = {each["metadata"]["name"] for each in rendered(UMBRELLA, "default-values.yaml") if each["kind"] == "Role"}
    assert roles == {"beacon-promotion", "beacon-secrets"}


def test_who_reads_what_clients_sent_reaches_no_api() -> None:
    """Drift profiling parses the log: it opens connections to the database alone, and to no address outside."""
    policies = [each for each in rendered("drift-profiling", "default-values.yaml") if each["kind"] == "NetworkPolicy"]
    labels = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/part-of": "beacon"}
    for policy in policies:
        names, database = policy["spec"]["egress"]
        assert [each["port"] for each in names["ports"]] == [53, 53]
        assert database == {"to": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": 5432}]}
    assert {policy["metadata"]["name"] for policy in policies} == {
        "beacon-drift-profiling",
        "beacon-drift-profiling-migration",
    }


@pytest.mark.parametrize("chart", ["feature-serving", "retraining"])
def test_the_password_of_redis_is_in_a_variable_of_its_own(chart: str) -> None:
    """The connection string would be cut at a comma of the password: the services put it in, quoted."""
    told = lines(chart, "--set-string", "redis.options=ssl=true")
    assert "value: beacon-redis:6379,ssl=true" in told
    assert not [line for line in told if "$(REDIS_PASSWORD)" in line]


@pytest.mark.parametrize("password", ["plain", 'a"b\\c d$(e)`f`', "'#;"])
def test_redis_takes_its_password_from_no_command_line(tmp_path: Path, password: str) -> None:
    done = template("platform", "--values", "charts/platform/ci/default-values.yaml")
    (redis,) = [
        container
        for _, spec in pods([document for document in yaml.safe_load_all(done.stdout) if document])
        for container in containers(spec)
        if container["name"] == "redis"
    ]
    program, port = Path(redis_server()), free_port()
    arguments = [str(tmp_path) if each == "/data" else each for each in redis["args"]]
    environment = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "REDISCLI_AUTH": password}
    running = subprocess.Popen(
        [*redis["command"], *arguments, "--port", str(port)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        client = Redis(port=port, password=password, retry=Retry(ConstantBackoff(0.2), 100))
        assert client.ping()
        with pytest.raises(AuthenticationError):
            Redis(port=port).ping()
        line = Path(f"/proc/{running.pid}/cmdline").read_bytes()
        assert line.startswith(b"redis-server"), "it gets the signals itself"
        assert password.encode() not in line
        client.close()
    finally:
        running.terminate()
        assert running.wait(30) == 0
