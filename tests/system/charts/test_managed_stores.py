"""The example of managed stores in docs, rendered as written: every pod of the release is pointed at them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.installations import Document, key, render
from support.rendering import containers, pods
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import told_all

PAGE = ROOT / "docs" / "how-to" / "deploy.md"
FILE, TOKENS = "# managed.yaml", "# tokens.yaml"
SHIPPED = load_product(Settings().product)
DATABASE, DIRECT, REDIS, MLFLOW = "pooler.example.com", "db.example.com", "redis.example.com", "mlflow.example.com"


def block(first_line: str) -> str:
    """The values that docs show, as they stand there."""
    blocks = re.findall(r"``` yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(first_line)]
    return str(found)


def example() -> Document:
    values: Document = yaml.safe_load(block(FILE))
    return values


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The release with nothing but the example and the product."""
    told = told_all(SHIPPED)
    values = example()
    return render("beacon", told | values | {"global": told["global"] | values["global"]}, tmp_path_factory.mktemp("m"))


def variables(container: Document) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def with_variable(found: list[Document], name: str) -> list[tuple[str, Document, Document]]:
    """The component, the pod's spec and the container of each that has the variable."""
    return [
        (labels["app.kubernetes.io/name"], spec, container)
        for labels, spec in pods(found)
        for container in containers(spec)
        if name in variables(container)
    ]


def trusts_the_ca(spec: Document, container: Document) -> bool:
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    return mounted.get("ca") == "/etc/beacon-ca" and any(
        volume["name"] == "ca" and volume["configMap"]["name"] == "my-ca" for volume in spec["volumes"]
    )


def test_no_store_is_installed(found: list[Document]) -> None:
    names = {key(each)[2] for each in found if each["kind"] == "StatefulSet"}
    assert names == {"beacon-prometheus", "beacon-alertmanager"}


def test_every_login_to_the_database_goes_through_the_pooler_with_a_verified_name(found: list[Document]) -> None:
    logins = with_variable(found, "BEACON_DATABASE_URL")
    assert {name for name, _, _ in logins} == {
        "inference",  # the prediction log's container
        "console",
        "materialize",
        "retraining",
        "retraining-migration",
        "retention",
        "drift-profiling",
        "promotion",
    }
    for name, spec, container in logins:
        address = variables(container)["BEACON_DATABASE_URL"]
        assert f"@{DATABASE}:6432/beacon?" in address, name
        assert "prepare_threshold=none" in address, name
        assert "sslmode=verify-full&sslrootcert=/etc/beacon-ca/ca.crt" in address, name
        assert trusts_the_ca(spec, container), name


def test_every_pod_that_asks_redis_asks_that_one(found: list[Document]) -> None:
    asking = with_variable(found, "REDIS_CONNECTION")
    assert {name for name, _, _ in asking} == {"feature-serving", "materialize", "retraining", "retention"}
    for name, spec, container in asking:
        told = variables(container)
        assert told["REDIS_CONNECTION"].startswith(f"{REDIS}:6380,ssl=true,"), name
        assert told["REDIS_PASSWORD"] == {"secretKeyRef": {"name": "my-redis", "key": "password"}}, name
        assert trusts_the_ca(spec, container), name


def test_every_pod_that_asks_mlflow_asks_that_one_with_the_token(found: list[Document]) -> None:
    asking = with_variable(found, "BEACON_MLFLOW_URL")
    assert {name for name, _, _ in asking} >= {"inference", "console", "retraining", "promotion", "prober", "retention"}
    for name, spec, container in asking:
        told = variables(container)
        assert told["BEACON_MLFLOW_URL"] == f"https://{MLFLOW}", name
        assert told["MLFLOW_TRACKING_TOKEN"] == {"secretKeyRef": {"name": "my-mlflow", "key": "token"}}, name
        assert "MLFLOW_TRACKING_PASSWORD" not in told, name
        assert told["MLFLOW_TRACKING_SERVER_CERT_PATH"] == "/etc/beacon-ca/ca.crt", name
        assert trusts_the_ca(spec, container), name


def test_no_pod_names_a_store_that_is_not_there(found: list[Document]) -> None:
    for labels, spec in pods(found):
        text = yaml.safe_dump(spec)
        assert not re.search(r"beacon-(postgresql|redis|mlflow)\b", text), labels["app.kubernetes.io/name"]


def test_network_policies_let_each_pod_go_there_and_no_further(found: list[Document]) -> None:
    ports = {"BEACON_DATABASE_URL": 6432, "REDIS_CONNECTION": 6380, "BEACON_MLFLOW_URL": 443}
    policies = {
        each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: each["spec"]["egress"]
        for each in found
        if each["kind"] == "NetworkPolicy"
    }
    for name, port in ports.items():
        for component, _, _ in with_variable(found, name):
            rules = [rule for rule in policies[component] if port in [each["port"] for each in rule["ports"]]]
            assert [{"ipBlock": {"cidr": "10.0.0.0/8"}}] in [rule.get("to") for rule in rules], (component, name)


