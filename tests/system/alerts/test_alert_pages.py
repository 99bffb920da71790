"""Alerts, their cases, runbooks and links match one to one, and the table of docs/reference/alerts.md is theirs."""

import re

from beacon_core.platform.settings import ROOT
from tests.system.alerts.cases import CASES
from tests.system.alerts.promtool import alerts
from tools.alerts_page import PAGE, current

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "When it is a false alarm"]


def test_every_alert_has_cases_and_a_runbook_and_nothing_is_left_over() -> None:
    names = {rule["alert"] for rule in alerts()}
    assert names == {case.alert for case in CASES} == {file.stem for file in RUNBOOKS.glob("*.md")}
    for rule in alerts():
        assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{rule['alert']}.md")
        assert {"severity", "team"} <= rule["labels"].keys()
        assert {"summary", "description", "dashboard_url"} <= rule["annotations"].keys()
        assert "{{" not in rule["annotations"]["summary"]


def test_every_runbook_says_what_to_do() -> None:
    for file in RUNBOOKS.glob("*.md"):
        text = file.read_text()
        assert text.startswith(f"# {file.stem}\n")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS, file.name
        diagnosis = text.partition("## Diagnosis")[2].partition("## Mitigation")[0]
        assert re.search(r"^    \S", diagnosis, re.MULTILINE), f"{file.name}: no command"


def test_the_table_is_current() -> None:
    assert PAGE.read_text() == current(), "run `python -m tools.alerts_page`"
