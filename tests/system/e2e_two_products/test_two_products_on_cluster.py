"""Two products in one namespace, as docs/how-to/two-products.md has it: the second uses the first one's stores.

`make e2e-two-products`. Both are installed at once by the umbrella chart, and each lives its own life: first training,
predictions, features, drift, alerts, dashboards, and a promotion that the other does not notice.
"""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from support.on_cluster import ADDRESS, NAMESPACE, cluster, secret_text, sql, until, watched
from support.products import SPEC
from support.steady_load import under_load
from support.umbrella import applied, helm, make_namespace
from system.e2e_promotion import world

from beacon_core.domain.policy import POLICY_FILE
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.deploy import run
from tools.product_values import told_all

SECOND = ROOT / "products" / "windsor"
PREDICTIONS = 60
SERVICES, ALWAYS = 'up{job=~"inference|feature-serving|console"} == 1', 'ALERTS{alertname="Watchdog"}'
DASHBOARD = "grafana_dashboard=1"
OWN = {"beacon": r"installation=~\"|beacon\"", "housing-beacon": r"installation=\"housing-beacon\""}
"""By which a query sees the series of one installation, in the text of JSON."""


class Installed(NamedTuple):
    """One of the two: its release, the name of the installation that follows from it, and its product."""

    release: str
    name: str
    product: Product
    values: Path

    @property
    def host(self) -> str:
        return f"{self.release}.{world.HOST}"

    @property
    def row(self) -> dict[str, Any]:
        return {feature.name: feature.example for feature in self.product.features}

    def install(self, *options: str) -> None:
        helm("install", *applied(self.host, *options, product=str(self.values)), release=self.release)

    def answers(self) -> bool:
        return world.answers(self.host, self.row)

    def asked(self, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{ADDRESS}/v1/predict", json=body, headers={"Host": self.host}, timeout=30)

    def sql(self, query: str) -> str:
        return sql(query, self.name)

    def job(self, name: str, cron_job: str, *command: str) -> None:
        status, output = cluster().job(f"{name}-{self.release}", f"{self.name}-{cron_job}", list(command) or None)
        assert status == 0, output

    def deployment(self) -> dict[str, Any]:
        found = json.loads(cluster().kubectl("get", "deployment", f"{self.name}-inference", "-o", "json"))
        return {"generation": found["metadata"]["generation"], "template": found["spec"]["template"]}


Both = tuple[Installed, Installed]


def with_an_entity(folder: Path) -> Product:
    """The second product by the numbers of its rows, so that both have features in the one Redis."""
    shutil.copytree(SECOND, folder)
    file = folder / SPEC.name
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    raw["entity"] = {"name": "house", "key": "house_id", "row_number": True}
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    assert (folder / POLICY_FILE).is_file()
    return load_product(file)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("two")

    def installed(release: str, name: str, product: Product) -> Installed:
        values = folder / f"{release}.json"
        values.write_text(json.dumps(told_all(product)), encoding="utf-8")
        return Installed(release, name, product, values)

    first = installed("beacon", "beacon", load_product(SPEC))
    return first, installed("housing", "housing-beacon", with_an_entity(folder / "second"))


@pytest.fixture(scope="module", autouse=True)
def there(both: Both) -> None:
    """Both, installed at once; who comes first waits for the other."""
    first, second = both
    make_namespace()
    second.install("--set=global.platform.name=beacon")
    first.install("--set=platform.products[0].name=housing-beacon")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: until(one.answers, f"a prediction of {one.name}", 1800), both))
    for one in both:
        until(lambda one=one: bool(world.ledger(one.name)), f"the first release of {one.name} in the ledger", 120)


def test_each_has_a_model_of_its_own_and_keeps_its_predictions_in_its_own_database(both: Both) -> None:
    ids = {}
    for one in both:
        assert world.serving(one.name).name == one.product.name
        answers = [one.asked({"features": one.row}) for _ in range(PREDICTIONS)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["model"]["name"] for answer in answers} == {one.product.name}
        ids[one.name] = {answer.json()["prediction_id"] for answer in answers}
    first, second = both
    for one, other in ((first, second), (second, first)):
        until(
            lambda one=one: not ids[one.name] - set(one.sql("select id from predictions").split()),
            f"predictions of {one.name}",
            120,
        )
        assert not ids[one.name] & set(other.sql("select id from predictions").split())
    # A row of one is no row of the other, and a key of one opens nothing of the other.
    assert second.asked({"features": first.row}).status_code == 422
    keys = {one.name: secret_text(one.name, "api-key") for one in both}
    path = f"{ADDRESS}/v1/predictions/{min(ids[first.name])}"
    seen = [httpx.get(path, headers={"Host": first.host, "X-API-Key": key}, timeout=30) for key in keys.values()]
    assert [answer.status_code for answer in seen] == [200, 401]


