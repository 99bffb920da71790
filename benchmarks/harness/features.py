"""Feature serving beside `feast serve`, on the same repository and store; and what an entity costs inference."""

import math
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import servers
from harness.asking import ask, batches, check, started, tolerance, write_bodies
from harness.closedloop import Loaded, closed_loop
from harness.machine import ROOT, WORK, BenchError, say, versions
from harness.model import Model
from harness.plan import Plan
from harness.processes import free_port, running
from harness.served import shown

Store = Literal["sqlite", "redis"]
STORES: tuple[Store, ...] = ("sqlite", "redis")
SIZES = (1, 100)
"""Entities a request."""
CONNECTIONS = 8
PATH = "/get-online-features"
ENVIRONMENT = ROOT / ".venvs" / "feature-serving"


class Subject(msgspec.Struct, frozen=True):
    """One way to serve features: how it starts, given the folder of feature_store.yaml and a port."""

    name: str
    title: str
    command: Callable[[Path, int], list[str]]


class Looked(msgspec.Struct, frozen=True):
    """Figures of one subject on one store, `CONNECTIONS` connections. `closed` is keyed by entities a request."""

    name: str
    title: str
    store: Store
    first_answer_seconds: float
    closed: dict[int, Loaded]


class Lookup(msgspec.Struct, frozen=True):
    """Everything measured of feature lookup; `extra_p50_ms` is what an entity adds to a prediction's p50."""

    versions: dict[str, str]
    looked: tuple[Looked, ...]
    features_p50_ms: float
    entity_p50_ms: float

    def of(self, name: str, store: Store) -> Looked:
        """The figures of one subject on one store."""
        return next(looked for looked in self.looked if (looked.name, looked.store) == (name, store))

    @property
    def extra_p50_ms(self) -> float:
        return self.entity_p50_ms - self.features_p50_ms


def _feast(*options: str) -> Callable[[Path, int], list[str]]:
    program = str(ENVIRONMENT / "bin" / "feast")
    return lambda folder, port: [program, "-c", str(folder), "serve", "-p", str(port), "--no-access-log", *options]


SUBJECTS = (
    Subject(
        "beacon",
        "**Beacon**",
        lambda _folder, _port: [str(ENVIRONMENT / "bin" / "python"), "-m", "beacon_feature_serving"],
    ),
    Subject("feast", "`feast serve`", _feast()),
    Subject("feast-steady", "`feast serve`, its worker never restarted", _feast("--max-requests", "0")),
)


def measure_features(model: Model, plan: Plan) -> Lookup:
    """Every subject on every store, then inference with entities."""
    looked = []
    subjects = SUBJECTS if plan.steady_feast else SUBJECTS[:2]
    for store in STORES:
        with _filled(model, store) as variables:
            looked += [_measure(subject, model, plan, store, variables) for subject in subjects]
            if store == "sqlite":
                by_features, by_entity = _inference(model, plan, variables)
    return Lookup(versions(ENVIRONMENT, ["feast", "redis"]), tuple(looked), by_features, by_entity)


@contextmanager
def _filled(model: Model, store: Store) -> Generator[dict[str, str]]:
    """A store of its own with the model's features in it; gives the settings that name it."""
    home = WORK / f"features-{store}"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(Path(model.home) / "data", home / "data")
    variables = {
        "BEACON_HOME": str(home),
        "BEACON_FILES": str(home),
        "BEACON_FEAST_PROJECT": "beacon",
        "FEAST_USAGE": "False",
    }
    repository = ROOT / "feature_repo"
    if store == "sqlite":
        _fill(variables)
        yield _with_feast(repository, home, variables)
        return
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
    variables |= {"BEACON_FEATURE_REPO": str(repository / "redis"), "REDIS_CONNECTION": f"127.0.0.1:{port}"}
    with running("redis", command, {}, home):
        _fill(variables)
        yield _with_feast(repository / "redis", home, variables)


def _fill(variables: dict[str, str]) -> None:
    command = [ENVIRONMENT / "bin" / "python", Path(__file__).with_name("fill.py")]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the feature store could not be filled: {done.stderr.strip()}")


