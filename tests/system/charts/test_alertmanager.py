"""The routes of alerts, as Alertmanager itself reads them, and a live Alertmanager that delivers by them."""

import json
import shutil
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ports import free_port
from support.receiver import Receiver
from support.rendering import pods, rendered, template
from support.waiting import until

from beacon_core.platform.settings import ROOT
from tests.system.alerts.promtool import alerts

BUNDLED = ["default-values.yaml", "receivers-values.yaml"]
SECRETS = "/etc/alertmanager/secrets"
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}


def config_of(documents: list[dict[str, Any]], name: str = "beacon-alertmanager-config") -> dict[str, str]:
    found: dict[str, str] = next(
        item["data"] for item in documents if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", name)
    )
    return found


def written(values: str, folder: Path) -> Path:
    file = folder / "alertmanager.yml"
    file.write_text(config_of(rendered("monitoring", values))["alertmanager.yml"])
    return file


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("values", BUNDLED)
def test_alertmanager_and_prometheus_take_their_configuration(values: str, tmp_path: Path) -> None:
    done = amtool("check-config", str(written(values, tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    documents = rendered("monitoring", values)
    (tmp_path / "prometheus.yml").write_text(
        config_of(documents, "beacon-prometheus-config")["prometheus.yml"].replace("/etc/prometheus", str(tmp_path))
    )
    (tmp_path / "rules").mkdir()
    for name, text in config_of(documents, "beacon-prometheus-rules").items():
        (tmp_path / "rules" / name).write_text(text)
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("rules found") == len(list((ROOT / "charts/monitoring/files/rules").glob("*.yaml")))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (CRITICAL | {"team": "serving"}, "page"),
        (CRITICAL | {"team": "model"}, "model-page"),
        (CRITICAL, "page"),
        (WARNING | {"team": "serving"}, "ticket"),
        (WARNING | {"team": "model"}, "model-ticket"),
        ({"alertname": "Watchdog", "severity": "none"}, "deadman"),
        ({"alertname": "Strange"}, "ticket"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels: dict[str, str], receiver: str, tmp_path: Path) -> None:
    file = written("receivers-values.yaml", tmp_path)
    given = [f"{name}={value}" for name, value in labels.items()]
    route = ["config", "routes", "test", f"--config.file={file}"]
    done = amtool(*route, f"--verify.receivers={receiver}", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    other = "ticket" if receiver != "ticket" else "page"
    assert amtool(*route, f"--verify.receivers={other}", *given).returncode != 0


@pytest.mark.parametrize("values", BUNDLED)
def test_every_alert_of_the_rules_reaches_a_receiver_of_its_severity(values: str, tmp_path: Path) -> None:
    file = written(values, tmp_path)
    wanted = {"critical": {"page", "model-page"}, "warning": {"ticket", "model-ticket"}, "none": {"deadman"}}
    for severity, team, name in {
        (rule["labels"]["severity"], rule["labels"]["team"], rule["alert"]) for rule in alerts()
    }:
        labels = [f"alertname={name}", f"severity={severity}", f"team={team}", "namespace=beacon"]
        told = amtool("config", "routes", "test", f"--config.file={file}", *labels).stdout.split()
        assert set(told) <= wanted[severity], name


def test_only_tickets_are_muted() -> None:
    config = yaml.safe_load(config_of(rendered("monitoring", "receivers-values.yaml"))["alertmanager.yml"])
    named = {interval["name"] for interval in config["time_intervals"]}
    routes = [inner for route in config["route"]["routes"] for inner in (route, *route.get("routes", []))]
    muted = {route["receiver"] for route in routes if set(route.get("mute_time_intervals", [])) == named}
    assert muted == {"ticket", "model-ticket"}
    assert {route["receiver"] for route in routes if "mute_time_intervals" in route} == muted


@pytest.mark.parametrize("values", BUNDLED)
def test_secrets_are_files_that_the_pod_has(values: str) -> None:
    documents = rendered("monitoring", values)
    text = config_of(documents)["alertmanager.yml"]
    files = [word.split(": ")[1] for word in text.splitlines() if "_file: " in word]
    assert all(file.startswith(SECRETS) for file in files)
    spec = next(spec for labels, spec in pods(documents) if labels["app.kubernetes.io/name"] == "alertmanager")
    mounted = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in spec["volumes"]}
    for file in files:
        folder, _, _ = file.rpartition("/")
        assert volumes[mounted[folder]] == folder.rpartition("/")[2]
    assert len(files) == (0 if values == "default-values.yaml" else 7)


def test_a_team_without_its_receiver_is_refused() -> None:
    given = ["--values=charts/monitoring/ci/receivers-values.yaml", "--set=teams.serving.page=nobody"]
    done = template("monitoring", *given)
    assert done.returncode != 0
    assert "teams.serving.page: no receiver is called nobody" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"pager": {"secret": {"name": "a", "key": "b"}}},
        {"pagerduty": {"secret": {"name": "a", "key": "b"}, "routing_key": "SECRET"}},
        {"webhook": {"url": "ftp://example.com"}},
        {"email": {"to": "a@example.com", "from": "b@example.com", "smarthost": "example.com"}},
        {},
    ],
)
def test_a_way_that_is_none_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    values = {"prober": {"image": {"tag": "1"}}, "receivers": {"page": [wrong], "ticket": [], "deadman": []}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = template("monitoring", f"--values={tmp_path / 'values.yaml'}")
    assert done.returncode != 0
    assert "receivers.page.0" in done.stderr or "/receivers/page/0" in done.stderr, done.stderr


def _plain(value: Any) -> Any:
    """A name without its spelling: group_wait and groupWait are one."""
    if isinstance(value, dict):
        return {name.replace("_", "").lower(): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _matchers(route: dict[str, Any], key: str) -> list[str]:
    return [f'{item["name"]}{item["matchType"]}"{item["value"]}"' for item in route.get(key, [])]


def test_the_operators_routes_are_the_bundled_ones() -> None:
    bundled = yaml.safe_load(config_of(rendered("monitoring", "receivers-values.yaml"))["alertmanager.yml"])
    spec = next(item for item in rendered("monitoring", "operator-values.yaml") if item["kind"] == "AlertmanagerConfig")
    operator = spec["spec"]

    def tree(route: dict[str, Any], *, theirs: bool) -> Any:
        own = _matchers(route, "matchers") if theirs else route.get("matchers", [])
        rest = {key: value for key, value in _plain(route).items() if key not in {"matchers", "routes"}}
        return own, rest, [tree(inner, theirs=theirs) for inner in route.get("routes", [])]

    assert tree(operator["route"], theirs=True) == tree(bundled["route"], theirs=False)
    kinds = [
        {receiver["name"]: {key.replace("_", "").lower(): len(ways) for key, ways in receiver.items() if key != "name"}}
        for config in (bundled, operator)
        for receiver in config["receivers"]
    ]
    assert kinds[: len(kinds) // 2] == kinds[len(kinds) // 2 :]
    ours = [(rule["source_matchers"], rule["target_matchers"], rule["equal"]) for rule in bundled["inhibit_rules"]]
    theirs = [
        (_matchers(rule, "sourceMatch"), _matchers(rule, "targetMatch"), rule["equal"])
        for rule in operator["inhibitRules"]
    ]
    assert ours == theirs
    assert _plain(bundled["time_intervals"]) == [
        {"name": item["name"], "timeintervals": _plain(item["timeIntervals"])} for item in operator["muteTimeIntervals"]
    ]


def test_the_operator_gets_the_same_rules_and_all_resources_are_labelled() -> None:
    documents = rendered("monitoring", "operator-values.yaml")
    bundled = config_of(rendered("monitoring", "receivers-values.yaml"), "beacon-prometheus-rules")
    rules = {
        item["metadata"]["name"].removeprefix("beacon-") + ".yaml": item["spec"]
        for item in documents
        if item["kind"] == "PrometheusRule"
    }
    assert rules == {name: yaml.safe_load(text) for name, text in bundled.items()}
    own = [item for item in documents if item["apiVersion"].startswith("monitoring.coreos.com/")]
    assert {item["kind"] for item in own} == {"PrometheusRule", "ServiceMonitor", "Probe", "AlertmanagerConfig"}
    for item in own:
        assert item["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert "StatefulSet" not in {item["kind"] for item in documents}


def test_inhibitions_name_alerts_that_exist() -> None:
    names = {rule["alert"] for rule in alerts()}
    for item in yaml.safe_load((ROOT / "charts/monitoring/files/inhibitions.yaml").read_text()):
        assert {item["cause"]["alertname"], *item["symptoms"]} <= names
        assert item["equal"] == ["namespace"]


def test_every_alert_says_its_namespace_and_where_its_runbook_is() -> None:
    rules = config_of(rendered("monitoring", "receivers-values.yaml"), "beacon-prometheus-rules")
    found = [rule for text in rules.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for rule in (rule for rule in found if "alert" in rule):
        assert rule["labels"]["namespace"] == "beacon"
        assert rule["annotations"]["runbook_url"].startswith("https://wiki.example.com/beacon/runbooks/")
        assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example.com/d/")


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps what it is given."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        mails = self.mails

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 mailbox\r\n")
                for line in self.rfile:
                    verb = line[:4].upper()
                    if verb == b"QUIT":
                        break
                    if verb != b"DATA":
                        self.wfile.write(b"250 ok\r\n")
                        continue
                    self.wfile.write(b"354 go on\r\n")
                    text = b"".join(iter(self.rfile.readline, b".\r\n"))
                    mails.append(text.decode())
                    self.wfile.write(b"250 ok\r\n")
                self.wfile.write(b"221 bye\r\n")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


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
