"""The drill of docs/how-to/upgrade.md with two sets of images: from the release before to this one, and back.

`make e2e-upgrade`. BEFORE is a checkout of the release before, made ready by `make before`; BEFORE_TAG is the tag
of its images. Users ask from before the upgrade until after the way back: nothing fails, nothing is lost.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from support.on_cluster import ADDRESS, BODY, TAG, cluster, secret, sql, until
from support.steady_load import Load
from support.umbrella import applied, helm, make_namespace
from system.e2e_promotion import world

from beacon_core.domain.pins import Pin
from beacon_core.platform.settings import ROOT
from tools.deploy import run

BEFORE = ROOT / os.environ["BEFORE"]
BEFORE_TAG = os.environ.get("BEFORE_TAG") or "before"
VALUES = Path("tests/system/e2e_umbrella/values.yaml")
"""Of each checkout its own: a value that is gone or new would be an error."""
PREDICTIONS, ACTUALS = 200, 100
REQUESTS = int(os.environ.get("REQUESTS") or 5000)
"""At least so many are asked from before the upgrade until after the way back."""
GIVEN = {"Host": world.HOST}
KEPT = {
    "predictions": "id, prediction, model_version",
    "actuals": "id, prediction_id, value",
    "promotions": "id, run, step, outcome",
    "verdicts": "version, sha256, outcome",
    "approvals": "version, sha256, decision, person",
}
"""What must be there of each table ever after, in columns that both releases have."""
Records = dict[str, set[str]]


def release(verb: str, *, before: bool, options: tuple[str, ...] = ()) -> None:
    """Install or upgrade to the release before, or to this one, each from its own checkout with its own values."""
    tag, checkout = (BEFORE_TAG, BEFORE) if before else (TAG, ROOT)
    helm(verb, *applied(world.HOST, *options, values=VALUES, tag=tag), checkout=checkout)


def images() -> set[str]:
    """The tags that pods of inference have."""
    path = "jsonpath={.items[*].spec.containers[*].image}"
    chosen = "--selector=app.kubernetes.io/name=inference,app.kubernetes.io/part-of=beacon"
    found = cluster().kubectl("get", "pods", chosen, "--field-selector=status.phase=Running", "-o", path).split()
    return {image.rpartition(":")[2] for image in found}


def records() -> Records:
    return {table: set(sql(f"select {columns} from {table}").splitlines()) for table, columns in KEPT.items()}


def missing(before: Records, now: Records) -> Records:
    return {table: rows - now[table] for table, rows in before.items() if rows - now[table]}


def ask() -> str:
    answer = httpx.post(f"{ADDRESS}/v1/predict", json=BODY, headers=GIVEN, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prediction_id"])


def fill() -> list[str]:
    """Predictions, actuals of some of them, and a promotion; the ids."""
    ids = [ask() for _ in range(PREDICTIONS)]
    until(lambda: not set(ids) - logged(), "all of them logged", 120)
    told = [{"prediction_id": each, "value": 20.5} for each in ids[:ACTUALS]]
    key = {"X-API-Key": secret("api-key")}
    httpx.post(f"{ADDRESS}/v1/actuals", json={"actuals": told}, headers=GIVEN | key, timeout=30).raise_for_status()
    until(lambda: int(sql("select count(*) from actuals")) == ACTUALS, "all actuals", 60)
    return ids


def logged() -> set[str]:
    return set(sql("select id from predictions").split())


def looked_up(ids: list[str]) -> dict[str, Any]:
    """The prediction and the model that inference says of each id."""
    key = {"X-API-Key": secret("api-key")}
    found = {}
    for each in ids:
        answer = httpx.get(f"{ADDRESS}/v1/predictions/{each}", headers=GIVEN | key, timeout=30)
        assert answer.status_code == 200, answer.text
        row = answer.json()
        found[each] = row["prediction"], row["model"]["version"]
    return found


def promoted(name: str, factor: float) -> Pin:
    """Promote one more good model by the promotion that is installed; it serves."""
    world.phases(6, 36)
    with world.models() as models:
        pin = models.good(factor)
        world.judge(pin)
        done = world.promote(name)
    assert done.status == 0, done.output
    assert world.serving() == pin
    return pin


def more(load: Load, count: int) -> None:
    """Wait for so many answers more; the first one that failed ends it."""
    goal = len(load.answers) + count
    until(lambda: len(load.answers) >= goal or bool(load.failed), f"{count} answers more", 60 + count)
    assert load.failed == [], load.told()


def timed(what: str, step: Callable[[], object], load: Load) -> None:
    began, count = time.monotonic(), len(load.answers)
    step()
    seconds = time.monotonic() - began
    print(f"\n  {what}: {seconds:.0f} s, {len(load.answers) - count} requests meanwhile", flush=True)
    assert load.failed == [], load.told()


def upgrade() -> None:
    release("upgrade", before=False, options=("--timeout=15m",))
    for name in ("postgresql", "mlflow"):
        cluster().rolled_out(f"statefulset/beacon-{name}", seconds=600)
    for name in ("inference", "feature-serving", "console"):
        cluster().rolled_out(f"deployment/beacon-{name}", seconds=900)
    until(lambda: images() == {TAG}, "pods of this release alone", 300)


def go_back() -> None:
    helm("rollback", "--wait", "--timeout=15m")
    until(lambda: images() == {BEFORE_TAG}, "pods of the release before alone", 300)


def test_an_upgrade_and_the_way_back_lose_no_request_and_no_record() -> None:
    make_namespace()
    release("install", before=True)
    until(world.answers, "a prediction through the ingress", 1200)
    until(lambda: [row.step for row in world.ledger()] == ["adopt"], "the first release in the ledger", 120)
    assert images() == {BEFORE_TAG}
    ids = fill()
    pin = promoted("promote-before", 1.001)
    was, said = records(), looked_up(ids[:20])
    assert {len(rows) > 0 for table, rows in was.items() if table != "approvals"} == {True}
    schema = sql("select version_num from alembic_version")

    with world.steady() as load:
        more(load, 300)
        timed("upgrade", upgrade, load)
        assert world.serving() == pin, "an upgrade leaves the model"
        assert missing(was, records()) == {}
        assert looked_up(ids[:20]) == said
        now = sql("select version_num from alembic_version")
        timed("a promotion by this release", lambda: promoted("promote-after", 1.002), load)
        served, middle = world.serving(), records()
        timed("helm rollback", go_back, load)
        assert world.serving() == served, "a rollback by Helm leaves the model"
        more(load, max(300, REQUESTS - len(load.answers)))
        assert looked_up(ids[:20]) == said
    assert load.failed == [], load.told()
    assert len(load.answers) >= REQUESTS
    # Old and new answered what they said they would keep, and it is there.
    acknowledged = set(load.acknowledged)
    until(lambda: not acknowledged - logged(), "every acknowledged prediction in the database", 180)
    assert missing(middle, records()) == {}
    assert sql("select sum(predictions) from traffic") == sql("select count(*) from predictions")
    print(
        f"\n  {len(load.answers)} requests, 0 failed; {len(acknowledged)} predictions acknowledged, 0 lost;"
        f" p99 {load.seconds(0.99) * 1000:.0f} ms, slowest {load.seconds(1) * 1000:.0f} ms; schema {schema} to {now}",
        flush=True,
    )


def test_it_goes_as_it_came() -> None:
    helm("uninstall", "--wait")
    run(["kubectl", "delete", "namespace", os.environ["NAMESPACE"]])
