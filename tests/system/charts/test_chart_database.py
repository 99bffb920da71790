"""Each pod logs in to the database as a role of its own, and knows no other password of it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text
from support.postgres import postgres
from support.rendering import containers, pods, rendered, template
from support.waiting import until

from beacon_core.commands.cluster_secrets import DATABASE_SECRETS, SECRET
from beacon_core.data.database import DatabaseUnavailableError, migrate_at
from beacon_core.data.roles import GRANTS, LOGINS, MLFLOW, OWNER, short_name
from beacon_core.platform.settings import ROOT
from tools.deploy import RELEASES

OWN = "postgresql-password"
"""The key of the superuser's password."""


def documents_of(chart: str, *settings: str) -> list[dict[str, Any]]:
    values = f"--values=charts/{chart}/ci/default-values.yaml"
    done = template(chart, values, *(part for each in settings for part in ("--set", each)))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def passwords(container: dict[str, Any]) -> set[tuple[str, str]]:
    """The Secrets and keys that a container takes a password of the database from."""
    found = [variable.get("valueFrom", {}).get("secretKeyRef", {}) for variable in container.get("env", [])]
    pairs = {(each["name"], each["key"]) for each in found if each}
    return {(name, key) for name, key in pairs if name in DATABASE_SECRETS or key == OWN}


def user(container: dict[str, Any]) -> str | None:
    """Whom a container logs in as, by the URL that it gets."""
    urls = [
        variable["value"]
        for variable in container.get("env", [])
        if variable["name"] in {"BEACON_DATABASE_URL", "MLFLOW_BACKEND_STORE_URI"}
    ]
    return str(urls[0]).partition("://")[2].partition("@")[0] if urls else None


def test_each_pod_holds_its_own_password_of_the_database_alone() -> None:
    users: dict[str, str] = {}
    for chart in RELEASES:
        for labels, spec in pods(rendered(chart, "default-values.yaml")):
            name = labels["app.kubernetes.io/name"]
            held = set().union(*(passwords(container) for container in containers(spec)))
            mounted = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
            assert not mounted & {SECRET, *DATABASE_SECRETS}, name
            if name == "postgresql":  # the server, which has them all
                assert held == {(secret, "password") for secret in DATABASE_SECRETS} | {(SECRET, OWN)}
                continue
            logins = {login for container in containers(spec) if (login := user(container)) is not None}
            assert held == {(f"beacon-database-{short_name(login)}", "password") for login in logins}, name
            assert len(logins) <= 1, name
            users |= dict.fromkeys([name], *logins) if logins else {}
    own = {short_name(role): role for role in GRANTS if role != "beacon_feature_serving"}
    own["inference"] = own.pop("prediction-log")  # whose pod it is a container of
    hooks = {name: OWNER for name in users if name.endswith("-migration")}
    assert len(hooks) == 4
    assert users == own | hooks | {"materialize": "beacon_feature_serving", "mlflow": MLFLOW}


def test_inference_itself_has_no_login_to_the_database() -> None:
    for labels, spec in pods(rendered("inference", "everything-values.yaml")):
        if labels["app.kubernetes.io/name"] == "inference":
            has = {each["name"]: (passwords(each), user(each)) for each in containers(spec)}
            assert has["prediction-log"] == ({("beacon-database-prediction-log", "password")}, "beacon_prediction_log")
            assert {name for name, (held, login) in has.items() if held or login} == {"prediction-log"}


def test_the_secrets_of_the_charts_are_those_that_deploy_makes() -> None:
    assert set(DATABASE_SECRETS) == {f"beacon-database-{short_name(role)}" for role in LOGINS}
    values = yaml.safe_load((ROOT / "charts/platform/values.yaml").read_text(encoding="utf-8"))["postgresql"]["roles"]
    names = [short_name(role) for role in LOGINS]
    assert values == {name: {"name": f"$(name)-database-{name}", "key": "password"} for name in names}


@pytest.mark.parametrize("chart", sorted({*RELEASES} - {"platform", "monitoring"}))
def test_one_user_may_do_everything_by_values(chart: str) -> None:
    one = ["user=all", "secret.name=one", "secret.key=word"]
    given = [f"database.{each}" for each in one]
    if chart not in {"console", "feature-serving"}:
        given += [f"database.owner.{each}" for each in one]
    if chart == "retraining":
        given += [f"database.retention.{each}" for each in one]
    for _, spec in pods(documents_of(chart, *given)):
        for container in containers(spec):
            assert user(container) in {None, "all"}
            assert not passwords(container)


