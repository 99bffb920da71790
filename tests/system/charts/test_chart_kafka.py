"""Kafka as a store of the log, by the extension points that every chart has."""

import json
from typing import Any

import pytest
from support.rendering import containers, documents_of, pods, template

LAKE = {"place": "s3://bucket/beacon", "catalogSecret": "catalog"}
EGRESS = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}],
    "ports": [{"port": 9093}],
}
EXTENSIONS = {
    "extraEnv": [
        {"name": "BEACON_KAFKA_BROKERS", "value": "kafka.kafka:9093"},
        {"name": "BEACON_KAFKA_TOPIC", "value": "beacon.predictions"},
        {"name": "BEACON_KAFKA_FILE", "value": "/etc/beacon/kafka/kafka.properties"},
    ],
    "extraVolumes": [{"name": "kafka", "secret": {"secretName": "beacon-kafka"}}],
    "extraVolumeMounts": [{"name": "kafka", "mountPath": "/etc/beacon/kafka", "readOnly": True}],
}


def render(chart: str, log: dict[str, Any], **values: Any) -> Any:
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    file = f"charts/{chart}/ci/default-values.yaml"
    return template(chart, "--values", file, f"--set-json=global={json.dumps({'log': log})}", *given)


def test_the_logs_process_knows_brokers_topic_and_secret_and_may_reach_them() -> None:
    done = render(
        "inference",
        {"stores": "kafka", "read": "lake", "lake": LAKE},
        **EXTENSIONS,
        **{"networkPolicy.egress": [EGRESS]},
    )
    assert done.returncode == 0, done.stderr
    documents = documents_of(done.stdout)
    [(process, spec)] = [
        (container, spec)
        for _, spec in pods(documents)
        for container in containers(spec)
        if container["name"] == "prediction-log"
    ]
    values = {each["name"]: each.get("value") for each in process["env"]}
    assert (values["BEACON_LOG_STORES"], values["BEACON_LOG_READ"]) == ("kafka", "lake")
    assert {each["name"]: each["value"] for each in EXTENSIONS["extraEnv"]}.items() <= values.items()
    assert EXTENSIONS["extraVolumeMounts"][0] in process["volumeMounts"]
    assert EXTENSIONS["extraVolumes"][0] in spec["volumes"]
    policies = [one for one in documents if one["kind"] == "NetworkPolicy"]
    assert any(EGRESS in policy["spec"].get("egress", []) for policy in policies)


@pytest.mark.parametrize("chart", ["drift-profiling", "retraining", "promotion", "console", "feature-serving"])
def test_who_reads_the_log_knows_the_store_that_is_read(chart: str) -> None:
    done = render(chart, {"stores": "kafka", "read": "lake", "lake": LAKE})
    assert done.returncode == 0, done.stderr
    told = [
        {each["name"]: each.get("value") for each in container.get("env", [])}
        for _, spec in pods(documents_of(done.stdout))
        for container in containers(spec)
    ]
    assert any(values.get("BEACON_LOG_READ") == "lake" for values in told)


def test_a_lake_that_is_read_has_a_place() -> None:
    done = render("inference", {"stores": "sql,kafka", "read": "lake"})
    assert done.returncode != 0
    assert "global.log.lake.place" in done.stderr
