"""promtool on the cases of one alert, given only the rules that it stands on: days of series cost seconds otherwise."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from beacon_core.settings import ROOT
from tests.alerts.cases import CASES, Case

FOLDER = ROOT / "charts/monitoring/files/rules"
RULES = {file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))}
Rule = dict[str, Any]
LONG = 60
"""Minutes from which a case is evaluated every fourth minute."""


def rules_of(texts: dict[str, str] = RULES) -> list[Rule]:
    """Every rule, those that record first."""
    found = [rule for text in texts.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return sorted(found, key=lambda rule: "alert" in rule)


def alerts(texts: dict[str, str] = RULES) -> list[Rule]:
    return [rule for rule in rules_of(texts) if "alert" in rule]


def stands_on(name: str, rules: list[Rule]) -> list[Rule]:
    """The alert's rules and the recorded series that they read, in the order of evaluation."""
    read: set[str] = set()
    found = []
    for rule in reversed(rules):
        if rule.get("alert") == name or rule.get("record") in read:
            found.insert(0, rule)
            read.update(re.findall(r"beacon:\w+:\w+", rule["expr"]))
    return found


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


def faults(folder: Path, name: str, rules: list[Rule], labels: str = "") -> str:
    """What promtool has to say against the rules of an alert; empty when all its cases hold (those of `labels`)."""
    folder.mkdir(exist_ok=True)
    group = {"name": "beacon", "rules": stands_on(name, rules)}
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    cases = [case for case in CASES if case.alert == name and labels in case.labels]
    files = []
    for minutes in (1, 4):
        tests = [block for case in cases if (case.late >= LONG) == (minutes == 4) for block in blocks(case)]
        if tests:
            files.append(f"tests{minutes}.yml")
            whole = {"rule_files": ["rules.yml"], "evaluation_interval": f"{minutes}m", "tests": tests}
            (folder / files[-1]).write_text(yaml.safe_dump(whole))
    if not files:
        return ""
    command = ["promtool", "test", "rules", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    return "" if done.returncode == 0 else done.stdout + done.stderr
