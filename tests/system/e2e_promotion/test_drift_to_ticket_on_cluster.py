"""The whole story on a real cluster, in one test: drift to a new model, a bad one to a ticket. `-k story`."""

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from playwright.sync_api import sync_playwright
from support.closed import CLOSED, PERSON
from support.on_cluster import ADDRESS, PORTS, PRODUCT, Steps, cluster, secret, sql, until
from support.receiver import Receiver
from system.e2e_promotion import world

from beacon_core.domain.pins import Pin
from beacon_core.platform.settings import ROOT
from beacon_laptop.simulated_traffic import CHANGE_DAY, SimulatedTraffic

ROWS = 500
LABELS = 200
PICTURE = ROOT / "docs" / "images" / "promotions.png"
ROLLED_BACK = "BeaconPromotionRolledBack"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Drift profiling, the console and what watches them; every alert comes to this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((urlsplit(ADDRESS).hostname, 80))  # sends nothing; says by which address the cluster sees us
        own = link.getsockname()[0]
    here = cluster()
    with Receiver(own) as receiver, tempfile.TemporaryDirectory() as folder:
        ways = {name: [{"webhook": {"url": f"{receiver.address}/{name}"}}] for name in ("page", "ticket", "deadman")}
        egress = [{"to": [{"ipBlock": {"cidr": f"{own}/32"}}]}]
        file = Path(folder) / "receivers.yaml"
        file.write_text(
            yaml.safe_dump({"receivers": ways, "deadmanInterval": "1m", "networkPolicy": {"egress": egress}})
        )
        here.upgrade("drift-profiling")
        here.upgrade("console")
        here.upgrade("monitoring", "--values", str(file), "--wait", "--timeout", "5m")
        here.rolled_out("deployment/beacon-console")
        assert receiver.first(lambda notice: notice.path == "/deadman", time.time(), 300), "no sign of life"
        yield receiver


def post(path: str, body: object) -> httpx.Response:
    headers = {"Host": world.HOST, "X-API-Key": secret("api-key")}
    return httpx.post(f"{ADDRESS}{path}", json=body, headers=headers, timeout=60).raise_for_status()


def logged(condition: str = "true") -> int:
    return int(sql(f"select count(*) from predictions where {condition}"))


def test_the_whole_story(receiver: Receiver) -> None:
    steps, began = Steps(), time.monotonic()
    first, before = world.serving(), len(world.ledger())
    with steps.timed("the world changes: 500 predictions, and their actuals"):
        rows = the_world_changes()
    with steps.timed("three hourly drift runs: confirmed, a retraining requested"):
        drift_is_found()
    with steps.timed("that retraining, with its verdict"):
        status, output = cluster().job("story-retraining", "beacon-retraining-requests")
        assert status == 0, output
        outcome, version, sha256 = sql("select outcome, version, sha256 from verdicts order by id desc limit 1").split(
            "|"
        )
        assert outcome == "pass", sql("select verdict from verdicts order by id desc limit 1")
    new = Pin(PRODUCT.name, version, sha256)
    # Enough for `min_labels` true prices among the requests, and for a canary's share of the users'.
    world.phases(45, 240)
    with steps.timed("dark, shadow, canary, released, verified, watched"), world.steady(rows) as load:
        run = world.promote("story-good", "run", "--watch")
    told = [(row.step, row.outcome) for row in world.ledger()[before:]]
    for step in ("check", "dark", "shadow", "canary", "release", "verify"):
        assert (step, "pass") in told, run.output
    assert ("end", "promoted") in told, run.output
    assert world.serving() == new

    world.phases(15, 100, watch=180)
    before = len(world.ledger())
    with world.models() as models, world.steady(rows) as users:
        bad = models.good(1.02)
        world.judge(bad)
        runs: list[world.Run] = []
        job = threading.Thread(target=lambda: runs.append(world.promote("story-bad", "run", "--watch")))
        with steps.timed("a model that passes every limit, promoted"):
            job.start()
            until(lambda: [end.outcome for end in world.ends_since(before)] == ["promoted"], "it is promoted", 300)
        with steps.timed("its answers turn out to be wrong: rolled back by the watch"):
            since = time.time()
            the_truth_comes(bad)
            job.join()
        with steps.timed("the ticket at Alertmanager's receiver"):
            notice = receiver.first(
                lambda notice: (notice.path, notice.alert, notice.status) == ("/ticket", ROLLED_BACK, "firing"),
                since,
                400,
            )
            assert notice is not None, [one.payload for one in receiver.notices[-5:]]
    end = world.ledger()[-1]
    assert (end.step, end.outcome, end.reason, world.serving()) == ("end", "rolled_back", "realised_error", new), runs
    assert world.inconsistencies() == []
    [alert] = notice.payload["alerts"]
    assert alert["annotations"]["runbook_url"].endswith(f"/runbooks/{ROLLED_BACK}.md")
    assert f"version {new.version}" in world.promote("story-served", "served").output
    look_at_the_ledger(bad, new)
    failed, sent = len(load.failed) + len(users.failed), len(load.answers) + len(users.answers)
    print("\n".join(steps.lines))
    world.put(
        "the whole story",
        "drift found, retrained, gate passed, shadow, canary, promoted, verified; a bad one rolled back, and told",
        f"from {first.version} to {new.version} and on to {bad.version} and back in {time.monotonic() - began:.0f} s; "
        f"{'; '.join(' '.join(line.split()) for line in steps.lines)}; {failed} of {sent} requests failed",
    )
    assert failed == 0, load.told() + users.told()