def _with_feast(repository: Path, home: Path, variables: dict[str, str]) -> dict[str, str]:
    """Feast's command needs feature_store.yaml in a folder of its own; it fills in ${...} by itself."""
    (home / "repository").mkdir()
    shutil.copyfile(repository / "feature_store.yaml", home / "repository" / "feature_store.yaml")
    return variables


def _measure(subject: Subject, model: Model, plan: Plan, store: Store, variables: dict[str, str]) -> Looked:
    starts = [_once(subject, model, store, variables) for _ in range(plan.starts - 1)]
    with _serving(subject, model, store, variables) as (port, seconds):
        closed = {}
        for entities in SIZES:
            _check(port, model, entities)
            bodies = [_body(model, batch) for batch in batches(model.entities, entities)]
            file = write_bodies(f"features-{entities}", bodies)
            # feast serve drops connections when it restarts its worker: that is counted, and no reason to stop.
            lossy = subject.name == "feast"
            loaded = closed_loop(port, PATH, file, CONNECTIONS, plan.feature_seconds, plan.repetitions, may_lose=lossy)
            closed[entities] = loaded
            say(f"  {subject.name}, {store}: {entities} entities: {shown(loaded)}")
    return Looked(subject.name, subject.title, store, statistics.median([*starts, seconds]), closed)


def _once(subject: Subject, model: Model, store: Store, variables: dict[str, str]) -> float:
    with _serving(subject, model, store, variables) as (_, seconds):
        return seconds


@contextmanager
def _serving(
    subject: Subject, model: Model, store: Store, variables: dict[str, str], port: int = 0
) -> Generator[tuple[int, float]]:
    port = port or free_port()
    own = {**variables, "BEACON_FEATURES_PORT": str(port), "BEACON_FEATURES_METRICS_PORT": str(free_port())}
    folder = Path(variables["BEACON_HOME"]) / "repository"
    name = f"features-{subject.name}-{store}"
    command = subject.command(folder, port)
    with started(name, command, own, folder, lambda: _check(port, model, 1)) as (_, seconds):
        yield port, seconds


def _body(model: Model, entities: list[int]) -> dict[str, Any]:
    return {"feature_service": model.feature_service, "entities": {model.entity: entities}}


def _check(port: int, model: Model, count: int) -> None:
    """The values served must be the rows that the model was trained on; raises `BenchError`."""
    answer = ask(port, PATH, _body(model, list(model.entities[:count])))
    served = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    for name in model.names:
        values = served[name]["values"]
        for value, row in zip(values, model.rows[:count], strict=True):
            if value is None or not math.isclose(value, row[name], rel_tol=1e-6):
                raise BenchError(f"{PATH}: {name} is {value}, was stored as {row[name]}")


def _inference(model: Model, plan: Plan, variables: dict[str, str]) -> tuple[float, float]:
    """p50 in ms of one prediction on one connection: by its features, and by an entity whose features are looked up."""
    by_features, features_port, port = servers.beacon(model), free_port(), free_port()
    by_entity = servers.Call("/v1/predict", lambda rows: {"entity": rows[0]}, lambda answer: [answer["prediction"]])
    own = {**by_features.variables(port), "BEACON_FEATURES_URL": f"http://127.0.0.1:{features_port}"}
    files: dict[str, list[Any]] = {
        "features": [by_features.one.encode(batch) for batch in batches(model.rows, 1)],
        "entity": [by_entity.encode([{model.entity: key}]) for [key] in batches(model.entities, 1)],
    }

    def ready() -> None:
        check(port, by_features.one, model, 1)
        [answer] = by_entity.decode(ask(port, by_entity.path, by_entity.encode([{model.entity: model.entities[0]}])))
        if abs(answer - model.expected[0]) > tolerance(model):
            raise BenchError(f"by entity: {answer}, by features: {model.expected[0]}")

    p50 = {}
    command, folder = by_features.command(port), by_features.folder
    with (
        _serving(SUBJECTS[0], model, "sqlite", variables, features_port),
        started("inference-with-features", command, own, folder, ready),
    ):
        for name, bodies in files.items():
            file = write_bodies(f"inference-{name}", bodies)
            loaded = closed_loop(port, by_entity.path, file, 1, plan.seconds, plan.repetitions)
            say(f"  inference by {name}: {shown(loaded)}")
            p50[name] = loaded.p50_ms
    return p50["features"], p50["entity"]
