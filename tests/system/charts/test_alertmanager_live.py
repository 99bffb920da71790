"""A live Alertmanager with the chart's configuration: what it delivers, by which way, and what it mutes."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from support.mailbox import Mailbox
from support.ports import free_port
from support.receiver import Receiver
from support.rendering import template
from support.waiting import until

from tests.system.alerts.promtool import alerts
from tests.system.charts.alertmanager_config import SECRETS, config_of


class Live:
    """A real Alertmanager with the chart's configuration, its waits shortened to seconds."""

    def __init__(self, config: str, folder: Path) -> None:
        loaded = yaml.safe_load(config.replace(SECRETS, str(folder / "secrets")))
        for route in loaded["route"]["routes"]:
            route |= {"group_wait": "3s", "group_interval": "1s"}
        (folder / "live.yml").write_text(yaml.safe_dump(loaded))
        program = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
        assert program, "Alertmanager is missing (Debian package prometheus-alertmanager)"
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        command = [program, f"--config.file={folder / 'live.yml'}", f"--storage.path={folder / 'data'}"]
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [*command, f"--web.listen-address={address}", "--cluster.listen-address="],
            stdout=self._log,
            stderr=self._log,
        )
        until(self._ready, "Alertmanager is ready")

    def _ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=10).close()
        except OSError:
            return False
        return True

    def send(self, *named: dict[str, str], over: bool = False) -> None:
        """Tell it of alerts as Prometheus would: the labels of the rule, and its annotations."""
        now = datetime.now(UTC)
        bodies = []
        for labels in named:
            rule = next(
                rule
                for rule in alerts()
                if rule["alert"] == labels["alertname"]
                and labels.get("severity", rule["labels"]["severity"]) == rule["labels"]["severity"]
            )
            whole = rule["labels"] | {"namespace": "beacon"} | labels
            ends = {"endsAt": now.isoformat()} if over else {"endsAt": (now + timedelta(minutes=5)).isoformat()}
            # An alert that began long ago is sent at once, before its group's wait is over.
            starts = {"startsAt": now.isoformat()}
            bodies.append({"labels": whole, "annotations": rule["annotations"]} | starts | ends)
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps(bodies).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._log.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver("127.0.0.1") as receiver:
        yield receiver


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.shutdown()
    mailbox.server_close()


