"""From fault to page: a real Prometheus and Alertmanager on the cluster, a receiver that this test holds, and a clock.

First an hour of health in which nobody may be paged, then what must page. Each test writes its row into
docs/reference/reliability.md. `make e2e-paging`.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.bad_models import good, out_of_range
from support.on_cluster import VALUES, cluster, make, until, watched
from support.receiver import Notice, Receiver
from support.steady_load import Load, under_load
from system.chaos.table import PAGE, write
from system.paging.product import doors, prepare, register, release, write_values

from tools.deploy import prepare as make_namespace

RATE = 4.0
"""Requests a second: enough for the rules' least numbers, little for the machine."""


MINUTES = float(os.environ.get("MINUTES") or 60)
"""Of health."""
CALM_SECONDS = 300.0
"""Health before a fault, so that it begins as faults do."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Holds what Alertmanager sends; Beacon is deployed to send it here, and Watchdog has come."""
    with Receiver(os.environ["RECEIVER"]) as receiver:
        VALUES.mkdir(parents=True, exist_ok=True)
        write_values(VALUES, receiver.address)
        make_namespace(cluster())
        prepare(receiver.address)
        done = make("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        assert receiver.first(lambda notice: notice.path == "/deadman", time.time(), 300), "no sign of life"
        yield receiver


@pytest.fixture
def load(receiver: Receiver) -> Iterator[Load]:
    """Varied traffic while a test runs."""
    with under_load(doors(), RATE) as load:
        yield load


def seen(fault: str, wanted: str, text: str) -> None:
    print(f"\n  {fault}: {text}", flush=True)
    write(PAGE, fault, wanted, text, suite="e2e-paging")


def fires(alert: str) -> Callable[[Notice], bool]:
    return lambda notice: (notice.path, notice.alert, notice.status) == ("/page", alert, "firing")


def resolves(alert: str) -> Callable[[Notice], bool]:
    return lambda notice: (notice.path, notice.alert, notice.status) == ("/page", alert, "resolved")


def read(notice: Notice, receiver: Receiver) -> None:
    """What the on-call reads must say what happened, where, and what to do."""
    for alert in notice.payload["alerts"]:
        assert alert["annotations"]["description"]
        assert alert["annotations"]["runbook_url"].endswith(f"/runbooks/{notice.alert}.md")
        assert alert["labels"]["namespace"] == cluster().namespace
    text = receiver.first(
        lambda other: other.path == "/slack" and notice.alert in str(other.payload), notice.at - 5, 30
    )
    assert text is not None
    attachment = text.payload["attachments"][0]
    assert attachment["title"].startswith(f"{notice.alert} [critical] ")
    for words in ("What to do: ", f"/runbooks/{notice.alert}.md", "Where to look: ", cluster().namespace, "since "):
        assert words in attachment["text"]
    print(f"\n{attachment['title']}\n{attachment['text']}", flush=True)


def paged(receiver: Receiver, fault: str, alert: str, since: float, within: float) -> float:
    """Wait for the page; seconds it took."""
    notice = receiver.first(fires(alert), since, within)
    assert notice is not None, f"{fault}: no page within {within:g} s"
    read(notice, receiver)
    return notice.at - since


def over(receiver: Receiver, alert: str, since: float, within: float = 600) -> float:
    notice = receiver.first(resolves(alert), since, within)
    assert notice is not None, f"{alert}: not resolved within {within:g} s"
    return notice.at - since


def test_an_hour_of_health_pages_nobody(receiver: Receiver, load: Load, tmp_path: Path) -> None:
    whole = MINUTES * 60
    kubectl, rolled = cluster().kubectl, cluster().rolled_out
    # A receiver of an earlier run that is gone is a fault of which a page rightly tells.
    ailing = 'ALERTS{severity="critical"} or increase(alertmanager_notifications_failed_total[15m]) > 0'
    until(lambda: not watched(ailing, "namespace"), "health before the hour", 1500)
    start = time.time()

    def wait_until(share: float) -> None:
        time.sleep(max(0.0, start + share * whole - time.time()))

    wait_until(0.15)
    kubectl("rollout", "restart", "deployment/beacon-inference")
    rolled("deployment/beacon-inference")
    wait_until(0.35)
    release(register(lambda models, base, version: good(models, base, version, 1.001), tmp_path))
    wait_until(0.55)
    kubectl("delete", "pod", "beacon-prometheus-0")
    rolled("statefulset/beacon-prometheus")
    wait_until(0.75)
    for name in ("feature-serving", "console"):
        kubectl("rollout", "restart", f"deployment/beacon-{name}")
        rolled(f"deployment/beacon-{name}")
    wait_until(1)

    pages, tickets = receiver.pages(start), receiver.pages(start, "/ticket")
    life = [notice.at for notice in receiver.pages(start, "/deadman")]
    gaps = [later - earlier for earlier, later in zip([start, *life], [*life, time.time()], strict=True)]
    told = sorted({notice.alert for notice in tickets if notice.status == "firing"})
    text = (
        f"{len(pages)} pages, tickets: {', '.join(told) or 'none'}; {len(load.answers)} requests, "
        f"{len(load.failed)} failed; {len(life)} signs of life, at most {max(gaps):.0f} s apart"
    )
    wanted = "0 pages; no request fails; the dead man's switch hears of it"
    seen(f"{whole / 60:g} minutes of health: a rollout, a new model, Prometheus restarted", wanted, text)
    assert [notice.payload for notice in pages] == []
    assert len(load.failed) < len(load.answers) / 1000, load.told()
    assert max(gaps) < 300


def test_the_api_is_gone(receiver: Receiver, load: Load) -> None:
    fault, alert = "no prediction server is there", "BeaconApiDown"
    start = time.time()
    cluster().kubectl("scale", "deployment/beacon-inference", "--replicas=0")
    told = paged(receiver, fault, alert, start, 240)
    # The symptoms get their time to page, too.
    time.sleep(90)
    others = {notice.alert for notice in receiver.pages(start)} - {alert}
    back = time.time()
    cluster().kubectl("scale", "deployment/beacon-inference", "--replicas=2")
    resolved = over(receiver, alert, back)
    also = f"; also paged: {', '.join(sorted(others))}" if others else "; no symptom paged beside it"
    seen(fault, "page within 180 s, over within 600 s", f"page after {told:.0f} s, over after {resolved:.0f} s{also}")
    assert told <= 180
    assert others == set(), "the cause mutes its symptoms"


def test_a_fifth_of_all_requests_fails(receiver: Receiver, load: Load) -> None:
    fault, alert = "feature serving is gone: a fifth of the requests are answered 503", "BeaconErrorBudgetBurn"
    time.sleep(CALM_SECONDS)
    asked, failed = len(load.answers), len(load.failed)
    start = time.time()
    cluster().kubectl("scale", "deployment/beacon-feature-serving", "--replicas=0")
    told = paged(receiver, fault, alert, start, 240)
    share = (len(load.failed) - failed) / (len(load.answers) - asked)
    back = time.time()
    cluster().kubectl("scale", "deployment/beacon-feature-serving", "--replicas=1")
    resolved = over(receiver, alert, back)
    wanted = "page within 180 s, over within 600 s"
    seen(fault, wanted, f"{share:.0%} failed; page after {told:.0f} s, over after {resolved:.0f} s")
    assert told <= 180
    assert 0.1 < share < 0.3


def test_a_model_answers_out_of_range(receiver: Receiver, load: Load, tmp_path: Path) -> None:
    fault, alert = "a model answers ten times too much to three of ten requests", "BeaconPredictionsOutOfRange"
    pin = register(out_of_range, tmp_path)
    start = time.time()
    release(pin)
    told = paged(receiver, fault, alert, start, 1000)
    back = time.time()
    cluster().helm("rollback", "inference", "--wait", "--timeout", "5m")
    resolved = over(receiver, alert, back)
    wanted = "page within 900 s, over within 600 s of the rollback"
    seen(fault, wanted, f"page after {told:.0f} s, over after {resolved:.0f} s, by the rules' own windows")
    assert told <= 900
