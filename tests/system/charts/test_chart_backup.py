"""Backups of the chart platform: what the pods get, who may be reached, and which volumes outlive the release."""

import json
import re
from typing import Any

import pytest
from support.rendering import containers, documents_of, pods, rendered, template

from beacon_core.platform.settings import ROOT

BACKUP, RESTORE = "beacon-backup", "beacon-restore"
S3, VOLUME = "backup-values.yaml", "backup-volume-values.yaml"
Document = dict[str, Any]


def named(values: str) -> dict[tuple[str, str], Document]:
    return {(each["kind"], each["metadata"]["name"]): each for each in rendered("platform", values)}


def spec_of(values: str, name: str) -> Document:
    spec: Document = named(values)["CronJob", name]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def variables(container: Document) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_nothing_of_it_is_there_by_default() -> None:
    assert not [name for kind, name in named("default-values.yaml") if name in {BACKUP, RESTORE, "beacon-backups"}]


def test_a_backup_dumps_by_the_servers_own_image_and_brings_the_rest_by_beacons() -> None:
    spec = spec_of(VOLUME, BACKUP)
    dump, backup = containers(spec)
    assert (dump["image"], backup["image"]) == ("postgres:15", "beacon-retraining:1")
    assert dump["command"][:2] == ["sh", "-c"]
    assert dump["command"][2] == (ROOT / "charts/platform/files/dump.sh").read_text()
    assert backup["command"] == ["python", "jobs/backup.py", "/backups", "--keep", "7", "--dumps", "/work"]
    given = variables(dump)
    tls = "sslmode=verify-full&sslrootcert=/etc/beacon-ca/ca.crt"
    assert given["BEACON_DATABASE"] == f"postgresql://beacon_owner@beacon-postgresql:5432/beacon?{tls}"
    assert given["MLFLOW_DATABASE"] == f"postgresql://beacon_mlflow@beacon-postgresql:5432/mlflow?{tls}"
    assert given["MLFLOW_PASSWORD"]["secretKeyRef"] == {"name": "beacon-database-mlflow", "key": "password"}
    # Beacon's container has no login to MLflow's database, and here only the one that reads MLflow.
    own = variables(backup)
    assert "MLFLOW_PASSWORD" not in own
    assert own["MLFLOW_TRACKING_USERNAME"] == "beacon-reader"
    assert own["MLFLOW_TRACKING_SERVER_CERT_PATH"] == "/etc/beacon-ca/ca.crt"
    assert own["BEACON_DATABASE_URL"] == f"postgresql+psycopg://beacon_owner@beacon-postgresql:5432/beacon?{tls}"


def test_a_restore_waits_for_a_person_and_says_which_backup() -> None:
    job = named(S3)["CronJob", RESTORE]["spec"]
    assert job["suspend"] is True
    assert named(S3)["CronJob", BACKUP]["spec"]["suspend"] is False
    fetch, databases, finish = containers(spec_of(S3, RESTORE))
    common = ["python", "jobs/restore.py", "s3://backups/beacon", "--dumps", "/work", "--step"]
    assert fetch["command"] == [*common, "fetch", "--backup", "20261201T002000Z", "--replace"]
    assert finish["command"] == [*common, "finish"]
    assert variables(databases)["REPLACE"] == "true"
    assert databases["command"][2] == (ROOT / "charts/platform/files/restore.sh").read_text()
    assert variables(containers(spec_of(VOLUME, RESTORE))[2])["MLFLOW_TRACKING_USERNAME"] == "beacon-writer"


@pytest.mark.parametrize("script", ["dump.sh", "restore.sh"])
def test_kubernetes_expands_nothing_in_a_script(script: str) -> None:
    """In a command $$ becomes $, and $(NAME) the value of a variable, as one drill on a cluster found."""
    text = (ROOT / "charts/platform/files" / script).read_text()
    assert "$$" not in text
    assert not re.findall(r"\$\([A-Z_]+\)", text)


def test_an_s3_has_a_secret_and_no_volume_and_a_volume_no_way_outside() -> None:
    for name in (BACKUP, RESTORE):
        for container in containers(spec_of(S3, name)):
            python = container["command"][0] == "python"
            assert container.get("envFrom", []) == (
                [{"secretRef": {"name": "beacon-backup", "optional": True}}] if python else []
            )
            assert "MLFLOW_DATABASE" not in variables(container)
            assert "BEACON_MLFLOW_URL" not in variables(container)
        assert "backups" not in {volume["name"] for volume in spec_of(S3, name)["volumes"]}
        assert "backups" in {volume["name"] for volume in spec_of(VOLUME, name)["volumes"]}
        outside = {
            values: [
                port["port"]
                for rule in named(values)["NetworkPolicy", name]["spec"]["egress"]
                for port in rule["ports"]
            ]
            for values in (S3, VOLUME)
        }
        assert {443, 9000} <= set(outside[S3])
        assert set(outside[VOLUME]) == {53, 5432, 5000}
        reached = {label for labels, _ in pods([named(S3)["CronJob", name]]) for label in labels if "reach" in label}
        assert reached == {"reach.beacon/postgresql"}
    assert ("PersistentVolumeClaim", "beacon-backups") not in named(S3)
    assert named(VOLUME)["PersistentVolumeClaim", "beacon-backups"]["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize(("values", "kept"), [("default-values.yaml", True), (VOLUME, True), (S3, False)])
def test_volumes_outlive_the_release_unless_the_values_say_otherwise(values: str, kept: bool) -> None:
    found = named(values)
    claims = [each for (kind, _), each in found.items() if kind == "PersistentVolumeClaim"]
    assert claims
    for claim in claims:
        assert (claim["metadata"].get("annotations") == {"helm.sh/resource-policy": "keep"}) is kept
    servers = [each for (kind, _), each in found.items() if kind == "StatefulSet"]
    assert len(servers) == 3
    for server in servers:
        policy = server["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert policy == {"whenDeleted": "Retain" if kept else "Delete", "whenScaled": "Retain"}
        # The claims have these labels, by which they are deleted by hand.
        assert server["spec"]["selector"]["matchLabels"]["app.kubernetes.io/part-of"] == "beacon"


def test_a_place_that_is_none_and_a_name_that_is_none_are_refused() -> None:
    for wrong in ("backup.to=/mnt", "backup.restore.name=newest", "backup.keep=0"):
        done = template("platform", "--values=charts/platform/ci/default-values.yaml", "--set", wrong)
        assert done.returncode != 0, wrong


def test_mlflows_database_is_migrated_before_an_upgrade_and_not_before_an_installation() -> None:
    def jobs(*more: str) -> dict[str, Document]:
        done = template("platform", "--values=charts/platform/ci/default-values.yaml", *more)
        assert done.returncode == 0, done.stderr
        return {each["metadata"]["name"]: each for each in documents_of(done.stdout) if each["kind"] == "Job"}

    assert jobs() == {}
    assert jobs("--is-upgrade", "--set=mlflow.migration.enabled=false") == {}
    (job,) = jobs("--is-upgrade").values()
    assert job["metadata"]["name"] == "beacon-mlflow-migration"
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][:2] == ["python", "jobs/migrate_mlflow.py"]
    assert json.dumps(variables(container)).count("beacon-database-") == 1
