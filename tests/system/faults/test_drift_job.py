"""The drift job as a process: killed at any moment, and two at once."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select
from support.postgres import postgres_with_roles
from support.traffic import EPOCH, HOUR, World

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import (
    drift_results,
    drift_runs,
    job_runs,
    model_error,
    profiles,
    retrain_requests,
    watermarks,
)
from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.timeout(300)
HOURS, ROWS = 30, 60
TRY_AGAIN = 75
LEFT = (profiles, watermarks, drift_runs, drift_results, model_error, retrain_requests, job_runs)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, product: Product
) -> Iterator[World]:
    """A log of a day and more, in which something has moved."""
    home = tmp_path_factory.mktemp("drift") / "home"
    with _database(request.param, home) as url:
        made = World(home, product, database_url=url)
        made.release()
        for hour in range(HOURS):
            rows = made.population.shift(made.draw(ROWS), "LSTAT", 1.0)
            names = made.log_rows(rows, hour, minutes=hour)
            made.report_actuals(names[:20], rows[:20, -1], hour + 0.5)
        yield made
        made.engine.dispose()


@contextmanager
def _database(kind: str, home: Path) -> Iterator[str]:
    if kind == "postgresql":
        with postgres_with_roles() as cluster:
            yield cluster.url
        return
    url = f"sqlite:///{home / 'beacon.db'}"
    engine = open_store(url)
    migrate(engine)
    engine.dispose()
    yield url


@pytest.fixture
def wanted(world: World) -> tuple[object, ...]:
    """What an undisturbed run leaves; then as if there had been none."""
    clear(world)
    assert start(world).wait(120) == 0
    found = left(world)
    clear(world)
    return found


def clear(world: World) -> None:
    with world.engine.begin() as connection:
        for table in LEFT:
            connection.execute(delete(table))


def left(world: World) -> tuple[object, ...]:
    keep = [column for column in model_error.c if column.name not in {"id", "created_at"}]
    with world.engine.connect() as connection:
        errors = sorted(map(tuple, connection.execute(select(*keep))), key=str)
        asked = list(connection.execute(select(retrain_requests.c.cause)).scalars())
    assert errors
    return world.profiles(), world.results(), errors, asked


def start(world: World) -> "subprocess.Popen[bytes]":
    environment = {"PATH": os.environ["PATH"], "BEACON_PRODUCT": str(world.settings.product)}
    as_service = world.settings.database_url.replace("://beacon@", "://beacon_drift_profiling@")
    environment |= {"BEACON_HOME": str(world.settings.home), "BEACON_DATABASE_URL": as_service}
    moment = (EPOCH + HOURS * HOUR).isoformat()
    with (world.settings.home / "job.log").open("ab") as log:
        command = [ROOT / ".venvs" / "drift-profiling" / "bin" / "python", ROOT / "jobs" / "drift.py", "--at", moment]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def count(world: World, condition: object) -> int:
    with world.engine.connect() as connection:
        return int(connection.execute(select(func.count()).where(condition)).scalar_one())  # type: ignore[arg-type]


def profiled(least: int) -> Callable[[World], bool]:
    return lambda world: count(world, profiles.c.id.is_not(None)) >= least


def comparing(world: World) -> bool:
    return count(world, job_runs.c.stage == "compare") > 0


def rolled_up(world: World) -> bool:
    return count(world, profiles.c.segment == "day") > 0


def complete(world: World) -> None:
    """Run until a run gets through: PostgreSQL takes a moment to see that a killed one is gone."""
    for _ in range(20):
        if (status := start(world).wait(120)) == 0:
            return
        assert status == TRY_AGAIN
        time.sleep(0.2)
    raise AssertionError((world.settings.home / "job.log").read_text()[-2000:])


@pytest.mark.parametrize(
    "moments",
    [[profiled(1)], [profiled(7), profiled(19), comparing], [comparing, rolled_up]],
    ids=["first profile", "three times", "while it compares"],
)
def test_killed_at_any_moment_the_next_run_leaves_what_one_run_leaves(
    world: World, wanted: tuple[object, ...], moments: list[Callable[[World], bool]]
) -> None:
    for moment in moments:
        job = start(world)
        while job.poll() is None and not moment(world):
            time.sleep(0.001)
        job.kill()
        assert job.wait() in {-9, 0, TRY_AGAIN}
    complete(world)
    assert left(world) == wanted


def test_two_at_once_leave_what_one_leaves(world: World, wanted: tuple[object, ...]) -> None:
    statuses = sorted(job.wait(120) for job in [start(world), start(world)])
    assert statuses in ([0, 0], [0, TRY_AGAIN])
    assert left(world) == wanted
