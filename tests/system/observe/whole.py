"""The product whole, as processes: trained, served, asked, profiled, and watched by Prometheus and an OTLP receiver."""

import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.api_keys import entry, write_keys
from support.mlflow import mlflow_server
from support.otlp import Receiver, receiving
from support.ports import free_port
from support.prometheus import Prometheus
from support.server import CONSOLE, FEATURES, INFERENCE, Server
from support.waiting import until

from beacon_core.domain.api_keys import new_key
from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT
from beacon_laptop.processes import Process
from beacon_laptop.simulated_traffic import SimulatedTraffic

JOBS = {
    "migrate": ("drift-profiling", "migrate.py"),
    "retrain": ("retraining", "retrain.py"),
    "materialize": ("feature-serving", "materialize.py"),
    "skew": ("feature-serving", "skew.py"),
    "drift": ("drift-profiling", "drift.py"),
    "fetch-model": ("inference", "fetch_model.py"),
    "golden": ("inference", "golden.py"),
}
"""Environment and file of every job that a cluster runs."""
QUICK = ("--here", "--folds", "3", "--repeats", "1", "--candidates", "ridge", "--jobs", "1", "--seed", "1")
ROWS = 600
ACTUALS = 300


class Whole:
    """A product that has run; `lines` are what each process wrote, by its name."""

    def __init__(self, folder: Path, product: Product, receiver: Receiver, mlflow: str) -> None:
        self.folder, self.product, self.receiver = folder, product, receiver
        self.home = folder / "home"
        self.home.mkdir()
        self.settings = {"mlflow_url": mlflow, "features_timeout_seconds": 20, "api_key": new_key()}
        self.key = new_key()
        self.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        self.servers: dict[str, Server] = {}

    def run(self, job: str, *arguments: str) -> None:
        """Run a job to its good end."""
        environment, file = JOBS[job]
        command = Process(job, environment, (str(ROOT / "jobs" / file), *arguments)).command
        given = {f"BEACON_{name.upper()}": str(value) for name, value in self.settings.items()}
        given |= {
            "BEACON_HOME": str(self.home),
            "BEACON_PRODUCT": str(self.product.file),
            "FEAST_USAGE": "False",
            "WHYLOGS_NO_ANALYTICS": "1",
        }
        given |= self.environment
        with (self.folder / f"{job}.log").open("ab") as log:
            status = subprocess.run(
                command, env=os.environ | given, stdout=log, stderr=log, check=False, timeout=800
            ).returncode
        assert status == 0, (self.folder / f"{job}.log").read_text()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """All servers, ended well so that they send their last spans."""
        with contextlib.ExitStack() as stack:
            for name, program in (("feature-serving", FEATURES), ("inference", INFERENCE), ("console", CONSOLE)):
                if name == "inference":
                    self.settings["features_url"] = self.servers["feature-serving"].address
                keys = {"api_keys_file": self.keys_file()} if name == "inference" else {}
                server = Server(self.home, program, self.environment, **self.settings, **keys)
                server.start()
                stack.callback(server.stop)
                self.servers[name] = server
            yield

    def keys_file(self) -> Path:
        """The key of a client that may do all that `live` does, for a time."""
        notebook = entry("notebook", self.key, "actuals", "read_log", expires="2999-01-01T00:00:00Z")
        return write_keys(self.folder / "keys.json", notebook | {"requests_per_day": 1_000_000})

    @contextlib.contextmanager
    def probing(self) -> Iterator[int]:
        """The prober, at the port that is given."""
        port = free_port()
        target = f"service={self.servers['inference'].address}/v1/predict"
        program = Process("prober", "inference", ("-m", "beacon_prober.prober", target, "--port", str(port)))
        given = {f"BEACON_{name.upper()}": str(self.settings[name]) for name in ("mlflow_url", "api_key")}
        given["BEACON_HOME"] = str(self.folder / "prober")
        with (self.folder / "prober.log").open("wb") as log:
            process = subprocess.Popen(program.command, env=os.environ | given, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(60)

    def watched(self, probes: dict[str, int]) -> Prometheus:
        """A Prometheus that scrapes all of it."""
        ports = {name: server.metrics_port for name, server in self.servers.items()}
        shipping = self.servers["inference"].log_process
        assert shipping is not None
        ports["prediction-log"] = shipping.metrics_port
        return Prometheus(self.folder, ports, probes)

    def live(self) -> None:
        """A day of it: predictions and explanations, refusals, gaps, odd values, actuals; then the jobs."""
        simulated = SimulatedTraffic(self.product, seed=1).rows(1, ROWS)
        rows = [{"features": row.features} for row in simulated]
        for number, row in enumerate(rows[: ROWS // 10]):
            name = self.product.key_features[number % len(self.product.key_features)]
            row["features"] = {key: value for key, value in row["features"].items() if key != name}
        predicted: list[dict[str, Any]] = []
        for first in range(0, ROWS, 50):
            predicted += self.post("/v1/predict/batch", {"rows": rows[first : first + 50]})["predictions"]
        for entity in range(1, 40):
            self.post("/v1/predict", {"entity": {self.product.keys[0]: entity}})
        for body in ({"features": {"RM": "six"}}, {"features": {"RM": 5}}, {"entity": {self.product.keys[0]: -1}}):
            self.post("/v1/predict", body)
        for body in (rows[-1], {"prediction_id": predicted[-1]["prediction_id"]}):
            self.post("/v1/explain", body)
        actuals = [
            {"prediction_id": answer["prediction_id"], "value": row.actual}
            for row, answer in zip(simulated[:ACTUALS], predicted, strict=False)
        ]
        self.post("/v1/actuals", {"actuals": actuals})
        until(lambda: self.logged() == 0, "the log is shipped in the background")

    def logged(self) -> float:
        """Predictions that are not in the store yet."""
        shipping = self.servers["inference"].log_process
        assert shipping is not None
        return shipping.metrics()["beacon_prediction_log_spool_records"]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request to inference; its answer, an error's, too."""
        url, headers = (
            self.servers["inference"].address + path,
            {"Content-Type": "application/json", "X-API-Key": self.key},
        )
        question = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(question, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))

    def lines(self) -> dict[str, list[str]]:
        """What every process wrote."""
        files = [*self.folder.glob("*.log"), *self.home.glob("*.log")]
        return {file.stem: file.read_text(encoding="utf-8").splitlines() for file in files}


@contextlib.contextmanager
def product_whole(folder: Path, product: Product) -> Iterator[tuple[Whole, Prometheus]]:
    """Train, serve, ask, profile; then the block, while everything serves."""
    (folder / "mlflow").mkdir()
    with receiving() as receiver, mlflow_server(folder / "mlflow") as mlflow:
        whole = Whole(folder, product, receiver, mlflow)
        for job in ("migrate", "retrain", "materialize", "fetch-model"):
            whole.run(job, *(QUICK if job == "retrain" else ()))
        with whole.serving(), whole.probing() as prober, whole.watched({"service": prober}) as prometheus:
            until(lambda: len(prometheus.query("up == 1")) == len(whole.servers) + 2, "every target was looked at")
            whole.live()
            for job in ("drift", "skew"):
                whole.run(job)
            whole.run("golden", f"{whole.servers['inference'].address}/v1/predict")
            yield whole, prometheus
