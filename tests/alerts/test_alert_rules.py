"""promtool on every alert: it fires after its `for` and not before, its twin never."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from beacon_core import metrics
from beacon_core.product import load_product
from tests.alerts.cases import CASES, Case

ROOT = Path(__file__).parents[2]
RULES = {file.name: file.read_text() for file in sorted((ROOT / "charts/monitoring/files/rules").glob("*.yaml"))}
GROUPS = ("beacon-sli", "beacon-serving", "beacon-model")


def alerts() -> list[dict[str, Any]]:
    rules = [rule for text in RULES.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return [rule for rule in rules if "alert" in rule]


def blocks(case: Case) -> Iterator[dict[str, Any]]:
    picked = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing",{case.labels}}}) > bool 0'
    fires: list[dict[str, Any]] = [{"labels": "{}", "value": 1}]
    moments = [(case.late, case.series, fires)]
    if case.early >= 0:
        moments += [(case.early, case.series, []), (case.late, case.twin, [])]
    for at, series, expected in moments:
        yield {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": picked, "eval_time": f"{at}m", "exp_samples": expected}],
        }


def promtool(folder: Path, rules: dict[str, str], cases: tuple[Case, ...] = CASES) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    for name, text in rules.items():
        (folder / name).write_text(text)
    tests = [block for case in cases for block in blocks(case)]
    whole = {"rule_files": list(rules), "evaluation_interval": "1m", "group_eval_order": list(GROUPS), "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(whole))
    command = ["promtool", "test", "rules", "tests.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_every_alert_fires_in_time_and_its_twin_does_not(tmp_path: Path) -> None:
    done = promtool(tmp_path, RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert {rule["alert"] for rule in alerts()} == {case.alert for case in CASES}


def test_only_known_severities_and_drift_never_pages() -> None:
    assert {rule["labels"]["severity"] for rule in alerts()} == {"critical", "warning", "none"}
    assert {rule["labels"]["severity"] for rule in alerts() if "drift" in rule["expr"]} == {"warning"}


def test_rules_read_metrics_that_exist() -> None:
    named = {metric.name for metric in metrics.ALL}
    named |= {f"{metric.name}_{part}" for metric in metrics.ALL for part in ("bucket", "count")}
    rules = [rule for text in RULES.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    bare = re.sub(r'"[^"]*"|(by|ignoring) \([^)]*\)', "", "\n".join(rule["expr"] for rule in rules))
    used = set(re.findall(r"(?<![:\w])(?:beacon|http|api|model)_\w+", bare))
    assert len(used) > 10
    assert used <= named


def test_the_latency_promise_is_the_bucket_that_the_rules_read() -> None:
    promised = load_product(ROOT / "feature_repo/product.yaml").serving.latency_slo_seconds
    assert promised in metrics.LATENCY_BUCKETS
    assert set(re.findall(r'le="([^"]+)"', RULES["sli.yaml"])) == {f"{promised:g}"}
