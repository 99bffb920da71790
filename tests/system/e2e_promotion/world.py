"""A namespace with what a promotion needs, and what the tests do there: models, verdicts, runs, the ledger."""

import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import yaml
from support import bad_models
from support.closed import CLOSED, make_certificates, trust_authority
from support.on_cluster import (
    ADDRESS,
    INSTALLATION,
    NAMESPACE,
    PRODUCT,
    ROW,
    cluster,
    known,
    secret_text,
    signing_key,
    sql,
    until,
)
from support.ports import free_ports
from support.steady_load import Answer, Door, Load, both, under_load
from system.chaos.table import PAGE, write

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, Package
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import DIGEST_ALONE, sign
from beacon_core.sources.rows import read_rows
from beacon_retraining.registry.register import Registry, RegistryEntry
from tools import deploy

HOST = f"{NAMESPACE}.test"
"""A host of its own, so that others may use the same ingress."""
RATE = float(os.environ.get("RATE") or 20)
USERS = 400
"""How many different requests the load makes: to equal ones no model could show what it is."""


def doors(rows: Sequence[dict[str, Any]] = (), host: str = HOST) -> list[Door]:
    """Both kinds of client with these rows; the bundled sample's where none are given."""
    chosen = list(rows) or sample()
    found = [both("predict", f"{ADDRESS}/v1/predict", {"features": row}, known()) for row in chosen]
    return [door._replace(host=host) for pair in found for door in pair]