def test_promotion_may_give_its_pods_the_token(found: list[Document]) -> None:
    policies = yaml.safe_dump([each for each in found if each["kind"] == "ValidatingAdmissionPolicy"], width=10_000)
    assert '"my-mlflow/token"' in policies
    assert "beacon-mlflow-reader" not in policies
    assert "MLFLOW_TRACKING_TOKEN" in policies


def test_the_database_alone_can_be_managed_by_one_value(tmp_path: Path) -> None:
    """MLflow, which stays bundled, goes to the same server without the pooler."""
    found = render("beacon", told_all(SHIPPED), tmp_path, f"--set=global.database.host={DIRECT}")
    for name, _, container in with_variable(found, "BEACON_DATABASE_URL"):
        assert f"@{DIRECT}:5432/beacon" in variables(container)["BEACON_DATABASE_URL"], name
    ((_, _, mlflow),) = with_variable(found, "MLFLOW_BACKEND_STORE_URI")
    assert variables(mlflow)["MLFLOW_BACKEND_STORE_URI"] == f"postgresql+psycopg://beacon_mlflow@{DIRECT}:5432/mlflow"
    names = {key(each)[2] for each in found if each["kind"] == "StatefulSet"}
    assert names & {"beacon-postgresql", "beacon-redis", "beacon-mlflow"} == {"beacon-redis", "beacon-mlflow"}
    policy = next(each for each in found if key(each)[:1] + key(each)[2:] == ("NetworkPolicy", "beacon-mlflow"))
    assert {"port": 5432} in [port for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_mlflow_goes_past_the_pooler(tmp_path: Path) -> None:
    values = told_all(SHIPPED)
    values["global"] |= {"database": example()["global"]["database"], "tls": example()["global"]["tls"]}
    found = render("beacon", values, tmp_path)
    ((_, spec, mlflow),) = with_variable(found, "MLFLOW_BACKEND_STORE_URI")
    address = variables(mlflow)["MLFLOW_BACKEND_STORE_URI"]
    assert address.startswith(f"postgresql+psycopg://beacon_mlflow@{DIRECT}:5432/mlflow?sslmode=verify-full")
    assert "prepare_threshold" not in address
    assert trusts_the_ca(spec, mlflow)


def test_one_user_for_everything_by_one_value(tmp_path: Path) -> None:
    one = "global.database.host=db.example.com,global.database.user=all,global.database.secret.name=one"
    found = render("beacon", told_all(SHIPPED), tmp_path, f"--set={one}")
    for name in ("BEACON_DATABASE_URL", "MLFLOW_BACKEND_STORE_URI"):
        for component, _, container in with_variable(found, name):
            told = variables(container)
            assert told[name].startswith("postgresql+psycopg://all@db.example.com:5432/"), component
            assert told["PGPASSWORD"] == {"secretKeyRef": {"name": "one", "key": "password"}}, component


def test_an_mlflow_without_a_login_is_asked_without_one(tmp_path: Path) -> None:
    given = "--set=global.mlflow.url=http://mlflow.example.com:8080,global.mlflow.login=false"
    found = render("beacon", told_all(SHIPPED), tmp_path, given)
    for name, _, container in with_variable(found, "BEACON_MLFLOW_URL"):
        assert not [each for each in variables(container) if each.startswith("MLFLOW_TRACKING")], name
    policy = next(each for each in found if key(each)[:1] + key(each)[2:] == ("NetworkPolicy", "beacon-inference"))
    assert [{"port": 8080}] in [rule["ports"] for rule in policy["spec"]["egress"]]


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The release with the example of tokens, and backups."""
    folder = tmp_path_factory.mktemp("tokens")
    file = folder / "tokens.yaml"
    file.write_text(block(TOKENS), encoding="utf-8")
    return render("beacon", told_all(SHIPPED), folder, f"--values={file}", "--set=platform.backup.enabled=true")


def test_with_tokens_no_pod_has_a_password_of_the_database(with_tokens: list[Document]) -> None:
    using = [
        *with_variable(with_tokens, "BEACON_DATABASE_URL"),
        *with_variable(with_tokens, "MLFLOW_BACKEND_STORE_URI"),
        *with_variable(with_tokens, "BEACON_DATABASE"),
    ]
    assert {"prediction-log", "mlflow", "databases", "console"} <= {container["name"] for _, _, container in using}
    for name, spec, container in using:
        told = variables(container)
        assert not told.keys() & {"PGPASSWORD", "MLFLOW_PASSWORD"}, name
        if "BEACON_DATABASE_URL" in told:
            assert "?password_file=/tokens/password&sslmode=verify-full" in told["BEACON_DATABASE_URL"], name
        if "BEACON_DATABASE" in told:
            assert told["PASSWORD_FILE"] == "/tokens/password"
            assert "password_file" not in told["BEACON_DATABASE"], "libpq knows no such option"
            assert "passfile=/tokens/pgpass" in told["MLFLOW_DATABASE"]
        if "MLFLOW_BACKEND_STORE_URI" in told:
            assert "?passfile=/tokens/pgpass&sslmode=verify-full" in told["MLFLOW_BACKEND_STORE_URI"]
        assert "/tokens" in {mount["mountPath"] for mount in container["volumeMounts"]}, name
        first = spec["initContainers"][0]
        assert (first["name"], first["restartPolicy"]) == ("tokens", "Always"), name


def test_the_examples_script_writes_both_files_for_their_owner_alone(
    with_tokens: list[Document], tmp_path: Path
) -> None:
    """As it stands on the page; stand-ins for the cloud's tool, and for sleep, which breaks the loop off."""
    ((_, spec, _),) = with_variable(with_tokens, "MLFLOW_BACKEND_STORE_URI")
    (script,) = spec["initContainers"][0]["args"]
    for name, content in {
        "aws": r"printf '%s\n' 'db.example.com:5432/?Action=connect&X=a\b'",
        "sleep": "kill $PPID",
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{content}\n", encoding="utf-8")
        program.chmod(0o755)
    script = script.replace("/tokens", str(tmp_path))
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script], env={"PATH": path}, check=False, timeout=30)
    written, libpqs = tmp_path / "password", tmp_path / "pgpass"
    assert written.read_text() == "db.example.com:5432/?Action=connect&X=a\\b\n"
    assert libpqs.read_text() == "*:*:*:*:db.example.com\\:5432/?Action=connect&X=a\\\\b\n"
    assert {file.stat().st_mode & 0o777 for file in (written, libpqs)} == {0o600}


