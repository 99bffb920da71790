"""Two products unlike the tests' own, each from its table to a rollback: every step is what a person or a client does.

The tests of one product go through its life in the order of this file.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from playwright.sync_api import Browser
from support.docs_commands import Command, commands, typed
from support.rendering import template
from support.waiting import until
from system.e2e_laptop.beacon_run import READY
from system.products.life import Life
from system.products.tables import TABLES

from beacon_core.platform.settings import PREFIX, ROOT
from beacon_laptop.simulated_traffic import CHANGE_DAY
from tools.dashboards.__main__ import boards, document
from tools.deploy import NEED_NO_PRODUCT, RELEASES, Cluster

RIGHT_ANSWER_SECONDS = 120
QUIET_ROWS, CHANGED_ROWS = 200, 300
BOSTON = re.compile(r"\b(home|tract|Boston|MEDV|LSTAT|house)\b", re.IGNORECASE)
PAGES = ("/", "/drift", "/models", "/models/1", "/predictions", "/promotions", "/jobs")
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module", params=TABLES, ids=lambda table: table.name)
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    made = Life(request.param, tmp_path_factory.mktemp(request.param.name))
    try:
        made.run.wait_for(READY, 900)
        yield made
    finally:
        made.run.clear()


def test_from_its_table_to_the_first_right_answers(life: Life) -> None:
    answers = life.run.predictions()
    seconds = time.monotonic() - life.began
    print(f"{life.table.name}: {seconds:.0f} s from the table to the first right answer")
    assert "no errors" in life.checked
    assert len(answers) == 2
    by_entity, by_features = answers
    assert by_entity["prediction"] == pytest.approx(by_features["prediction"], rel=1e-6)
    targets = [row[-1] for row in life.table.rows]
    assert min(targets) <= by_features["prediction"] <= max(targets)
    assert by_features["unit"] == life.product.target.unit
    assert seconds < RIGHT_ANSWER_SECONDS or os.getloadavg()[0] > 4


def test_answers_are_near_the_actuals_and_wrong_values_are_named(life: Life) -> None:
    rows = life.traffic.rows(1, 100)
    predicted = [one["prediction"] for one in life.predict(rows)]
    actuals = [row.actual for row in rows]
    middle = sum(actuals) / len(actuals)
    error = sum((a - p) ** 2 for a, p in zip(actuals, predicted, strict=True))
    assert error < 0.5 * sum((a - middle) ** 2 for a in actuals)
    for feature in life.product.features:
        wrong: Any = "no such level" if feature.known_levels else {"a": 1}
        status, answer = life.request("POST", "/v1/predict", {"features": rows[0].features | {feature.name: wrong}})
        assert (status, answer["field"]) == (422, f"features.{feature.name}"), answer


def test_its_pages_are_its_own(life: Life) -> None:
    status, document = life.request("GET", "/openapi.json")
    assert status == 200
    text = json.dumps(document, ensure_ascii=False)
    for feature in life.product.features:
        assert feature.name in text
        assert all(str(level) in text for level in feature.known_levels)
    assert not BOSTON.search(text)


def test_actuals_come_by_entity_too(life: Life) -> None:
    key = life.product.keys[0]
    row = dict(zip(life.table.header, life.table.rows[7], strict=True))
    entity = {key: row[key].replace("/", "-") if key == "date" else row[key]}
    answer = life.good("/v1/predict", {"entity": entity})
    assert answer["prediction"] is not None
    observed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    life.good("/v1/actuals", {"entity": entity, "observed_at": observed, "value": row[life.table.target]})
    status, answer = life.request("POST", "/v1/predict", {"entity": {key: 17.5}})
    assert (status, answer["field"]) in {(422, "entity"), (422, f"entity.{key}"), (400, f"entity.{key}")}, answer


def test_quiet_days_raise_no_alarm_and_a_change_is_found(life: Life) -> None:
    states = []
    for day in (1, 2):
        predicted = life.live(day, QUIET_ROWS)
        assert not [one for one in predicted if one["out_of_range"]], "rows of the table itself"
        states.append(life.drift_state())
    assert states == ["ok", "ok"]
    found = []
    for day in range(CHANGE_DAY, CHANGE_DAY + 3):
        life.live(day, CHANGED_ROWS)
        found.append(life.drift_state())
    assert found[-1] in {"drift", "error"}, found


def test_it_is_retrained_promoted_and_rolled_back(life: Life) -> None:
    assert life.version() == "1"
    with life.users() as statuses:
        said = life.run.do("retrain", "ARGS=--folds 3 --repeats 1 --budget-seconds 0")
        assert "pass" in said, said
        life.wait_for_version("2", 600)
        assert "version 2" in life.run.do("served")
        until(lambda: "watch" not in life.run.do("served"), "the watch ends", 300)
        life.run.do("rollback", "REASON=a drill")
        assert life.version() == "1"
    assert set(statuses) == {200}


def test_the_page_on_changing_models_tells_commands_that_work(life: Life) -> None:
    """All but those that the test above ran, and the approval of a model that was rolled back."""
    (answer,) = life.predict(life.traffic.rows(1, 1))
    life.wait_for_log([answer])
    texts = [command.text for command in commands(ROOT / "docs/how-to/change-the-model.md")]
    run = [text for text in texts if text.split()[1] not in {"retrain", "approve", "rollback"}]
    assert len(run) == 5
    for text in run:
        of_life = re.sub("ID=[0-9a-f]{32}", f"ID={answer['prediction_id']}", text.replace("VERSION=3", "VERSION=2"))
        done = typed(Command("", of_life, ""), life.run.checkout, life.run.environment, life.run.ports)
        assert done.returncode == 0, f"{of_life}\n{done.stdout}{done.stderr}"


def test_the_console_shows_it_in_a_browser(life: Life, browser: Browser) -> None:
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    for path in PAGES:
        answer = page.goto(f"http://127.0.0.1:{life.run.settings.console_port}{path}")
        assert answer is not None
        assert answer.status == 200, path
        text = page.locator("body").inner_text()
        assert not BOSTON.search(text), (path, BOSTON.search(text))
        assert "Traceback" not in text
    page.goto(f"http://127.0.0.1:{life.run.settings.console_port}/drift")
    page.locator("tbody a").first.click()
    page.get_by_role("heading", name="Comparisons with the reference").wait_for()
    shown = page.locator("body").inner_text()
    assert all(name in shown for name in life.product.key_features)
    assert faults == []
    page.close()


def test_charts_and_dashboards_are_rendered_for_it(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    for chart in (name for name in RELEASES if name not in NEED_NO_PRODUCT):
        values = Cluster("beacon", "", "1", None, life.product).product_values(chart)
        file = life.folder / f"{chart}.json"
        file.write_text(json.dumps(values))
        default = f"charts/{chart}/ci/default-values.yaml"
        done = template(chart, "--values", default, "--values", str(file))
        assert done.returncode == 0, done.stderr
        documents = [each for each in yaml.safe_load_all(done.stdout) if each]
        held = [each["data"] for each in documents if each["kind"] == "ConfigMap" and "product.yaml" in each["data"]]
        assert held[0]["product.yaml"] == life.file.read_text()
    monkeypatch.setenv(f"{PREFIX}PRODUCT", str(life.file))
    text = json.dumps([document(board) for board in boards()], ensure_ascii=False)
    assert all(name in text for name in life.product.key_features)
    assert not BOSTON.search(text)


def test_the_rules_hold_for_it(life: Life) -> None:
    done = template("monitoring", "--values", "charts/monitoring/ci/operator-values.yaml")
    assert done.returncode == 0, done.stderr
    rules = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "PrometheusRule"]
    file = life.folder / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [group for each in rules for group in each["spec"]["groups"]]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = set(re.findall(r'beacon_threshold\{[^}]*name="(\w+)"', file.read_text()))
    status = _metrics(life.run.settings.console_metrics_port)
    assert names
    assert all(f'name="{name}"' in status + _metrics(life.run.settings.inference_metrics_port) for name in names)


def _metrics(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())