def test_the_container_beside_the_server_makes_the_roles(tmp_path: Path) -> None:
    """Its script as the chart renders it, with a real server, and passwords asked for."""
    documents = rendered("platform", "default-values.yaml")
    ((_, spec),) = [pair for pair in pods(documents) if pair[0]["app.kubernetes.io/name"] == "postgresql"]
    (container,) = [each for each in containers(spec) if each["name"] == "roles"]
    (script,) = [each["data"] for each in documents if each["metadata"]["name"] == "beacon-postgresql-roles"]
    (tmp_path / "roles.sql").write_text(script["roles.sql"], encoding="utf-8")
    made = tmp_path / "made"
    arguments = container["args"][0].replace("/roles/", f"{tmp_path}/").replace("/tmp/roles", str(made))
    command = [*container["command"], arguments]
    variables = {each["name"]: each.get("value", f"word of {each['name']}") for each in container["env"]}
    with postgres() as cluster:
        cluster.query(f"ALTER ROLE beacon PASSWORD '{variables['PGPASSWORD']}'")
        environment = variables | {"PATH": f"{cluster.programs}:{os.environ['PATH']}", "PGPORT": str(cluster.port)}
        with cluster.asking_for_passwords(), (tmp_path / "log").open("wb") as log:
            running = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                until(made.exists, "the roles are made", 60)
                assert (tmp_path / "log").read_text() == "made\n"
                running.terminate()
                assert running.wait(10) == 0
            finally:
                running.kill()
            word = f"word of {short_name(OWNER).upper()}_PASSWORD"
            url = cluster.url_of(OWNER).replace(f"{OWNER}@", f"{OWNER}:{word.replace(' ', '%20')}@")
            migrate_at(url)
            with pytest.raises(DatabaseUnavailableError, match="no password supplied"):
                migrate_at(cluster.url_of(OWNER))
        engine = create_engine(cluster.url_of("beacon"))
        with engine.connect() as connection:
            query = "SELECT has_table_privilege('beacon_prediction_log', 'predictions', 'INSERT')"
            assert connection.scalar(text(query)) is True
        engine.dispose()


def test_the_container_makes_the_roles_of_other_products_when_their_passwords_come(tmp_path: Path) -> None:
    """And again when one changes: a release that comes later has its Secrets later."""
    documents = documents_of("platform", "products[0].name=homes-beacon")
    ((_, spec),) = [pair for pair in pods(documents) if pair[0]["app.kubernetes.io/name"] == "postgresql"]
    (container,) = [each for each in containers(spec) if each["name"] == "roles"]
    (script,) = [each["data"] for each in documents if each["metadata"]["name"] == "beacon-postgresql-roles"]
    (tmp_path / "roles.sql").write_text(script["roles.sql"], encoding="utf-8")
    (products,) = [each for each in spec["volumes"] if each["name"] == "products"]
    paths = [item["path"] for each in products["projected"]["sources"] for item in each["secret"]["items"]]
    assert len(paths) == len(LOGINS) - 1
    made = tmp_path / "made"
    arguments = container["args"][0].replace("/roles/", f"{tmp_path}/").replace("/tmp/roles", str(made))
    arguments = arguments.replace("/products/", f"{tmp_path}/products/").replace("sleep 15", "sleep 0.2")
    variables = {each["name"]: each.get("value", f"word of {each['name']}") for each in container["env"]}

    def give(word: str) -> None:
        for path in paths:
            file = tmp_path / "products" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{word} of {file.name}", encoding="utf-8")

    def answers(user: str, database: str, word: str) -> bool:
        url = cluster.url_of(user, database).replace(f"{user}@", f"{user}:{word.replace(' ', '%20')}@")
        try:
            migrate_at(url)
        except DatabaseUnavailableError:
            return False
        return True

    with postgres() as cluster:
        cluster.query(f"ALTER ROLE beacon PASSWORD '{variables['PGPASSWORD']}'")
        environment = variables | {"PATH": f"{cluster.programs}:{os.environ['PATH']}", "PGPORT": str(cluster.port)}
        with cluster.asking_for_passwords(), (tmp_path / "log").open("wb") as log:
            running = subprocess.Popen([*container["command"], arguments], env=environment, stdout=log, stderr=log)
            try:
                until(made.exists, "the platform's own roles are made", 60)
                own = "word of OWNER_PASSWORD"
                for word in ("first", "second"):
                    give(word)
                    theirs = f"{word} of OWNER_PASSWORD"
                    until(lambda word=theirs: answers("homes_beacon_owner", "homes_beacon", word), "their roles", 60)
                    # The platform's own passwords are not theirs, nor the other way round.
                    assert answers(OWNER, "beacon", own)
                    assert not answers(OWNER, "beacon", theirs)
                    assert not answers("homes_beacon_owner", "homes_beacon", own)
                assert not answers("homes_beacon_owner", "homes_beacon", "first of OWNER_PASSWORD")
                running.terminate()
                assert running.wait(10) == 0
            finally:
                running.kill()