def sample(product: Product = PRODUCT) -> list[dict[str, Any]]:
    """Rows of the bundled sample."""
    table = read_rows(product)
    rows = [{name: row[name] for name in product.feature_names if row[name] is not None} for row in table]
    return rows[:: max(1, len(rows) // USERS)][:USERS]


def phases(seconds: float, requests: int, watch: float = 20, *, installation: str = INSTALLATION) -> None:
    """How long the phases of the next runs are, how many requests they need, and how long the watch is."""
    name = f"{installation}-promotion-product"
    # As it is there, not as this checkout has it: the suite of upgrades begins with the release before.
    limits = yaml.safe_load(
        json.loads(cluster().kubectl("get", "configmap", name, "-o", "json"))["data"]["policy.yaml"]
    )
    given = {"phase_seconds": seconds, "min_requests": requests, "watch_seconds": watch}
    # The node does a cluster's work beside the pods, and a window holds ten requests: its p99 is the slowest of them.
    limits["rollout"] = limits.get("rollout", {}) | given | {"min_p99_rise_seconds": 0.02}
    data = {"policy.yaml": yaml.safe_dump(limits, sort_keys=False)}
    cluster().kubectl("patch", "configmap", name, "--type=merge", f"--patch={json.dumps({'data': data})}")


def set_up() -> None:
    """Everything but the services that a promotion has nothing to do with; safe to repeat."""
    here = cluster()
    deploy.prepare(here)
    if CLOSED:
        make_certificates(here)
    deploy.platform(here)
    deploy.product_data(here)
    here.upgrade("retraining")
    here.rolled_out("statefulset/beacon-mlflow", seconds=600)
    install()
    here.upgrade("promotion")
    phases(20, 100)
    until(answers, "an answer through the ingress", 60)


def install(*options: str) -> None:
    """Inference with the model that it has, else with the champion; other values do not stay from before."""
    here = cluster()
    model = deploy.first_model(here)
    settings = [option for key, value in model.items() for option in ("--set-string", f"model.{key}={value}")]
    settings += ["--set-string", f"ingress.host={HOST}"]
    here.upgrade("inference", *settings, *options, "--wait", "--timeout", "5m")


def answers(host: str = HOST, row: Mapping[str, Any] = ROW) -> bool:
    """Whether the ingress leads from a name to a model."""
    try:
        answer = httpx.post(
            f"{ADDRESS}/v1/predict", json={"features": row}, headers={"Host": host, **known()}, timeout=10
        )
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


class Models:
    """Packages made on this machine out of the champion, registered in the cluster's MLflow."""

    def __init__(
        self, address: str, folder: Path, installation: str = INSTALLATION, product: Product = PRODUCT
    ) -> None:
        self._product = product
        login = address.replace("://", f"://beacon-writer:{secret_text('beacon-mlflow-writer', 'password')}@")
        self._registry = Registry(login)
        self._folder = folder
        self._key = signing_key(folder, installation)
        self.first = serving(installation)
        self.base = download_package(login, self.first, folder, DIGEST_ALONE)

    def good(self, factor: float) -> Pin:
        """One more good model."""
        version = self._registry.next_version(self._product.name)
        return self._register(bad_models.good(self._folder, self.base, version, factor))

    def bad(self, kind: str) -> Pin:
        """One more bad model."""
        version = self._registry.next_version(self._product.name)
        return self._register(bad_models.build(kind, self._folder, self.base, version, slow_seconds=0.25))

    def _register(self, pin: Pin) -> Pin:
        folder = package_folder(self._folder, pin)
        manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
        package = Package(folder, manifest, (folder / MODEL_FILE).read_bytes(), pin.sha256)
        signature = sign(self._key, pin.sha256)
        self._registry.register(self._product, package, RegistryEntry(pin.sha256, {}, {}), "challenger", signature)
        return pin


@contextmanager
def models(installation: str = INSTALLATION, product: Product = PRODUCT) -> Iterator[Models]:
    """MLflow of the cluster, reached from here."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trust_authority(cluster(), Path(folder)) if CLOSED else ""
        with forwarded("beacon-mlflow", 5000, "/health", authority) as address:
            yield Models(address, Path(folder), installation, product)


@contextmanager
def forwarded(service: str, port: int, health: str, authority: str = "") -> Iterator[str]:
    """The address at which a service of the cluster is reached from here; by https with an authority's file."""
    (own,) = free_ports(1)
    forward = ["kubectl", "-n", NAMESPACE, "port-forward", f"service/{service}", f"{own}:{port}"]
    process = subprocess.Popen(forward, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"{'https' if authority else 'http'}://127.0.0.1:{own}"
        until(lambda: _up(address + health, authority), service, 60)
        yield address
    finally:
        process.terminate()
        process.wait()


def _up(url: str, authority: str) -> bool:
    trusted = ssl.create_default_context(cafile=authority) if authority else True
    try:
        return httpx.get(url, timeout=5, verify=trusted).status_code == 200
    except httpx.HTTPError:
        return False


def judge(pin: Pin, outcome: str = "pass", *, installation: str = INSTALLATION) -> None:
    """The gate's word on a model against the one in service; a failure needs none, and may come amid a try."""
    champion = f"'{serving(installation).version}'" if outcome == "pass" else "null"
    words = json.dumps({"reason": f"a test says {outcome}"})
    sql(
        "insert into verdicts (moment, product, version, sha256, champion_version, outcome, data_fingerprint, verdict) "
        f"values (now(), '{pin.name}', '{pin.version}', '{pin.sha256}', {champion}, '{outcome}', 'test', '{words}')",
        installation,
    )


def reject(pin: Pin) -> None:
    """A person's word."""
    sql(
        "insert into approvals (decided_at, product, version, sha256, decision, person, reason) "
        f"values (now(), '{pin.name}', '{pin.version}', '{pin.sha256}', 'rejected', 'a test', 'a test takes it back')"
    )


class Run(NamedTuple):
    """A run of the job that ended."""

    status: int
    output: str
    seconds: float


def promote(name: str, *arguments: str, installation: str = INSTALLATION) -> Run:
    """Run the job to its end."""
    began = time.monotonic()
    command = ["python", "jobs/promote.py", *(arguments or ("run",))]
    status, output = cluster().job(name, f"{installation}-promotion", command)
    return Run(status, output, time.monotonic() - began)


def serving(installation: str = INSTALLATION) -> Pin:
    """What every pod that is not going is made to serve; fails when they differ."""
    found = {json.dumps(release["model"]) for release in releases(installation)}
    assert len(found) == 1, found
    return Pin(**json.loads(found.pop()))


def releases(installation: str = INSTALLATION) -> list[dict[str, Any]]:
    """What each pod of inference is made to serve, those that are going included, and none that waits for its first."""
    chosen = f"--selector=app.kubernetes.io/name=inference,app.kubernetes.io/part-of={installation}"
    pods = json.loads(cluster().kubectl("get", "pods", chosen, "-o", "json"))["items"]
    given = [pod["metadata"].get("annotations", {}).get("beacon/release") for pod in pods]
    return [json.loads(release) for release in given if release is not None]


class Row(NamedTuple):
    """A row of the ledger."""

    moment: datetime
    run: str
    step: str
    outcome: str
    reason: str
    versions: frozenset[str]
    message: str


def ledger(installation: str = INSTALLATION) -> list[Row]:
    """All rows, in order."""
    columns = "extract(epoch from moment), run, step, outcome, coalesce(reason, ''), serving, message"
    text = sql(f"select json_agg(json_build_array({columns}) order by moment, id) from promotions", installation)
    rows = json.loads(text) if text and text != "null" else []
    return [
        Row(
            datetime.fromtimestamp(float(moment), UTC),
            run,
            step,
            outcome,
            reason,
            frozenset(pin["version"] for pin in (json.loads(pins) if isinstance(pins, str) else pins or [])),
            message,
        )
        for moment, run, step, outcome, reason, pins, message in rows
    ]


def inconsistencies() -> list[str]:
    """What is not as it must be after a run: one model, nothing on trial, Helm at rest, the ledger closed and right."""
    found = []
    chosen = "--selector=app.kubernetes.io/part-of=beacon"
    pods = json.loads(cluster().kubectl("get", "pods", chosen, "-o", "json"))["items"]
    names = [pod["metadata"]["name"] for pod in pods]
    found += [f"{name} is left" for name in names if "inference-dark" in name or "inference-canary" in name]
    served = {json.dumps(release, sort_keys=True) for release in releases()}
    if len(served) != 1:
        found.append(f"pods serve {served}")
    history = json.loads(cluster().helm("history", "inference", "-o", "json"))
    if history[-1]["status"] != "deployed":
        found.append(f"Helm's last revision is {history[-1]['status']}")
    last = ledger()[-1]
    versions = {json.loads(release)["model"]["version"] for release in served}
    if last.step not in {"end", "adopt", "watch"} or last.versions != versions:
        found.append(f"the ledger ends with {last.step} {set(last.versions)}, and {versions} serve")
    return found


class Clock:
    """Turns the load's monotonic times into the ledger's."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def moment(self, monotonic: float) -> datetime:
        """The same moment as a date."""
        return datetime.fromtimestamp(monotonic + self._offset, UTC)


def contradictions(answers: list[Answer], rows: list[Row], clock: Clock) -> list[str]:
    """Answers whose version the ledger did not name at any moment while they were under way."""
    found = []
    for answer in answers:
        if answer.status != 200:
            continue
        sent, got = clock.moment(answer.sent), clock.moment(answer.sent + answer.seconds)
        named: set[str] = set()
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            if row.moment <= got and (following is None or following.moment >= sent):
                named |= row.versions
        if rows and got < rows[0].moment:
            continue
        if answer.version not in named:
            found.append(f"{sent.time()} to {got.time()}: version {answer.version}, the ledger says {sorted(named)}")
    return found


@contextmanager
def steady(rows: Sequence[dict[str, Any]] = (), host: str = HOST) -> Iterator[Load]:
    """Users, new and kept connections in turn; they are answered before the block begins."""
    until(lambda: answers(host), f"an answer for {host}", 60)
    with under_load(doors(rows, host), RATE) as load:
        yield load


def put(what: str, wanted: str, seen: str) -> None:
    """One row of the table."""
    print(f"\n  {what}: {seen}", flush=True)
    write(PAGE, what, wanted, seen, "e2e-promotion")


def at_once(*calls: Callable[[], Run]) -> list[Run]:
    """Runs started at the same moment, to their ends."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def ends_since(count: int) -> list[Row]:
    """How the runs ended after so many rows of the ledger."""
    return [row for row in ledger()[count:] if row.step == "end"]