def test_features_in_the_shared_redis_are_each_ones_own(both: Both) -> None:
    for one in both:
        one.job("materialize-by-hand", "materialize")
        (key,) = one.product.keys
        answer = one.asked({"entity": {key: 17}})
        assert answer.status_code == 200, answer.text
        assert set(answer.json()["sources"].values()) == {"store"}
        assert set(answer.json()["sources"]) == set(one.product.feature_names)
        assert one.asked({"entity": {key: 100_000}}).status_code == 404


def test_drift_is_looked_for_in_each_ones_own_log(both: Both) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()  # when the hour of these predictions is over
    for one in both:
        one.job("drift-by-hand", "drift-profiling", "python", "jobs/drift.py", "--at", later)
        versions = set(one.sql("select distinct model_version from profiles").split())
        assert versions == {world.serving(one.name).version}
        assert int(one.sql("select sum(rows) from profiles where segment = ''")) >= PREDICTIONS


def test_alerts_and_dashboards_are_of_each_installation_alone(both: Both) -> None:
    titles: dict[str, set[str]] = {}
    for one in both:
        until(lambda one=one: len(watched(SERVICES, "instance", one.name)) >= 4, f"targets of {one.name}", 300)
        assert set(watched(SERVICES, "installation", one.name)) == {one.name}
        until(lambda one=one: bool(watched(ALWAYS, "product", one.name)), f"Watchdog of {one.name}", 300)
        assert watched(ALWAYS, "installation", one.name) == {one.name: 1}
        assert watched(ALWAYS, "product", one.name) == {one.product.name: 1}
        chosen = f"--selector={DASHBOARD},app.kubernetes.io/part-of={one.name}"
        items = json.loads(cluster().kubectl("get", "configmap", chosen, "-o", "json"))["items"]
        boards = [json.loads(text) for item in items for text in item["data"].values()]
        assert len(boards) > 2
        titles[one.name] = {board["uid"] for board in boards}
        queries = " ".join(re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', json.dumps(boards)))
        (others,) = {each.name for each in both} - {one.name}
        assert OWN[one.name] in queries
        assert OWN[others] not in queries
    first, second = titles.values()
    assert not first & second


def test_a_promotion_of_one_leaves_the_other_as_it_is(both: Both) -> None:
    first, second = both
    others, ledger = first.deployment(), world.ledger(first.name)
    both_doors = zip(world.doors(world.sample(second.product), second.host), cycle(world.doors((), first.host)))
    doors = [door for pair in both_doors for door in pair]  # in turn: each phase needs its requests
    world.phases(12, 20, installation=second.name)
    with world.models(second.name, second.product) as models, under_load(doors, world.RATE) as load:
        pin = models.good(1.001)
        world.judge(pin, installation=second.name)
        done = world.promote("promote-second", installation=second.name)
        assert done.status == 0, done.output
    assert world.serving(second.name) == pin
    assert load.failed == [], load.told()
    assert first.deployment() == others
    assert world.ledger(first.name) == ledger
    steps = {row.step for row in world.ledger(second.name)}
    assert {"dark", "shadow", "canary", "release", "verify"} <= steps
    print(f"\n  {len(load.answers)} requests of both products amid a promotion of one, 0 failed", flush=True)


def test_the_second_goes_and_the_first_serves_on(both: Both) -> None:
    first, second = both
    doors = world.doors((), first.host)
    with under_load(doors, world.RATE) as load:
        helm("uninstall", "--wait", release=second.release)
    assert load.failed == [], load.told()
    assert first.answers()
    helm("uninstall", "--wait", release=first.release)
    run(["kubectl", "delete", "namespace", NAMESPACE])
