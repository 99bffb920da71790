"""The stores of the prediction log: `global.log` reaches who logs in to the store, and nobody else."""

import json
from typing import Any

import pytest
from support.rendering import containers, documents_of, pods, template

READERS = ("inference", "drift-profiling", "retraining", "promotion", "feature-serving", "console")
LAKE = {
    "place": "s3://bucket/beacon",
    "catalogSecret": "catalog",
}
S3 = {"endpoint": "https://s3.example.com", "secret": "lake"}
NAMES = {"BEACON_LOG_STORES", "BEACON_LAKE", "BEACON_LAKE_CATALOG_URL", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"}


def render(chart: str, log: dict[str, Any]) -> Any:
    values = f"charts/{chart}/ci/default-values.yaml"
    return template(chart, "--values", values, f"--set-json=global={json.dumps({'log': log, 's3': S3})}")


@pytest.mark.parametrize("chart", READERS)
def test_who_logs_in_to_the_store_knows_the_lake_and_nobody_else_does(chart: str) -> None:
    done = render(chart, {"stores": "sql,lake", "lake": LAKE})
    assert done.returncode == 0, done.stderr
    found = [container for _, spec in pods(documents_of(done.stdout)) for container in containers(spec)]
    told = 0
    for container in found:
        names = {each["name"] for each in container.get("env", [])}
        assert names >= NAMES if "BEACON_DATABASE_URL" in names else not NAMES & names, container["name"]
        told += "BEACON_LAKE" in names
    assert told
    values = {each["name"]: each for container in found for each in container.get("env", [])}
    assert values["BEACON_LOG_STORES"]["value"] == "sql,lake"
    assert values["BEACON_LAKE_CATALOG_URL"]["valueFrom"]["secretKeyRef"] == {"name": "catalog", "key": "url"}


@pytest.mark.parametrize("chart", READERS)
def test_without_a_lake_nothing_is_told(chart: str) -> None:
    done = render(chart, {"stores": "sql", "lake": {"place": ""}})
    assert done.returncode == 0, done.stderr
    for _, spec in pods(documents_of(done.stdout)):
        for container in containers(spec):
            assert not NAMES & {each["name"] for each in container.get("env", [])}


@pytest.mark.parametrize(
    ("log", "rule"),
    [
        ({"stores": "lake"}, "global.log.lake.place"),
        ({"stores": "sql,lake", "lake": {"place": "s3://bucket/beacon"}}, "global.log.lake.catalogSecret"),
    ],
)
def test_a_lake_without_a_place_or_a_catalog_is_refused(log: dict[str, Any], rule: str) -> None:
    done = render("inference", log)
    assert done.returncode != 0
    assert rule in done.stderr
