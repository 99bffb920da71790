"""Shared files: with the example of docs no pod mounts a shared volume, and only who needs S3 reaches it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.installations import Document, key, render
from support.rendering import containers, pods, template
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import told_all

PAGE = ROOT / "docs" / "how-to" / "shared-files.md"
PLACE = "s3://my-bucket/beacon"
S3 = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
IN_S3 = {"retraining", "retention", "feature-serving", "materialize"}
PACKAGES_FROM_MLFLOW = {"inference", "promotion", "drift-profiling", "scoring"}
EVERYTHING: Document = {
    "platform": {"backup": {"enabled": True, "to": "s3://my-backups/beacon"}},
    "retraining": {"scoring": {"enabled": True, "input": "lake:", "out": "postgresql://db/scores", "table": "scores"}},
    "feature-serving": {"replicas": 2},
}


def example() -> Document:
    """The values that docs show."""
    blocks = re.findall(r"``` yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith("# files.yaml")]
    values: Document = yaml.safe_load(found)["global"]
    return values


def installed(folder: Path, given: Document, more: Document | None = None) -> list[Document]:
    told = told_all(load_product(Settings().product))
    return render("beacon", told | (more or {}) | {"global": told["global"] | given}, folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return installed(tmp_path_factory.mktemp("files"), example(), EVERYTHING)


def variables(container: Document) -> dict[str, Any]:
    names = [each["name"] for each in container.get("env", [])]
    assert len(names) == len(set(names)), f"{container['name']}: {sorted(names)}"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def of(documents: list[Document], name: str) -> list[Document]:
    return [spec for labels, spec in pods(documents) if labels["app.kubernetes.io/name"] == name]


def claims(documents: list[Document]) -> set[tuple[str, str]]:
    """The component and the claim of every volume that a pod mounts by name."""
    return {
        (labels["app.kubernetes.io/name"], volume["persistentVolumeClaim"]["claimName"])
        for labels, spec in pods(documents)
        for volume in spec.get("volumes", [])
        if "persistentVolumeClaim" in volume
    }


def test_no_pod_mounts_a_shared_volume_and_none_is_claimed(found: list[Document]) -> None:
    assert claims(found) == set()
    assert [key(each) for each in found if each["kind"] == "PersistentVolumeClaim"] == []
    own = [claim for each in found if each["kind"] == "StatefulSet" for claim in each["spec"]["volumeClaimTemplates"]]
    assert own, "each store has a volume of its own"
    assert {mode for claim in own for mode in claim["spec"]["accessModes"]} == {"ReadWriteOnce"}
    assert "beacon-files" not in json.dumps(found)


def test_without_the_value_the_volume_is_as_before_and_nothing_is_read_write_many(tmp_path: Path) -> None:
    documents = installed(tmp_path, {})
    (claim,) = [each for each in documents if each["kind"] == "PersistentVolumeClaim"]
    assert (claim["metadata"]["name"], claim["spec"]["accessModes"]) == ("beacon-files", ["ReadWriteOnce"])
    mounting = {name for name, claim in claims(documents) if claim == "beacon-files"}
    assert mounting == {*IN_S3, "inference", "promotion", "drift-profiling"}
    text = json.dumps([each for each in documents if each["kind"] != "ConfigMap"])
    assert "ReadWriteMany" not in text
    assert "BEACON_FILES" not in text


def test_another_installation_claims_its_own_volume_everywhere(tmp_path: Path) -> None:
    told = told_all(load_product(Settings().product))
    scoring = {"retraining": {"scoring": {"enabled": True, "input": "lake:"}}}
    documents = render("housing", told | scoring, tmp_path)
    assert {claim for _, claim in claims(documents)} == {"housing-beacon-files"}


def test_each_installation_has_a_place_by_its_name(tmp_path: Path) -> None:
    told = told_all(load_product(Settings().product))
    given = told | {"global": told["global"] | {"files": {"place": "s3://my-bucket/$(name)/"}}}
    for release, name in (("beacon", "beacon"), ("housing", "housing-beacon")):
        documents = render(release, given, tmp_path)
        places = [variables(each).get("BEACON_FILES") for _, spec in pods(documents) for each in containers(spec)]
        assert {place for place in places if place} == {f"s3://my-bucket/{name}"}


def test_feature_serving_runs_twice_without_a_volume(found: list[Document]) -> None:
    (deployment,) = [
        each for each in found if key(each)[2] == "beacon-feature-serving" and each["kind"] == "Deployment"
    ]
    spec = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["replicas"] == 2
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["home"] == {"name": "home", "emptyDir": {"sizeLimit": "64Mi"}}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert variables(spec["containers"][0])["BEACON_FILES"] == PLACE


def test_who_reads_and_writes_the_files_knows_s3_and_nobody_else_does(found: list[Document]) -> None:
    knows: set[str] = set()
    for labels, spec in pods(found):
        name = labels["app.kubernetes.io/name"]
        for container in containers(spec):
            given = variables(container)
            if S3 & set(given):
                assert set(given) >= S3 | {"BEACON_FILES"}, container["name"]
                assert given["AWS_ENDPOINT_URL"] == "https://minio.example.com"
                assert given["AWS_ACCESS_KEY_ID"]["secretKeyRef"] == {"name": "beacon-s3", "key": "access-key-id"}
                knows.add(name)
            assert "BEACON_DVC_REMOTE" not in given, "it is below the place"
    assert knows == IN_S3
    for name in ("retraining", "retention"):
        for spec in of(found, name):
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            assert volumes["files"] == {"name": "files", "emptyDir": {"sizeLimit": "8Gi"}}


def test_packages_come_from_mlflow(found: list[Document]) -> None:
    (fetch,) = [each for spec in of(found, "inference") for each in containers(spec) if each["name"] == "fetch-model"]
    assert fetch["command"] == ["python", "jobs/fetch_model.py"]
    for name in PACKAGES_FROM_MLFLOW:
        for labels, spec in pods(found):
            if labels["app.kubernetes.io/name"] == name:
                assert labels["reach.beacon/mlflow"] == "true", name
                asking = [each for each in containers(spec) if "BEACON_MLFLOW_URL" in variables(each)]
                assert asking, name
                assert all("MLFLOW_TRACKING_PASSWORD" in variables(each) for each in asking), name
    (spec,) = of(found, "drift-profiling")
    given = variables(spec["containers"][0])
    assert given["BEACON_FILES"] == PLACE
    assert given["MLFLOW_TRACKING_USERNAME"] == "beacon-reader"
    assert {each["name"]: each for each in of(found, "scoring")[0]["initContainers"]}["package"]["command"] == [
        *("python", "jobs/fetch_model.py"),
    ]


def test_promotion_may_make_pods_of_what_inference_has(found: list[Document]) -> None:
    policies = json.dumps([each for each in found if each["kind"].startswith("ValidatingAdmissionPolicy")])
    assert "beacon-files" not in policies


def egress(documents: list[Document], name: str) -> list[Document]:
    (policy,) = [each for each in documents if each["kind"] == "NetworkPolicy" and key(each)[2] == f"beacon-{name}"]
    rules: list[Document] = policy["spec"]["egress"]
    return rules


def test_an_s3_on_another_port_is_reached_at_its_addresses(tmp_path: Path) -> None:
    s3 = {"endpoint": "http://10.1.2.3:9000", "secret": "beacon-s3", "cidrs": ["10.1.0.0/16"]}
    documents = installed(tmp_path, {"files": {"place": PLACE}, "s3": s3})
    rule = {"ports": [{"port": 9000}], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}
    for name in IN_S3:
        assert rule in egress(documents, name), name
    for name in ("inference", "promotion", "drift-profiling", "console"):
        assert rule not in egress(documents, name), name


def test_a_role_of_the_service_account_and_the_own_authorities(tmp_path: Path) -> None:
    given = {"files": {"place": PLACE}, "s3": {"ca": True}, "tls": {"ca": {"configMap": "my-ca"}}}
    documents = installed(tmp_path, given)
    for name in IN_S3:
        for spec in of(documents, name):
            for container in containers(spec):
                given = variables(container)
                if "BEACON_FILES" in given:
                    assert given["AWS_CA_BUNDLE"] == "/etc/beacon-ca/ca.crt"
                    assert "AWS_ACCESS_KEY_ID" not in given


def test_with_a_lake_s3_is_told_once(tmp_path: Path) -> None:
    lake = {"stores": "sql,lake", "lake": {"place": "s3://my-bucket/lake", "catalogSecret": "catalog"}}
    documents = installed(tmp_path, example() | {"log": lake})
    for _, spec in pods(documents):
        for container in containers(spec):
            given = variables(container)  # none twice
            if "BEACON_LAKE" in given:
                assert set(given) >= S3


REFUSED = [
    ({"files": {"place": "my-bucket/beacon"}}, "global.files.place"),
    ({"files": {"place": "s3://My_Bucket/beacon"}}, "global.files.place"),
    ({"files": {"place": "s3://my-bucket/a*b"}}, "global.files.place"),
    ({"files": {"place": PLACE}, "s3": {"ca": True}}, "global.s3.ca"),
    ({"log": {"stores": "sql,lake", "lake": {"place": PLACE, "secret": "x"}}}, "global.log.lake.secret"),
]


@pytest.mark.parametrize(("given", "field"), REFUSED)
def test_values_that_cannot_be_are_refused_by_name(given: Document, field: str) -> None:
    values = "charts/retraining/ci/default-values.yaml"
    done = template("retraining", "--values", values, f"--set-json=global={json.dumps(given)}")
    assert done.returncode != 0
    assert field in done.stderr


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"files": {"place": "my-bucket"}}, "/global/files/place"),
        ({"files": {"url": PLACE}}, "'url'"),
        ({"s3": {"endpoint": "minio:9000"}}, "/global/s3/endpoint"),
        ({"s3": {"cidrs": ["minio"]}}, "/global/s3/cidrs"),
    ],
)
def test_the_umbrella_says_which_value_it_does_not_take(given: Document, field: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as raised:
        installed(tmp_path, given)
    assert field in str(raised.value)


def test_scores_are_not_written_where_nothing_keeps_them(tmp_path: Path) -> None:
    scoring = {"retraining": {"scoring": {"enabled": True, "input": "lake:"}}}
    with pytest.raises(AssertionError, match=re.escape("scoring.out: with global.files.place no volume keeps a file")):
        installed(tmp_path, {"files": {"place": PLACE}}, scoring)
