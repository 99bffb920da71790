"""`global.engine`: the jobs that read the log run on Spark, in its image and by its settings; nothing else changes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.installations import Document, render
from support.products import SPEC
from support.rendering import containers, pods, template

from beacon_core.platform import settings
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, SettingsError, load_settings
from beacon_spark.options import options_of
from tools.product_values import told_all

PAGE = ROOT / "docs" / "how-to" / "spark.md"
LAKE = {"place": "s3://my-bucket/beacon", "catalogSecret": "catalog"}
LOG = {"stores": "lake,sql", "lake": LAKE}
ON_SPARK = {"drift-profiling": "drift-profiling", "retraining": "retraining", "scoring": "scoring"}
"""Components whose jobs run on the engine, and their containers that do."""
SCORING = {"retraining": {"scoring": {"enabled": True, "input": "lake:"}}}
OF_SPARK = {"BEACON_ENGINE", "BEACON_SPARK_MASTER", "BEACON_SPARK_CONF", "SPARK_LOCAL_HOSTNAME"}
OPTIONS = "/etc/beacon-spark"


def examples() -> list[Document]:
    """The values that docs show, one for each place of Spark; all but the first go on top of it."""
    blocks = re.findall(r"``` yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    first, *others = [yaml.safe_load(block) for block in blocks if block.startswith("global:")]
    return [first, *({"global": first["global"] | other.pop("global")} | other for other in others)]


def installed(folder: Path, given: Document, more: Document | None = None) -> list[Document]:
    told = told_all(load_product(SPEC))
    return render("beacon", told | (more or {}) | {"global": told["global"] | given}, folder)


def single(chart: str, given: Document, *arguments: str) -> Any:
    """One chart by itself."""
    values = f"charts/{chart}/ci/default-values.yaml"
    return template(chart, "--values", values, f"--set-json=global={json.dumps(given)}", *arguments)


def variables(container: Document) -> dict[str, Any]:
    names = [each["name"] for each in container.get("env", [])]
    assert len(names) == len(set(names)), f"{container['name']}: {sorted(names)}"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def jobs(documents: list[Document]) -> list[tuple[str, Document, Document]]:
    """The component, the pod's spec and the container of every job that runs on Spark."""
    return [
        (labels["app.kubernetes.io/name"], spec, container)
        for labels, spec in pods(documents)
        for container in containers(spec)
        if "BEACON_ENGINE" in variables(container)
    ]


def options_file(documents: list[Document], spec: Document) -> str:
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "spark-options"]
    (found,) = [one for one in documents if one["metadata"]["name"] == volume["configMap"]["name"]]
    text: str = found["data"]["spark.conf"]
    return text


def told_of_spark(container: Document) -> Document:
    variables_of_spark = {name: value for name, value in variables(container).items() if name in OF_SPARK}
    return variables_of_spark | {name: container[name] for name in ("image", "imagePullPolicy", "resources")}


def settings_of(container: Document, **changed: str) -> settings.Settings:
    """What the program makes of the variables that the template names."""
    told = {name: value for name, value in variables(container).items() if isinstance(value, str)}
    kept = {name: value for name, value in told.items() if name.startswith("BEACON_") and name != "BEACON_PRODUCT"}
    return load_settings(kept | changed)


@pytest.mark.parametrize("given", examples(), ids=["in the pod", "a Spark of your own", "on Kubernetes"])
def test_the_jobs_that_read_the_log_run_on_spark_as_docs_show_it(given: Document, tmp_path: Path) -> None:
    more = {name: SCORING.get(name, {}) | given.get(name, {}) for name in SCORING.keys() | given.keys() - {"global"}}
    documents = installed(tmp_path, given["global"], more)
    found = jobs(documents)
    assert {(name, container["name"]) for name, _, container in found} == set(ON_SPARK.items())
    assert len(found) == len(ON_SPARK) + 2, "retraining has two CronJobs and a first run"
    for _, spec, container in found:
        images = {one["image"] for one in containers(spec)}
        assert images == {"beacon-spark:0.1.0"}
        assert {"name": "spark-options", "mountPath": OPTIONS, "readOnly": True} in container["volumeMounts"]
        conf = tmp_path / "spark.conf"
        conf.write_text(options_file(documents, spec))
        options = options_of(settings_of(container, BEACON_SPARK_CONF=str(conf)))
        spark = given["global"].get("spark", {})
        assert options["spark.master"] == spark.get("master", "local[2]")
        assert options["spark.driver.memory"] == spark.get("driverMemory", "1g")
        assert spark.get("conf", {}).items() <= options.items()
        assert ("spark.driver.port" in options) is ("SPARK_LOCAL_HOSTNAME" in variables(container))
        assert container["resources"]["limits"]["memory"] != "1536Mi"


def test_without_it_nothing_of_spark_is_there(tmp_path: Path) -> None:
    for given in ({}, {"log": LOG, "spark": {"master": "yarn"}}):
        documents = installed(tmp_path, given, SCORING)
        assert jobs(documents) == []
        assert "spark" not in json.dumps(documents).lower()


def test_a_chart_by_itself_gives_what_it_gives_in_the_umbrella(tmp_path: Path) -> None:
    """The charts' own defaults are those of the umbrella's values."""
    given = {"engine": "spark", "log": LOG}
    umbrella = {name: told_of_spark(container) for name, _, container in jobs(installed(tmp_path, given))}
    for chart in ("drift-profiling", "retraining"):
        done = single(chart, given, "--set=image.tag=")
        assert done.returncode == 0, done.stderr
        documents = [each for each in yaml.safe_load_all(done.stdout) if each]
        _, spec, container = jobs(documents)[0]
        assert told_of_spark(container) == umbrella[chart]
        assert options_file(documents, spec).splitlines() == ["spark.driver.memory 1g"]


