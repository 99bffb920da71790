"""The routes of alerts, as Alertmanager itself reads them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import pods, rendered, template

from beacon_core.platform.settings import ROOT
from tests.system.alerts.promtool import alerts
from tests.system.charts.alertmanager_config import SECRETS, config_of

BUNDLED = ["default-values.yaml", "receivers-values.yaml"]
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}


def written(values: str, folder: Path) -> Path:
    file = folder / "alertmanager.yml"
    file.write_text(config_of(rendered("monitoring", values))["alertmanager.yml"])
    return file


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("values", BUNDLED)
def test_alertmanager_and_prometheus_take_their_configuration(values: str, tmp_path: Path) -> None:
    done = amtool("check-config", str(written(values, tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    documents = rendered("monitoring", values)
    (tmp_path / "prometheus.yml").write_text(
        config_of(documents, "beacon-prometheus-config")["prometheus.yml"].replace("/etc/prometheus", str(tmp_path))
    )
    (tmp_path / "rules").mkdir()
    for name, text in config_of(documents, "beacon-prometheus-rules").items():
        (tmp_path / "rules" / name).write_text(text)
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("rules found") == len(list((ROOT / "charts/monitoring/files/rules").glob("*.yaml")))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (CRITICAL | {"team": "serving"}, "page"),
        (CRITICAL | {"team": "model"}, "model-page"),
        (CRITICAL, "page"),
        (WARNING | {"team": "serving"}, "ticket"),
        (WARNING | {"team": "model"}, "model-ticket"),
        ({"alertname": "Watchdog", "severity": "none"}, "deadman"),
        ({"alertname": "Strange"}, "ticket"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels: dict[str, str], receiver: str, tmp_path: Path) -> None:
    file = written("receivers-values.yaml", tmp_path)
    given = [f"{name}={value}" for name, value in labels.items()]
    route = ["config", "routes", "test", f"--config.file={file}"]
    done = amtool(*route, f"--verify.receivers={receiver}", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    other = "ticket" if receiver != "ticket" else "page"
    assert amtool(*route, f"--verify.receivers={other}", *given).returncode != 0


@pytest.mark.parametrize("values", BUNDLED)
def test_every_alert_of_the_rules_reaches_a_receiver_of_its_severity(values: str, tmp_path: Path) -> None:
    file = written(values, tmp_path)
    wanted = {"critical": {"page", "model-page"}, "warning": {"ticket", "model-ticket"}, "none": {"deadman"}}
    for severity, team, name in {
        (rule["labels"]["severity"], rule["labels"]["team"], rule["alert"]) for rule in alerts()
    }:
        labels = [f"alertname={name}", f"severity={severity}", f"team={team}", "namespace=beacon"]
        told = amtool("config", "routes", "test", f"--config.file={file}", *labels).stdout.split()
        assert set(told) <= wanted[severity], name


def test_only_tickets_are_muted() -> None:
    config = yaml.safe_load(config_of(rendered("monitoring", "receivers-values.yaml"))["alertmanager.yml"])
    named = {interval["name"] for interval in config["time_intervals"]}
    routes = [inner for route in config["route"]["routes"] for inner in (route, *route.get("routes", []))]
    muted = {route["receiver"] for route in routes if set(route.get("mute_time_intervals", [])) == named}
    assert muted == {"ticket", "model-ticket"}
    assert {route["receiver"] for route in routes if "mute_time_intervals" in route} == muted


@pytest.mark.parametrize("values", BUNDLED)
def test_secrets_are_files_that_the_pod_has(values: str) -> None:
    documents = rendered("monitoring", values)
    text = config_of(documents)["alertmanager.yml"]
    files = [word.split(": ")[1] for word in text.splitlines() if "_file: " in word]
    assert all(file.startswith(SECRETS) for file in files)
    spec = next(spec for labels, spec in pods(documents) if labels["app.kubernetes.io/name"] == "alertmanager")
    mounted = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in spec["volumes"]}
    for file in files:
        folder, _, _ = file.rpartition("/")
        assert volumes[mounted[folder]] == folder.rpartition("/")[2]
    assert len(files) == (0 if values == "default-values.yaml" else 7)


def test_a_team_without_its_receiver_is_refused() -> None:
    given = ["--values=charts/monitoring/ci/receivers-values.yaml", "--set=teams.serving.page=nobody"]
    done = template("monitoring", *given)
    assert done.returncode != 0
    assert "teams.serving.page: no receiver is called nobody" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"pager": {"secret": {"name": "a", "key": "b"}}},
        {"pagerduty": {"secret": {"name": "a", "key": "b"}, "routing_key": "SECRET"}},
        {"webhook": {"url": "ftp://example.com"}},
        {"email": {"to": "a@example.com", "from": "b@example.com", "smarthost": "example.com"}},
        {},
    ],
)
def test_a_way_that_is_none_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    values = {"prober": {"image": {"tag": "1"}}, "receivers": {"page": [wrong], "ticket": [], "deadman": []}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = template("monitoring", f"--values={tmp_path / 'values.yaml'}")
    assert done.returncode != 0
    assert "receivers.page.0" in done.stderr or "/receivers/page/0" in done.stderr, done.stderr


def _plain(value: Any) -> Any:
    """A name without its spelling: group_wait and groupWait are one."""
    if isinstance(value, dict):
        return {name.replace("_", "").lower(): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _matchers(route: dict[str, Any], key: str) -> list[str]:
    return [f'{item["name"]}{item["matchType"]}"{item["value"]}"' for item in route.get(key, [])]


def test_the_operators_routes_are_the_bundled_ones() -> None:
    bundled = yaml.safe_load(config_of(rendered("monitoring", "receivers-values.yaml"))["alertmanager.yml"])
    spec = next(item for item in rendered("monitoring", "operator-values.yaml") if item["kind"] == "AlertmanagerConfig")
    operator = spec["spec"]

    def tree(route: dict[str, Any], *, theirs: bool) -> Any:
        own = _matchers(route, "matchers") if theirs else route.get("matchers", [])
        rest = {key: value for key, value in _plain(route).items() if key not in {"matchers", "routes"}}
        return own, rest, [tree(inner, theirs=theirs) for inner in route.get("routes", [])]

    own, *rest = tree(operator["route"], theirs=True)
    # Another installation of the namespace has an AlertmanagerConfig of its own.
    assert own == ['installation="beacon"']
    assert rest == list(tree(bundled["route"], theirs=False)[1:])
    kinds = [
        {receiver["name"]: {key.replace("_", "").lower(): len(ways) for key, ways in receiver.items() if key != "name"}}
        for config in (bundled, operator)
        for receiver in config["receivers"]
    ]
    assert kinds[: len(kinds) // 2] == kinds[len(kinds) // 2 :]
    ours = [(rule["source_matchers"], rule["target_matchers"], rule["equal"]) for rule in bundled["inhibit_rules"]]
    theirs = [
        (_matchers(rule, "sourceMatch"), _matchers(rule, "targetMatch"), rule["equal"])
        for rule in operator["inhibitRules"]
    ]
    assert ours == theirs
    assert _plain(bundled["time_intervals"]) == [
        {"name": item["name"], "timeintervals": _plain(item["timeIntervals"])} for item in operator["muteTimeIntervals"]
    ]


def test_the_operator_gets_the_same_rules_and_all_resources_are_labelled() -> None:
    documents = rendered("monitoring", "operator-values.yaml")
    bundled = config_of(rendered("monitoring", "receivers-values.yaml"), "beacon-prometheus-rules")
    rules = {
        item["metadata"]["name"].removeprefix("beacon-") + ".yaml": item["spec"]
        for item in documents
        if item["kind"] == "PrometheusRule"
    }
    assert rules == {name: yaml.safe_load(text) for name, text in bundled.items()}
    own = [item for item in documents if item["apiVersion"].startswith("monitoring.coreos.com/")]
    assert {item["kind"] for item in own} == {"PrometheusRule", "ServiceMonitor", "Probe", "AlertmanagerConfig"}
    for item in own:
        assert item["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert "StatefulSet" not in {item["kind"] for item in documents}


def test_inhibitions_name_alerts_that_exist() -> None:
    names = {rule["alert"] for rule in alerts()}
    for item in yaml.safe_load((ROOT / "charts/monitoring/files/inhibitions.yaml").read_text()):
        assert {item["cause"]["alertname"], *item["symptoms"]} <= names
        assert item["equal"] == ["namespace"]


def test_every_alert_says_its_namespace_and_where_its_runbook_is() -> None:
    rules = config_of(rendered("monitoring", "receivers-values.yaml"), "beacon-prometheus-rules")
    found = [rule for text in rules.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for rule in (rule for rule in found if "alert" in rule):
        assert rule["labels"]["namespace"] == "beacon"
        assert rule["annotations"]["runbook_url"].startswith("https://wiki.example.com/beacon/runbooks/")
        assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example.com/d/")
