"""Two products under one Prometheus and one Grafana: rules, routes and dashboards are about one installation each."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.installations import Document, key, render
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from tools.product_values import told_all

SHIPPED = load_product(Settings().product)
NAMES = ("beacon", "housing-beacon")
OURS = re.compile(
    r"\b(beacon[_:][\w:]++|http_[a-z_]+_(?:total|sum|count|bucket)|api_errors_total"
    r"|model_[a-z_]+_(?:total|count|bucket)|probe_success)\b(?!\{(?:namespace=~\"\|shared\",)?installation)"
)
"""A series of Beacon's without its installation."""
OPERATOR = ("--set=monitoring.delivery=operator",)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Document]]:
    folder = tmp_path_factory.mktemp("bundled")
    return {name: render(name, told_all(SHIPPED), folder) for name in NAMES}


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Document]]:
    folder = tmp_path_factory.mktemp("operated")
    return {name: render(name, told_all(SHIPPED), folder, *OPERATOR) for name in NAMES}


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [each for each in documents if each["kind"] == kind]


def named(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = [each for each in of_kind(documents, kind) if key(each)[2] == name]
    return found


def groups(documents: list[Document]) -> list[Document]:
    return [group for each in of_kind(documents, "PrometheusRule") for group in each["spec"]["groups"]]


def rules(documents: list[Document]) -> list[Document]:
    return [rule for group in groups(documents) for rule in group["rules"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_sees_and_names_its_own_installation(name: str, operated: dict[str, list[Document]]) -> None:
    found = rules(operated[name])
    assert len(found) > 50
    for rule in found:
        assert OURS.findall(re.sub(r'(?<=[=~])"(?!\|shared)[^"]*"', '""', rule["expr"])) == [], rule["expr"]
        assert (rule["labels"]["namespace"], rule["labels"]["installation"]) == ("shared", name)
        assert rule["labels"].get("product") == (SHIPPED.name if "alert" in rule else None)
    links = {rule["annotations"]["dashboard_url"] for rule in found if "alert" in rule}
    assert all(f"/d/{name}-" in link for link in links)


def test_the_bundled_prometheus_has_the_same_rules_and_the_label(
    bundled: dict[str, list[Document]], operated: dict[str, list[Document]]
) -> None:
    for name in NAMES:
        files = named(bundled[name], "ConfigMap", f"{name}-prometheus-rules")["data"].values()
        assert [rule for text in files for group in yaml.safe_load(text)["groups"] for rule in group["rules"]] == rules(
            operated[name]
        )
        text = named(bundled[name], "ConfigMap", f"{name}-prometheus-config")["data"]["prometheus.yml"]
        for job in yaml.safe_load(text)["scrape_configs"]:
            relabelled = {each.get("target_label"): each.get("replacement") for each in job.get("relabel_configs", [])}
            static = [each.get("labels", {}) for each in job.get("static_configs", [])]
            assert relabelled.get("installation") == name or {each["installation"] for each in static} == {name}


def test_the_operator_labels_and_routes_by_installation(operated: dict[str, list[Document]]) -> None:
    for name, documents in operated.items():
        monitors = of_kind(documents, "ServiceMonitor")
        assert len(monitors) > 3
        label = {"targetLabel": "installation", "replacement": name}
        assert all(label in end["relabelings"] for each in monitors for end in each["spec"]["endpoints"])
        assert {each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/part-of"] for each in monitors} == {name}
        (probe,) = of_kind(documents, "Probe")
        assert probe["spec"]["targets"]["staticConfig"]["labels"]["installation"] == name
        (config,) = of_kind(documents, "AlertmanagerConfig")
        own = {"name": "installation", "value": name, "matchType": "="}
        assert config["spec"]["route"]["matchers"] == [own]
        assert all("installation" in each["equal"] for each in config["spec"]["inhibitRules"])


def test_no_alert_of_one_mutes_the_others(bundled: dict[str, list[Document]]) -> None:
    for name in NAMES:
        text = named(bundled[name], "ConfigMap", f"{name}-alertmanager-config")["data"]["alertmanager.yml"]
        config = yaml.safe_load(text)
        assert all("installation" in each["equal"] for each in config["inhibit_rules"])
        assert "installation" in config["route"]["group_by"]


@pytest.mark.parametrize("down", NAMES)
def test_prometheus_tells_of_the_one_that_is_down(
    down: str, operated: dict[str, list[Document]], tmp_path: Path
) -> None:
    """By promtool, with the rules of both and the series of both."""
    for name in NAMES:
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"groups": groups(operated[name])}))
    (rule,) = [each for each in rules(operated[down]) if each.get("alert") == "BeaconStoreDown"]
    told = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
    series = [
        {"series": f'beacon_store_up{{namespace="shared",installation="{name}"}}', "values": f"{int(name != down)}x60"}
        for name in NAMES
    ]
    test = {"interval": "1m", "input_series": series}
    test["alert_rule_test"] = [{"eval_time": "30m", "alertname": "BeaconStoreDown", "exp_alerts": [told]}]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [f"{name}.yaml" for name in NAMES], "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def boards(documents: list[Document]) -> dict[str, Any]:
    maps = [each for each in of_kind(documents, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    return {name: json.loads(text) for each in maps for name, text in each["data"].items()}


def expressions(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["expr"]] if isinstance(found.get("expr"), str) else []
        return own + [each for value in found.values() for each in expressions(value)]
    return [each for value in found for each in expressions(value)] if isinstance(found, list) else []


def test_dashboards_have_addresses_and_series_of_their_own(bundled: dict[str, list[Document]]) -> None:
    found = {name: boards(documents) for name, documents in bundled.items()}
    assert [len(each) for each in found.values()] == [7, 7]
    assert not found[NAMES[0]].keys() & found[NAMES[1]].keys()
    for name, each in found.items():
        assert {board["uid"] for board in each.values()} == {file.removesuffix(".json") for file in each}
        assert all(file.startswith(f"{name}-") for file in each)
        assert {tag for board in each.values() for tag in board["tags"]} == {name}
        for expression in expressions(each):
            bare = re.sub(r'(?<=[=~])"[^"]*"', '""', expression)
            assert OURS.findall(bare) == [], expression
