"""Kafka as a store of the log: `global.log.kafka` reaches who ships to the topic and who brings it into the lake."""

import json
from typing import Any

import pytest
import yaml
from support.rendering import containers, documents_of, pods, template

LAKE = {"place": "s3://bucket/beacon", "catalogSecret": "catalog"}
KAFKA = {"brokers": ["kafka-1:9093", "kafka-2:9094"], "topic": "beacon.predictions", "secret": "beacon-kafka"}
LOG = {"stores": "kafka", "read": "lake", "lake": LAKE, "kafka": KAFKA}
BY_CHART = {"inference": ("prediction-log", "producer.properties"), "kafka-to-lake": (None, "consumer.properties")}
"""Who of a chart's containers knows Kafka, and by which key of the Secret."""


def render(chart: str, log: dict[str, Any], *arguments: str) -> Any:
    file = f"charts/{chart}/ci/default-values.yaml"
    return template(chart, "--values", file, f"--set-json=global={json.dumps({'log': log})}", *arguments)


@pytest.mark.parametrize("chart", BY_CHART)
def test_who_needs_kafka_knows_brokers_topic_and_secret_and_nobody_else_does(chart: str) -> None:
    done = render(chart, LOG)
    assert done.returncode == 0, done.stderr
    name, key = BY_CHART[chart]
    found = [
        (container, spec)
        for _, spec in pods(documents_of(done.stdout))
        for container in containers(spec)
        if any(each["name"].startswith("BEACON_KAFKA") for each in container.get("env", []))
    ]
    [(container, spec)] = found
    assert container["name"] == (name or chart)
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert (values["BEACON_LOG_STORES"], values["BEACON_LOG_READ"]) == ("kafka", "lake")
    assert values["BEACON_KAFKA_BROKERS"] == "kafka-1:9093,kafka-2:9094"
    assert values["BEACON_KAFKA_TOPIC"] == "beacon.predictions"
    assert values["BEACON_KAFKA_FILE"] == f"/etc/beacon-kafka/{key}"
    assert {"name": "kafka", "mountPath": "/etc/beacon-kafka", "readOnly": True} in container["volumeMounts"]
    assert {"name": "kafka", "secret": {"secretName": "beacon-kafka", "defaultMode": 0o440}} in spec["volumes"]


@pytest.mark.parametrize("chart", BY_CHART)
def test_who_needs_kafka_may_reach_the_brokers_and_nobody_else_may(chart: str) -> None:
    log = LOG | {"kafka": KAFKA | {"ports": [9095], "cidrs": ["10.1.0.0/16"]}}
    done = render(chart, log)
    assert done.returncode == 0, done.stderr
    rule = {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": n} for n in (9093, 9094, 9095)]}
    policies = [one for one in documents_of(done.stdout) if one["kind"] == "NetworkPolicy"]
    assert [one["metadata"]["name"] for one in policies if rule in one["spec"]["egress"]] == [f"beacon-{chart}"]
    anywhere = documents_of(render(chart, LOG).stdout)
    (own,) = [
        one["spec"]
        for one in anywhere
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == f"beacon-{chart}"
    ]
    (rule,) = [one for one in own["egress"] if {"port": 9093} in one["ports"]]
    assert {"namespaceSelector": {}} in rule["to"], "brokers of this cluster"


@pytest.mark.parametrize(
    ("chart", "log", "told"),
    [
        ("inference", LOG | {"kafka": {}}, "global.log.kafka.brokers: some brokers of Kafka, HOST:PORT"),
        (
            "inference",
            LOG | {"kafka": KAFKA | {"topic": ""}},
            "global.log.kafka.topic: the topic of the prediction log",
        ),
        ("kafka-to-lake", LOG | {"kafka": {}}, "global.log.kafka.brokers"),
        ("kafka-to-lake", {"stores": "sql", "kafka": KAFKA, "lake": {"place": ""}}, "global.log.lake.place"),
    ],
)
def test_what_is_missing_is_named(chart: str, log: dict[str, Any], told: str) -> None:
    done = render(chart, log)
    assert done.returncode != 0
    assert told in done.stderr


def test_a_broker_without_a_port_is_refused_by_the_umbrellas_schema() -> None:
    log = f"--set-json=global.log={json.dumps(LOG | {'kafka': KAFKA | {'brokers': ['kafka-1']}})}"
    done = template("beacon", "--values=charts/beacon/ci/default-values.yaml", log)
    assert done.returncode != 0
    assert "brokers" in done.stderr


def test_the_consumer_is_one_pod_which_is_never_two_and_keeps_its_checkpoint() -> None:
    documents = documents_of(render("kafka-to-lake", LOG).stdout)
    (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (claim,) = [one for one in documents if one["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    pod = deployment["spec"]["template"]["spec"]
    (home,) = [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert home["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (container,) = pod["containers"]
    assert {"name": home["name"], "mountPath": "/var/lib/beacon"} in container["volumeMounts"]
    assert {probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {
        "startupProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    told = {each["name"] for each in container["env"]}
    assert not [name for name in told if "DATABASE" in name], "it has no login to the store"


def test_the_umbrella_leaves_the_consumer_out_unless_it_is_asked_for_and_gives_it_the_rest() -> None:
    def consumers(*arguments: str) -> list[str]:
        log = f"--set-json=global.log={json.dumps(LOG)}"
        done = template("beacon", "--values=charts/beacon/ci/default-values.yaml", log, *arguments)
        assert done.returncode == 0, done.stderr
        named = [one["metadata"]["name"] for one in documents_of(done.stdout) if one["kind"] == "Deployment"]
        return [name for name in named if "kafka" in name]

    assert consumers() == []
    assert consumers("--set=install.kafka-to-lake=true") == ["beacon-kafka-to-lake"]


@pytest.mark.parametrize("stores", ["kafka", "sql,kafka", "lake,kafka", "sql"])
def test_the_consumer_is_scraped_where_the_lake_is_filled_by_it(stores: str) -> None:
    log = LOG | {"stores": stores}
    for delivery in ("bundled", "operator"):
        done = render("monitoring", log, f"--set=delivery={delivery}")
        assert done.returncode == 0, done.stderr
        assert ("beacon-kafka-to-lake" in done.stdout) is (stores in {"kafka", "sql,kafka"}), delivery
    documents = documents_of(render("monitoring", log).stdout)
    (config,) = [one["data"]["prometheus.yml"] for one in documents if "prometheus.yml" in one.get("data", {})]
    jobs = {job["job_name"]: job for job in yaml.safe_load(config)["scrape_configs"]}
    if stores == "kafka":
        assert jobs["kafka-to-lake"]["dns_sd_configs"][0]["port"] == 9095


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
