"""Triggers and the lock: one run at a time, the pause, and requests that are answered once."""

import contextlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.data.job_runs import recorded
from beacon_core.data.retrain_requests import TAKEN, WAITING
from beacon_core.data.run_lock import only_one
from beacon_core.data.tables import retrain_requests
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.platform.job import status_of
from beacon_core.platform.locks import BusyError
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_retraining.pipeline import triggers
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.pipeline.stages import JOB
from beacon_retraining.training.settings import TrainSettings

HOLD = """
import sys, time
from pathlib import Path
from beacon_core.data.database import open_store
from beacon_core.data.run_lock import only_one
with only_one(open_store("sqlite://"), Path(sys.argv[1]), "retrain"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def engine(settings: Settings) -> Engine:
    engine = open_store(settings.database)
    migrate(engine)
    return engine


def ask(engine: Engine, cause: str) -> None:
    row = {"cause": cause, "requested_by": "drift", "reason": "drifted", "state": WAITING}
    with engine.begin() as connection:
        connection.execute(insert(retrain_requests).values(row | {"created_at": datetime.now(UTC)}))


def states(engine: Engine) -> dict[str, tuple[str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(select(retrain_requests)).mappings()
        return {row["cause"]: (row["state"], row["outcome"]) for row in rows}


def is_transient(error: BaseException) -> bool:
    return status_of(error) == TRY_AGAIN


def test_one_run_answers_all_requests_and_never_again(engine: Engine) -> None:
    ask(engine, "a")
    ask(engine, "b")
    with triggers.answering(engine, triggers.open_causes(engine), datetime.now(UTC), is_transient) as outcome:
        ask(engine, "later")
        assert states(engine)["a"] == (TAKEN, None)
        outcome.append("version 2: pass")
    assert states(engine) == {
        "a": ("done", "version 2: pass"),
        "b": ("done", "version 2: pass"),
        "later": ("waiting", None),
    }
    assert triggers.open_causes(engine) == ["later"]


def test_a_failure_that_may_pass_leaves_a_request_waiting_and_another_ends_it(engine: Engine) -> None:
    ask(engine, "a")
    with (
        contextlib.suppress(FetchError),
        triggers.answering(engine, ["a"], datetime.now(UTC), is_transient),
    ):
        raise FetchError("Kaggle is down")
    assert states(engine) == {"a": ("waiting", "Kaggle is down")}
    with (
        contextlib.suppress(FetchRefusedError),
        triggers.answering(engine, ["a"], datetime.now(UTC), is_transient),
    ):
        raise FetchRefusedError("bad data")
    assert states(engine) == {"a": ("refused", "bad data")}
    assert triggers.open_causes(engine) == []


def test_what_a_killed_run_had_taken_is_taken_again(engine: Engine) -> None:
    ask(engine, "a")
    with (
        contextlib.suppress(KeyboardInterrupt),
        triggers.answering(engine, ["a"], datetime.now(UTC), is_transient),
    ):
        raise KeyboardInterrupt
    assert states(engine) == {"a": ("taken", None)}
    assert triggers.open_causes(engine) == ["a"]


def test_the_pause_begins_with_the_end_of_a_good_run(engine: Engine, product: Product) -> None:
    now = datetime.now(UTC)
    assert triggers.cooldown_left(engine, JOB, product, now) <= timedelta(0)
    with contextlib.suppress(OSError), recorded(engine, JOB, "1", triggers.WHOLE_RUN):
        raise OSError
    with recorded(engine, JOB, "1", "train"):
        pass
    assert triggers.cooldown_left(engine, JOB, product, now) <= timedelta(0)
    with recorded(engine, JOB, "2", triggers.WHOLE_RUN):
        pass
    left = triggers.cooldown_left(engine, JOB, product, now)
    pause = timedelta(hours=product.policy.retraining.cooldown_hours)
    assert pause <= left < pause + timedelta(minutes=1)
    assert triggers.cooldown_left(engine, JOB, product, now + pause + timedelta(minutes=1)) <= timedelta(0)


@pytest.mark.parametrize("trigger", [triggers.SCHEDULE, triggers.REQUESTS])
def test_within_the_pause_nothing_is_done_and_a_request_waits(
    trigger: str, engine: Engine, settings: Settings, product: Product
) -> None:
    ask(engine, "a")
    with recorded(engine, JOB, "1", triggers.WHOLE_RUN):
        pass
    said: list[str] = []
    assert retrain(settings, product, TrainSettings(), RetrainOptions(trigger), said.append) is None
    assert "the cooldown after the last retraining ends in" in said[0]
    assert states(engine) == {"a": ("waiting", None)}


def test_without_a_request_nothing_is_done(engine: Engine, settings: Settings, product: Product) -> None:
    said: list[str] = []
    assert retrain(settings, product, TrainSettings(), RetrainOptions(triggers.REQUESTS), said.append) is None
    assert said == ["there is no request to retrain"]


def test_one_run_at_a_time_and_a_killed_one_holds_nothing(engine: Engine, settings: Settings, product: Product) -> None:
    locks = settings.home / "run"
    environment = os.environ
    command = [sys.executable, "-c", HOLD, str(locks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="another retraining is at work"):
            retrain(settings, product, TrainSettings(), RetrainOptions(), lambda line: None)
        # The look for requests, every five minutes, fails only where there is one.
        look = RetrainOptions(triggers.REQUESTS)
        assert retrain(settings, product, TrainSettings(), look, lambda line: None) is None
        ask(engine, "a")
        with pytest.raises(BusyError, match="another retraining is at work"):
            retrain(settings, product, TrainSettings(), look, lambda line: None)
        holder.kill()
    with only_one(engine, locks, JOB):
        pass
