"""promtool on every alert: it fires after its `for` and not before, its twin never."""

import re
from pathlib import Path

from support.products import SPEC

from beacon_core.observability import metrics
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tests.system.alerts.cases import CASES
from tests.system.alerts.promtool import RULES, alerts, name_of, rules_of, try_out
from tests.system.alerts.values import VALUES

FOREIGN = {"alertmanager_notifications_failed_total"}
"""Metrics of Alertmanager."""


def test_every_alert_fires_in_time_and_its_twin_does_not_and_every_expression_gives_its_values(tmp_path: Path) -> None:
    assert try_out(tmp_path, rules_of()).faults == ""


def test_every_rule_has_values() -> None:
    assert {name_of(rule) for rule in rules_of()} == {value.rule for value in VALUES}


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert {rule["alert"] for rule in alerts()} == {case.alert for case in CASES}


def test_only_known_severities_and_drift_never_pages() -> None:
    assert {rule["labels"]["severity"] for rule in alerts()} == {"critical", "warning", "none"}
    assert {rule["labels"]["severity"] for rule in alerts() if "drift" in rule["expr"]} == {"warning"}


def test_rules_read_metrics_that_exist() -> None:
    named = FOREIGN | {metric.name for metric in metrics.ALL}
    named |= {f"{metric.name}_{part}" for metric in metrics.ALL for part in ("bucket", "count")}
    bare = re.sub(r'"[^"]*"|(by|ignoring|on|group_left) \([^)]*\)', "", "\n".join(rule["expr"] for rule in rules_of()))
    used = set(re.findall(r"(?<![:\w])(?:beacon|http|api|model|alertmanager|probe)_\w+", bare))
    assert len(used) > 20
    assert used <= named


def test_every_threshold_that_is_read_is_exported() -> None:
    read = set(re.findall(r'beacon_threshold{name="(\w+)"}', "\n".join(RULES.values())))
    exported = (ROOT / "services/inference/beacon_inference/metrics.py").read_text()
    product = load_product(SPEC)
    assert len(read) > 8
    assert {name for name in read if f'"{name}":' not in exported} <= set(product.policy.monitoring.__struct_fields__)


def test_the_rules_follow_any_promise_of_latency() -> None:
    """Inference counts what is later than its policy promises; a bucket or a time here would be one product's."""
    text = "\n".join(RULES.values())
    assert metrics.HTTP_SLOW.name in text
    assert re.findall(r"\ble=|\d ms", text) == []
