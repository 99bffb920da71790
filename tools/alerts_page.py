"""Write docs/reference/alerts.md from the rules: `python -m tools.alerts_page`."""

from pathlib import Path
from typing import Any

import yaml

from tests.system.alerts.cases import CASES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "alerts.md"
MEANS = {"critical": "pages", "warning": "a ticket", "none": "the heartbeat"}
HEAD = """# Alerts

`python -m tools.alerts_page` writes this page from charts/monitoring/files/rules.
promtool tests each alert (`make test-rules`): it fires after its wait and not before, and a similar case, \
its twin, does not fire.

| alert | severity | waits | team | meaning | tested | runbook | dashboard |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def page(texts: list[str], tested: set[str]) -> str:
    """The page; `tested` are the alerts with a case that fires and a twin that does not."""
    groups: list[dict[str, Any]] = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    rows = []
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        name, labels = rule["alert"], rule["labels"]
        severity = f"{labels['severity']}, {MEANS[labels['severity']]}"
        both = "both ways" if name in tested else "fires"
        cells = [name, severity, rule.get("for", "0"), labels["team"], rule["annotations"]["summary"], both]
        dashboard = rule["annotations"]["dashboard_url"].rpartition("/")[2]
        rows.append("| " + " | ".join([*cells, f"[{name}](../runbooks/{name}.md)", dashboard]) + " |\n")
    return HEAD + "".join(rows)


def current() -> str:
    """The page as it should be."""
    tested = {case.alert for case in CASES if case.early >= 0}
    return page([file.read_text() for file in sorted((ROOT / "charts/monitoring/files/rules").glob("*.yaml"))], tested)


if __name__ == "__main__":
    PAGE.write_text(current())
