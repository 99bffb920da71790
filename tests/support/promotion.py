"""A place to promote on: real inference on free ports, packages with a verdict, users who keep asking, the real job."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import numpy as np
import onnxruntime
from sqlalchemy import insert
from support.packages import build_package, linear_onnx
from support.server import INFERENCE, Server, serving

from beacon_core.data import ledger
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import verdicts
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import (
    MODEL_FILE,
    FeatureFacts,
    GoldenRequest,
    Package,
    digest,
    read_package,
    write_manifest,
)
from beacon_core.model_package.release import Release, package_folder, read_release, write_release
from beacon_core.platform.settings import ROOT
from beacon_retraining.data.validate import validate

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
JOB = ROOT / "jobs" / "promote.py"


def sample_package(models: Path, product: Product, version: str = "1") -> Package:
    """A linear model fitted to the bundled sample, with the manifest that goes with it."""
    pin = build_package(models, product, version)
    folder = package_folder(models, pin)
    manifest = read_package(folder, pin.sha256).manifest
    sample = validate(product.sample_path, product).dropna()
    features, target = sample[list(product.feature_names)].to_numpy(float), sample[product.target.name].to_numpy(float)
    weights = np.linalg.lstsq(np.column_stack([features, np.ones(len(features))]), target, rcond=None)[0]
    model = linear_onnx(weights[:-1], float(weights[-1]))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = session.run(None, {"features": features.astype(np.float32)})[0].ravel().astype(float)
    quantiles = np.quantile(features, LEVELS, axis=0)
    facts = tuple(
        FeatureFacts(
            name=known.name,
            fill=float(np.median(features[:, place])),
            min=float(features[:, place].min()),
            max=float(features[:, place].max()),
            quantiles=_seven(quantiles[:, place]),
            importance=known.importance,
            levels=known.levels,
        )
        for place, known in enumerate(manifest.features)
    )
    golden = tuple(GoldenRequest(tuple(map(float, features[row])), float(answers[row])) for row in range(0, 400, 50))
    (folder / MODEL_FILE).write_bytes(model)
    changed = msgspec.structs.replace(
        manifest,
        features=facts,
        golden=golden,
        prediction_min=float(answers.min() - 10),
        prediction_max=float(answers.max() + 10),
        prediction_quantiles=tuple(map(float, np.quantile(answers, LEVELS))),
        files={MODEL_FILE: digest(model)},
    )
    return read_package(folder, write_manifest(folder, changed))


class Asked(NamedTuple):
    """One request of a user: when it was sent and answered, the status (0: no answer) and the version that answered."""

    sent: datetime
    answered: datetime
    status: int
    version: str


class Done(NamedTuple):
    """A job that ended."""

    status: int
    text: str
    seconds: float


def _seven(values: "np.ndarray[Any, Any]") -> tuple[float, float, float, float, float, float, float]:
    a, b, c, d, e, f, g = map(float, values)
    return a, b, c, d, e, f, g


class Place:
    """A laptop's home with inference running on it, and the job that promotes there."""

    def __init__(self, home: Path, server: Server, product: Product, base: Package, **settings: Any) -> None:
        self.home, self.server, self.product, self.base = home, server, product, base
        self.models = home / "models"
        named: dict[str, Any] = {
            "HOME": home,
            "PRODUCT": product.file,
            "INFERENCE_PORT": server.port,
            "INFERENCE_METRICS_PORT": server.metrics_port,
            "FEATURES_PORT": 1,
            "MLFLOW_PORT": 1,
            "PROMOTE_EVERY_SECONDS": 1,
        } | {name.upper(): value for name, value in settings.items()}
        self.environment = {f"BEACON_{name}": str(value) for name, value in named.items()}
        self.environment |= {"PATH": os.environ["PATH"]}
        self.environment["PYTHONUNBUFFERED"] = "1"
        self.engine = open_store(named.get("DATABASE_URL") or f"sqlite:///{home / 'beacon.db'}")
        migrate(self.engine)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """The job, begun."""
        return subprocess.Popen(
            [ROOT / ".venvs" / "promotion" / "bin" / "python", JOB, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Done:
        """The job, to its end."""
        began = time.monotonic()
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=300)
        return Done(process.returncode, text, time.monotonic() - began)

    def judged(self, pin: Pin, outcome: str = "pass", champion: str = "") -> None:
        """Write a verdict on a package."""
        row = {
            "moment": datetime.now(UTC),
            "product": pin.name,
            "version": pin.version,
            "sha256": pin.sha256,
            "champion_version": champion or self.serving(),
            "outcome": outcome,
            "data_fingerprint": "0" * 64,
            "verdict": {"reason": "clearly better, and within every limit", "checks": []},
        }
        with self.engine.begin() as connection:
            connection.execute(insert(verdicts).values(row))

    def serving(self) -> str:
        """The version that the release file names, and the one in shadow if there is one: 1, or 1+2."""
        release = read_release(self.home / "release.json")
        return release.model.version + (f"+{release.shadow.version}" if release.shadow else "")

    def answers(self) -> str:
        """The version that inference says it serves."""
        return str(httpx.get(f"{self.server.address}/readyz", timeout=60).json()["model"]["version"])

    def rows(self) -> list[Entry]:
        """The ledger, the oldest row first."""
        with self.engine.connect() as connection:
            return ledger.history(connection, self.product.name, 10_000)[::-1]

    def served_at(self, moment: datetime) -> set[str]:
        """What the ledger says may have answered then."""
        with self.engine.connect() as connection:
            entry = ledger.served_at(connection, self.product.name, moment)
        return set() if entry is None else {pin.version for pin in entry.serving}

    def processes(self) -> list[str]:
        """Command lines of dark instances of this home that still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"BEACON_HOME={self.home}/run/dark".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
        return found


@contextlib.contextmanager
def place(home: Path, product: Product, **settings: Any) -> Iterator[Place]:
    """Version 1 in service, and a place to promote on."""
    base = sample_package(home / "models", product)
    write_release(home / "release.json", Release(model=Pin(product.name, "1", base.sha256)))
    database = {name: value for name, value in settings.items() if name == "database_url"}
    with serving(home, INFERENCE, product=product.file, **database) as server:
        made = Place(home, server, product, base, **settings)
        try:
            yield made
        finally:
            made.engine.dispose()


@contextlib.contextmanager
def users(made: Place, pause: float = 0.02) -> Iterator[list[Asked]]:
    """Somebody asks all the time, for the length of the block."""
    names = made.product.feature_names
    bodies = [{"features": dict(zip(names, case.row, strict=True))} for case in made.base.manifest.golden]
    asked: list[Asked] = []
    end = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=made.server.address, timeout=30) as client:
            number = 0
            while not end.wait(pause):
                number += 1
                sent = datetime.now(UTC)
                try:
                    answer = client.post("/v1/predict", json=bodies[number % len(bodies)])
                    version = answer.json().get("model", {}).get("version", "")
                    asked.append(Asked(sent, datetime.now(UTC), answer.status_code, version))
                except httpx.HTTPError:
                    asked.append(Asked(sent, datetime.now(UTC), 0, ""))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        end.set()
        thread.join()


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the job alone: what it started has to see to itself."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