@pytest.fixture
def live(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> Iterator[Live]:
    """With every kind of way, all ending here."""
    secrets = {"slack": f"{receiver.address}/slack", "pagerduty": "0" * 32, "opsgenie": "key", "token": "sesame"}
    folder = tmp_path / "secrets" / "all"
    folder.mkdir(parents=True)
    for key, text in secrets.items():
        (folder / key).write_text(text)

    def secret(key: str) -> dict[str, str]:
        return {"name": "all", "key": key}

    mail = {"to": "oncall@example.com", "from": "beacon@example.com", "requireTls": False}
    values = {
        "receivers": {
            "page": [
                {"webhook": {"url": f"{receiver.address}/page", "secret": secret("token")}},
                {"slack": {"secret": secret("slack"), "channel": "#oncall"}},
                {"pagerduty": {"secret": secret("pagerduty"), "url": f"{receiver.address}/pagerduty"}},
                {"opsgenie": {"secret": secret("opsgenie"), "url": f"{receiver.address}/opsgenie/", "team": "serving"}},
                {"email": mail | {"smarthost": f"127.0.0.1:{mailbox.server_address[1]}"}},
            ],
            "ticket": [{"webhook": {"url": f"{receiver.address}/ticket"}}],
            "deadman": [{"webhook": {"url": f"{receiver.address}/deadman"}}],
        },
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = template(
        "monitoring", "--values=charts/monitoring/ci/default-values.yaml", f"--values={tmp_path / 'values.yaml'}"
    )
    assert done.returncode == 0, done.stderr
    documents = [item for item in yaml.safe_load_all(done.stdout) if item]
    alertmanager = Live(config_of(documents)["alertmanager.yml"], tmp_path)
    yield alertmanager
    alertmanager.close()


DOWN, FAILING = {"alertname": "BeaconApiDown"}, {"alertname": "BeaconProbeFailing", "instance": "service"}


def test_a_page_arrives_by_every_way_and_says_what_to_do(live: Live, receiver: Receiver, mailbox: Mailbox) -> None:
    start = time.time()
    live.send(DOWN)
    paths = ("/page", "/slack", "/pagerduty", "/opsgenie/v2/alerts")
    found = {path: receiver.first(lambda notice, path=path: notice.path == path, start, 60) for path in paths}
    assert None not in found.values(), found
    payload = {path: notice.payload for path, notice in found.items() if notice}
    assert found["/page"]
    assert found["/page"].authorization == "Bearer sesame"
    alert = payload["/page"]["alerts"][0]
    assert (alert["status"], alert["labels"]["severity"]) == ("firing", "critical")
    texts = {
        "/slack": payload["/slack"]["attachments"][0],
        "/pagerduty": payload["/pagerduty"]["payload"]
        | {"text": payload["/pagerduty"]["payload"]["custom_details"]["text"]},
        "/opsgenie/v2/alerts": payload["/opsgenie/v2/alerts"] | {"text": payload["/opsgenie/v2/alerts"]["description"]},
    }
    until(lambda: mailbox.mails, "the mail is there")
    titles = [texts["/slack"]["title"], texts["/pagerduty"]["summary"], texts["/opsgenie/v2/alerts"]["message"]]
    assert set(titles) == {"BeaconApiDown [critical] No prediction server answers the scraper."}
    assert f"Subject: {titles[0]}" in mailbox.mails[0]
    for text in [kind["text"] for kind in texts.values()] + [mailbox.mails[0].replace("=\r\n", "")]:
        assert "Nobody gets a prediction: no server has been scraped for a minute." in text
        assert "What to do: https://beacon.example/runbooks/BeaconApiDown.md" in text
        assert "Where to look: https://beacon.example/d/beacon-service" in text
        assert "amespace beacon, team serving, since 20" in text
    assert payload["/opsgenie/v2/alerts"]["priority"] == "P1"
    assert payload["/pagerduty"]["payload"]["severity"] == "critical"

    start = time.time()
    live.send(DOWN, over=True)
    ended = receiver.first(lambda notice: (notice.path, notice.status) == ("/page", "resolved"), start, 60)
    assert ended is not None
    told = receiver.first(
        lambda notice: notice.path == "/slack" and "Over: BeaconApiDown" in str(notice.payload), start, 60
    )
    assert told is not None


def came(receiver: Receiver, since: float, path: str, alert: str, namespace: str = "beacon") -> bool:
    """Whether a notification comes within the time that a busy machine needs."""
    wanted = (path, alert, namespace)
    found = receiver.first(lambda notice: (notice.path, notice.alert, notice.namespace) == wanted, since, 60)
    return found is not None


def test_the_cause_mutes_its_symptoms_and_nothing_elsewhere(live: Live, receiver: Receiver) -> None:
    start = time.time()
    live.send(DOWN, FAILING, FAILING | {"namespace": "other"}, {"alertname": "BeaconStoreDown"})
    assert came(receiver, start, "/page", "BeaconApiDown")
    assert came(receiver, start, "/page", "BeaconProbeFailing", "other")
    assert came(receiver, start, "/ticket", "BeaconStoreDown")
    time.sleep(3)
    told = {(notice.alert, notice.namespace) for notice in receiver.pages(start)}
    assert told == {("BeaconApiDown", "beacon"), ("BeaconProbeFailing", "other")}
    # When the cause is over and the symptom is not, the symptom speaks.
    start = time.time()
    live.send(DOWN, over=True)
    live.send(FAILING)
    assert came(receiver, start, "/page", "BeaconProbeFailing")


def test_who_is_paged_gets_no_ticket_for_the_same(live: Live, receiver: Receiver) -> None:
    start = time.time()
    out = {"alertname": "BeaconPredictionsOutOfRange"}
    live.send(
        out | {"severity": "critical", "model_version": "7"},
        out | {"severity": "warning", "model_version": "7"},
        out | {"severity": "warning", "model_version": "6"},
    )
    assert came(receiver, start, "/page", "BeaconPredictionsOutOfRange")
    assert came(receiver, start, "/ticket", "BeaconPredictionsOutOfRange")
    time.sleep(3)
    assert len(receiver.pages(start)) == 1
    tickets = [alert["labels"] for notice in receiver.pages(start, "/ticket") for alert in notice.payload["alerts"]]
    assert {labels["model_version"] for labels in tickets} == {"6"}


def test_the_dead_mans_switch_hears_the_watchdog_and_nobody_else_does(live: Live, receiver: Receiver) -> None:
    start = time.time()
    live.send({"alertname": "Watchdog"})
    assert receiver.first(lambda notice: notice.path == "/deadman", start, 60)
    live.send({"alertname": "Watchdog"}, over=True)
    time.sleep(3)
    assert {notice.path for notice in receiver.notices} == {"/deadman"}
    assert {notice.status for notice in receiver.notices} == {"firing"}