def the_world_changes() -> list[dict[str, float | int]]:
    """Predict rows of a changed world, and report their actuals; what this namespace was asked before is forgotten.

    The first model is made a day older: drift's request waits for the pause after the last retraining.
    """
    sql("update job_runs set ended_at = ended_at - interval '25 hours' where stage = 'run'")
    sql("delete from actuals")
    sql("delete from predictions")
    rows = SimulatedTraffic(PRODUCT).rows(CHANGE_DAY, ROWS)
    truth = []
    for start in range(0, ROWS, ROWS // 2):
        part = rows[start : start + ROWS // 2]
        answer = post("/v1/predict/batch", {"rows": [{"features": row.features} for row in part]}).json()
        truth += [
            {"prediction_id": one["prediction_id"], "value": row.actual}
            for row, one in zip(part, answer["predictions"], strict=True)
        ]
    until(lambda: logged() >= ROWS, "every prediction is logged", 60)
    for start in range(0, ROWS, ROWS // 2):
        post("/v1/actuals", {"actuals": truth[start : start + ROWS // 2]})
    return [row.features for row in rows[:: ROWS // world.USERS][: world.USERS]]


def drift_is_found() -> None:
    """Drift's job, three hours of it, until it has requested a retraining."""
    for hour in range(3):
        moment = (datetime.now(UTC) + timedelta(hours=hour)).isoformat()
        status, output = cluster().job(
            f"story-{hour}", "beacon-drift-profiling", ["python", "jobs/drift.py", "--at", moment]
        )
        assert status == 0, output
    assert SimulatedTraffic(PRODUCT).shifts.keys() <= set(
        sql("select distinct feature from drift_results where confirmed").split()
    )
    assert sql("select state from retrain_requests order by id desc limit 1") == "waiting"


def the_truth_comes(pin: Pin) -> None:
    """The actuals are twice what the model had said since it was released."""
    released = world.ledger()[-1].moment.isoformat()
    mine = f"model_version = '{pin.version}' and time > '{released}'"
    until(lambda: logged(mine) >= LABELS, "enough predictions of it", 120)
    lines = sql(f"select id, prediction from predictions where {mine} order by time limit {LABELS}").splitlines()
    most = PRODUCT.target.bounds[1]
    truth = [
        {"prediction_id": number, "value": min(most, 2 * float(value))}
        for number, value in (line.split("|") for line in lines)
    ]
    post("/v1/actuals", {"actuals": truth})


def look_at_the_ledger(bad: Pin, good: Pin) -> None:
    """The console's page of it as a person sees it; kept as a picture."""
    program = shutil.which("chromium")
    assert program, "install Debian's package chromium"
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with world.forwarded("beacon-console", PORTS["console"], "/livez") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, extra_http_headers=PERSON if CLOSED else {})
        page.goto(f"{address}/promotions")
        lines = page.locator("tbody tr").all_inner_texts()
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        assert "the watch" in lines[0]
        assert "realised error" in lines[0]
        assert "rolled back" in lines[0].lower()
        assert f"version {bad.version} serves" in lines[1]
        assert f"version {good.version} serves" in lines[2]
        page.locator("tbody a").first.click()
        assert "Rollback by the watch" in page.locator("h1").inner_text()
        browser.close()
