"""DataDog's annotations and monitors fit the pods, the metrics and the alerts that are there."""

import json
import re

import pytest
import yaml
from support.rendering import pods, template

from beacon_core.observability import metrics
from beacon_core.platform.settings import ROOT
from tests.system.alerts.promtool import alerts

FOLDER = ROOT / "charts/monitoring/datadog"
VALUES = sorted((FOLDER / "values").glob("*.yaml"))
MONITORS = json.loads((FOLDER / "monitors.json").read_text())


def datadog_names() -> set[str]:
    """What the OpenMetrics check (version 2) calls our metrics."""
    names = set()
    for metric in metrics.ALL:
        if metric.kind == "counter":
            names.add(metric.name.removesuffix("_total") + ".count")
        elif metric.kind == "histogram":
            names |= {f"{metric.name}.{part}" for part in ("bucket", "count", "sum")}
        else:
            names.add(metric.name)
    return {f"beacon.{name}" for name in names}


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.stem)
def test_annotations_name_a_container_and_its_port(file) -> None:
    done = template(file.stem, f"--values=charts/{file.stem}/ci/default-values.yaml", f"--values={file}")
    assert done.returncode == 0, done.stderr
    found = 0
    for document in (item for item in yaml.safe_load_all(done.stdout) if item):
        for _, spec in pods([document]):
            template_ = document["spec"].get("template", {}).get("metadata", {})
            for name, text in template_.get("annotations", {}).items():
                match = re.fullmatch(r"ad\.datadoghq\.com/(.+)\.checks", name)
                if match is None or match[1] not in {container["name"] for container in spec["containers"]}:
                    continue
                container = next(item for item in spec["containers"] if item["name"] == match[1])
                [instance] = json.loads(text)["openmetrics"]["instances"]
                port = re.search(r"%%host%%:(\d+)/", instance["openmetrics_endpoint"])
                assert port is not None
                assert int(port[1]) in {entry["containerPort"] for entry in container["ports"]}
                found += 1
    assert found == 1
    assert "kubernetes.io/metadata.name: datadog" in done.stdout


def test_monitors_read_metrics_that_exist() -> None:
    names = datadog_names()
    for monitor in MONITORS:
        read = set(re.findall(r"\b(beacon\.[a-z0-9_.]+?)(?:\.as_count|\{)", monitor["query"]))
        assert read, monitor["name"]
        assert read <= names, read - names


def test_monitors_carry_the_name_severity_and_runbook_of_an_alert() -> None:
    severities = {(rule["alert"], rule["labels"]["severity"], rule["labels"]["team"]) for rule in alerts()}
    for monitor in MONITORS:
        tags = dict(tag.split(":", 1) for tag in monitor["tags"])
        assert (tags["alert"], tags["severity"], tags["team"]) in severities
        assert f"/runbooks/{tags['alert']}.md" in monitor["message"]
        assert monitor["query"].endswith(f" {monitor['options']['thresholds']['critical']}")
    critical = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "critical"}
    named = {monitor["tags"][0].removeprefix("alert:") for monitor in MONITORS}
    assert critical - named == {"BeaconNotificationsFailing"}  # of our Alertmanager
