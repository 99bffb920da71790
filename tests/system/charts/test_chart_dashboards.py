"""Git has no dashboards: they are built into the chart, and a chart without them says how."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.dashboards import documents
from support.rendering import CASES, KUBE_VERSION, helm, rendered

from beacon_core.platform.settings import ROOT

VALUES = [values for chart, values in CASES if chart == "monitoring"]


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """The chart as git has it."""
    chart = shutil.copytree(ROOT / "charts" / "monitoring", tmp_path / "monitoring")
    shutil.rmtree(chart / "files" / "dashboards")
    return chart


def of_beacon(board: dict[str, Any]) -> Any:
    """A dashboard whose queries see the series of the installation `beacon`, or of none, alone."""
    own = r"installation=~\"|beacon\""
    text = json.dumps(board).replace(r"namespace=~\"$namespace\"", rf"{own},namespace=~\"$namespace\"")
    return json.loads(re.sub(r"\b(beacon:[a-z]+:[a-z0-9]+)", lambda match: f"{match[1]}{{{own}}}", text))


@pytest.mark.parametrize("values", VALUES)
def test_the_chart_has_every_dashboard(values: str) -> None:
    maps = [each for each in rendered("monitoring", values) if each["kind"] == "ConfigMap"]
    label = "grafana_dashboard"
    found = {name: text for each in maps if label in each["metadata"]["labels"] for name, text in each["data"].items()}
    built = {f"{uid}.json": of_beacon(board) for uid, board in documents().items()}
    assert {name: json.loads(text) for name, text in found.items()} == built, "run `make dashboards`"


@pytest.mark.parametrize("values", VALUES)
def test_a_chart_without_them_names_the_command(unbuilt: Path, values: str) -> None:
    done = helm("template", "beacon-monitoring", str(unbuilt), KUBE_VERSION, "--values", f"{unbuilt}/ci/{values}")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "dashboards are not built" in line]
    assert len(said) == 1
    assert "run `make dashboards` in the checkout that has this chart" in said[0]


def test_who_wants_none_needs_none_built(unbuilt: Path) -> None:
    options = ["--values", f"{unbuilt}/ci/{VALUES[0]}", "--set=dashboards.enabled=false"]
    done = helm("template", "beacon-monitoring", str(unbuilt), KUBE_VERSION, *options)
    assert done.returncode == 0, done.stderr
    assert "grafana_dashboard" not in done.stdout


def test_whatever_installs_the_chart_builds_them_first() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z0-9-]+):([^=\n]*?)## .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    suites = "charts|e2e|e2e_promotion|chaos|paging"
    installs = re.compile(rf"tests/system/({suites})[ \n]|-m tools\.deploy (?!.*--(?:remove|data|write-values))")
    found = {target: needs.split() for target, needs, recipe in rules if installs.search(recipe)}
    assert found.keys() >= {"deploy", "test-charts", "e2e", "chaos", "e2e-promotion", "e2e-paging"}
    assert sorted(target for target, needs in found.items() if "dashboards" not in needs) == []
    hooks = yaml.safe_load((ROOT / "skaffold.yaml").read_text())["deploy"]["helm"]["hooks"]
    assert {"host": {"command": ["make", "umbrella"]}} in hooks["before"]
    assert "dashboards" in {target: needs.split() for target, needs, _ in rules}["umbrella"]