def test_who_writes_tokens_may_ask_the_cloud(with_tokens: list[Document]) -> None:
    policies = {key(each)[2]: each["spec"]["egress"] for each in with_tokens if each["kind"] == "NetworkPolicy"}
    for name, spec, _ in with_variable(with_tokens, "BEACON_DATABASE_URL"):
        if spec["initContainers"][0]["name"] == "tokens":
            assert {"port": 443} in [port for rule in policies[f"beacon-{name}"] for port in rule["ports"]], name


def test_promotion_may_make_pods_with_the_container_that_writes_tokens(with_tokens: list[Document]) -> None:
    policies = yaml.safe_dump(
        [each for each in with_tokens if each["kind"] == "ValidatingAdmissionPolicy"], width=10_000
    )
    assert "tokens registry.example.com/aws-cli:2" in policies


def test_backups_go_past_a_pooler_and_know_libpqs_options_alone(tmp_path: Path) -> None:
    values = told_all(SHIPPED)
    values["global"] |= {"database": example()["global"]["database"]}
    found = render("beacon", values, tmp_path, "--set=platform.backup.enabled=true")
    dumping = with_variable(found, "BEACON_DATABASE")
    assert dumping
    for name, _, container in dumping:
        address = variables(container)["BEACON_DATABASE"]
        assert address.startswith(f"postgresql://beacon_owner@{DIRECT}:5432/beacon"), name
        assert "prepare_threshold" not in address, name


@pytest.mark.parametrize("kind", ["redis_cluster", "redis_sentinel"])
def test_a_redis_of_several_servers_is_asked_by_its_nodes(kind: str, tmp_path: Path) -> None:
    port = 6379 if kind == "redis_cluster" else 26379
    nodes = [f"redis-{number}.example.com:{port}" for number in range(3)]
    given = {"type": kind, "nodes": nodes, "sentinelMaster": "features", "ports": [6379, 6380], "tls": True}
    values = told_all(SHIPPED)
    values["global"]["redis"] = given
    found = render("beacon", values, tmp_path)
    assert not [each for each in found if each["kind"] == "StatefulSet" and key(each)[2] == "beacon-redis"]
    asking = with_variable(found, "REDIS_CONNECTION")
    assert {name for name, _, _ in asking} == {"feature-serving", "materialize", "retraining", "retention"}
    for name, _, container in asking:
        told = variables(container)
        assert told["REDIS_CONNECTION"].startswith(f"{','.join(nodes)},ssl=true,"), name
        folder = told["BEACON_FEATURE_REPO"].rpartition("/")[2]
        assert (ROOT / "feature_repo" / folder / "feature_store.yaml").is_file()
        assert folder == kind.replace("_", "-")
        assert told.get("REDIS_SENTINEL_MASTER") == ("features" if kind == "redis_sentinel" else None), name
    for name in {name for name, _, _ in asking}:
        (policy,) = [each for each in found if key(each)[:1] + key(each)[2:] == ("NetworkPolicy", f"beacon-{name}")]
        open_to = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert {port, 6379, 6380} <= open_to, name


def test_images_have_the_files_of_every_kind_of_redis() -> None:
    for service in ("feature-serving", "retraining"):
        text = (ROOT / "services" / service / "Dockerfile").read_text(encoding="utf-8")
        ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        for name in ("redis", "redis-cluster", "redis-sentinel"):
            assert f"COPY feature_repo/{name} feature_repo/{name}\n" in text
            assert f"!feature_repo/{name}" in ignored