@pytest.mark.parametrize(
    ("stores", "read"),
    [
        ("sql", ""), ("lake", ""), ("lake,sql", ""), ("sql,lake", ""), ("lake,sql", "sql"), ("sql,lake", "lake"),
        ("sql,kafka", ""), ("sql,kafka", "lake"), ("kafka", "lake"),
    ],
)  # fmt: skip
def test_a_log_that_spark_cannot_read_is_refused_by_the_rule_of_the_settings(stores: str, read: str) -> None:
    given = {"BEACON_LAKE": "/lake", "BEACON_LOG_STORES": stores} | ({"BEACON_LOG_READ": read} if read else {})
    given |= {"BEACON_KAFKA_BROKERS": "kafka:9092", "BEACON_KAFKA_TOPIC": "log"} if "kafka" in stores else {}
    load_settings(given)
    try:
        load_settings(given | {"BEACON_ENGINE": "spark"})
        refused = False
    except SettingsError:
        refused = True
    for chart in ("drift-profiling", "retraining"):
        done = single(chart, {"engine": "spark", "log": {"stores": stores, "read": read, "lake": LAKE}})
        assert (done.returncode != 0) is refused, done.stderr
        assert ("global.engine: spark reads the log in the lake" in done.stderr) is refused


def test_an_engine_that_there_is_not_is_refused() -> None:
    done = single("drift-profiling", {"engine": "flink", "log": LOG})
    assert "global.engine: must be local or spark, and is flink" in done.stderr


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"engine": "flink"}, "/global/engine"),
        ({"spark": {"master": "mesos://host:1"}}, "/global/spark/master"),
        ({"spark": {"master": "local[0]"}}, "/global/spark/master"),
        ({"spark": {"driverMemory": "much"}}, "/global/spark/driverMemory"),
        ({"spark": {"conf": {"driver.memory": "1g"}}}, "driver.memory"),
        ({"spark": {"conf": {"spark.master": "yarn"}}}, "spark.master"),
        ({"spark": {"conf": {"spark.a": "1\nspark.b 2"}}}, "/global/spark/conf"),
        ({"spark": {"cores": 2}}, "'cores'"),
    ],
)
def test_the_umbrella_says_which_value_it_does_not_take(given: Document, field: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as raised:
        installed(tmp_path, given)
    assert field in str(raised.value)


def test_the_values_of_shards_are_refused_by_their_name() -> None:
    done = single("drift-profiling", {}, "--set=shards=4")
    assert done.returncode != 0
    assert "'shards'" in done.stderr


def test_the_variables_of_the_values_win() -> None:
    done = single("drift-profiling", {"engine": "spark", "log": LOG}, "--set=env.BEACON_SPARK_MASTER=local[8]")
    documents = [each for each in yaml.safe_load_all(done.stdout) if each]
    ((_, _, container),) = jobs(documents)
    assert variables(container)["BEACON_SPARK_MASTER"] == "local[8]"


def policy_of(documents: list[Document], name: str) -> Document:
    (found,) = [
        one["spec"]
        for one in documents
        if one["kind"] == "NetworkPolicy"
        and one["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == name
    ]
    return found


def test_workers_elsewhere_reach_the_driver_and_it_them() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "spark"}}}
    in_pod = {"engine": "spark", "log": LOG, "spark": {"peers": [peer]}}
    elsewhere = in_pod | {"spark": {"peers": [peer], "master": "spark://spark.spark:7077"}}
    for chart in ("drift-profiling", "retraining"):
        near, far = (list(yaml.safe_load_all(single(chart, given).stdout)) for given in (in_pod, elsewhere))
        before, after = policy_of([one for one in near if one], chart), policy_of([one for one in far if one], chart)
        opened = {"from": [peer], "ports": [{"port": 7079}, {"port": 7078}]}
        assert [rule for rule in after["ingress"] if rule not in (before["ingress"] or [])] == [opened]
        assert [rule for rule in after["egress"] if rule not in before["egress"]] == [{"to": [peer]}]
        ((_, spec, container), *_) = jobs([one for one in far if one])
        assert variables(container)["SPARK_LOCAL_HOSTNAME"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        lines = options_file([one for one in far if one], spec).splitlines()
        assert {"spark.driver.port 7078", "spark.blockManager.port 7079"} <= set(lines)
        migration = policy_of([one for one in far if one], f"{chart}-migration")
        assert peer not in [each for rule in migration["egress"] for each in rule.get("to", [])]


def test_who_makes_pods_has_an_account_with_its_token_and_asks_the_api() -> None:
    given = {"engine": "spark", "log": LOG, "spark": {"master": "k8s://https://kubernetes.default.svc"}}
    done = single("drift-profiling", given)
    assert done.returncode != 0
    assert "serviceAccount.name of the chart drift-profiling must be an account that may" in done.stderr
    done = single("drift-profiling", given, "--set=serviceAccount.name=spark")
    assert done.returncode == 0, done.stderr
    documents = [each for each in yaml.safe_load_all(done.stdout) if each]
    tokens = {
        labels["app.kubernetes.io/name"]: (spec["automountServiceAccountToken"], spec.get("serviceAccountName"))
        for labels, spec in pods(documents)
    }
    assert tokens == {"drift-profiling": (True, "spark"), "drift-profiling-migration": (False, "spark")}
    assert {"ports": [{"port": 443}, {"port": 6443}]} in policy_of(documents, "drift-profiling")["egress"]
    assert {"ports": [{"port": 443}, {"port": 6443}]} not in policy_of(documents, "drift-profiling-migration")["egress"]
