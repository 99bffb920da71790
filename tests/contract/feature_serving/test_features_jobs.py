"""The jobs as they are run: materialization is incremental, idempotent and resumable; the skew check finds skew."""

import importlib
import json
import logging
import os
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, insert, select
from support.data_files import data_path
from support.features import frame_of
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import job_runs, predictions
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo

pytestmark = pytest.mark.xdist_group("features")
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    return Settings(home=tmp_path)


@pytest.fixture
def engine(settings: Settings) -> Engine:
    engine = open_store(settings.database)
    migrate(engine)
    return engine


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "beacon.job")


def job(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run jobs/NAME.py's main as `python jobs/NAME.py` does."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return int(importlib.import_module(f"beacon_feature_serving.commands.{name}").main())


def write(settings: Settings, *frames: pd.DataFrame) -> None:
    pd.concat(frames, ignore_index=True).to_parquet(data_path(settings), index=False)


def served(settings: Settings, product: Product, entity: int) -> dict[str, Any]:
    store = repo.open_store(settings)
    service = store.get_feature_service(product.feature_service)
    answer = store.get_online_features(service, {product.entity.key: [entity]}).to_dict()
    return {name: answer[name][0] for name in product.feature_names}


def runs(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(job_runs).order_by(job_runs.c.id)))


def test_materialization_is_incremental_and_takes_late_rows(
    settings: Settings, product: Product, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frame_of(product, [1, 2], NOW - 5 * HOUR, NOW - 5 * HOUR)
    write(settings, first)
    assert job("materialize", monkeypatch) == 0
    before = served(settings, product, 1)
    assert before["RM"] == first["RM"][0]

    # Repeated at once: no new rows, nothing changes.
    assert job("materialize", monkeypatch) == 0
    assert served(settings, product, 1) == before

    # Reported now, about a time before the last run: Feast's own increment would pass over it.
    late = frame_of(product, [3], NOW - 3 * HOUR, datetime.now(UTC)).assign(RM=8.5)
    newer = frame_of(product, [1], NOW - HOUR, datetime.now(UTC)).assign(RM=7.5)
    write(settings, first, late, newer)
    assert job("materialize", monkeypatch) == 0
    assert served(settings, product, 3)["RM"] == 8.5
    assert served(settings, product, 1)["RM"] == 7.5
    assert served(settings, product, 2)["RM"] == first["RM"][1]

    told = runs(engine)
    assert [(run.job, run.stage, run.state, run.rows) for run in told] == [
        ("materialize", "materialize", "done", rows) for rows in (2, 0, 2)
    ]
    assert told[2].details["newest"] == (NOW - HOUR).isoformat()
    assert all(run.ended_at >= run.started_at for run in told)


def test_a_run_that_broke_is_recorded_and_the_next_one_covers_it(
    settings: Settings,
    product: Product,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(settings, frame_of(product, [1], NOW - 5 * HOUR, NOW - 5 * HOUR))
    assert job("materialize", monkeypatch) == 0
    online = settings.home / "feast" / "online.db"
    kept = online.read_bytes()
    write(settings, frame_of(product, [1], NOW - HOUR, datetime.now(UTC)).assign(RM=9.5))
    os.truncate(online, 100)
    caplog.clear()
    assert job("materialize", monkeypatch) == 1
    (told,) = [record.message for record in caplog.records if record.name == "beacon.job"]
    assert told.startswith("materialization failed: ")
    assert "\n" not in told
    online.write_bytes(kept)
    assert job("materialize", monkeypatch) == 0
    assert served(settings, product, 1)["RM"] == 9.5
    assert [run.state for run in runs(engine)] == ["done", "failed", "done"]
    assert runs(engine)[1].error


def test_an_emptied_store_is_filled_by_a_run_of_everything(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, frame_of(product, [1], NOW - 5 * HOUR, NOW - 5 * HOUR))
    assert job("materialize", monkeypatch) == 0
    before = served(settings, product, 1)
    with sqlite3.connect(settings.home / "feast" / "online.db") as store:
        (table,) = store.execute("select name from sqlite_master where type = 'table'").fetchone()
        store.execute(f'delete from "{table}"')
    store.close()
    assert job("materialize", monkeypatch) == 0
    assert set(served(settings, product, 1).values()) == {None}
    assert job("materialize", monkeypatch, "--all") == 0
    assert served(settings, product, 1) == before


def test_before_the_first_retraining_there_is_nothing_to_do_and_nothing_failed(
    settings: Settings,
    product: Product,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for arguments in ((), ("--all",)):
        assert job("materialize", monkeypatch, *arguments) == 0
        assert "nothing to do: " in caplog.text
        assert "features.parquet" in caplog.text
    assert [(run.state, run.rows) for run in runs(engine)] == [("done", 0)] * 2
    write(settings, frame_of(product, [1], NOW - HOUR, NOW - HOUR))
    assert job("materialize", monkeypatch) == 0
    assert served(settings, product, 1)["RM"] is not None


def test_data_that_are_gone_are_a_failure(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(settings, frame_of(product, [1], NOW - HOUR, NOW - HOUR))
    assert job("materialize", monkeypatch) == 0
    data_path(settings).unlink()
    for arguments in ((), ("--all",)):
        caplog.clear()
        assert job("materialize", monkeypatch, *arguments) == 1
        assert "features.parquet" in caplog.text


def log_prediction(engine: Engine, number: int, time: datetime, entity: int | None, features: Any) -> None:
    found = {name: value for name, value in (features or {}).items() if value is not None}
    with engine.begin() as connection:
        connection.execute(
            insert(predictions).values(
                id=f"p{number}",
                time=time,
                entity=None if entity is None else str(entity),
                features=found,
                from_store=None if features is None else list(found),
                imputed=[],
                out_of_range=[],
                prediction=20.0,
                low=18.0,
                high=22.0,
                model_version="1",
                model_sha256="0" * 64,
                latency_seconds=0.001,
                request_id=f"r{number}",
            )
        )


def test_skew_is_found_and_its_features_are_named(
    settings: Settings,
    product: Product,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = frame_of(product, [1, 4], NOW - 5 * HOUR, NOW - 5 * HOUR)
    new = frame_of(product, [1], NOW - 2 * HOUR, NOW - 2 * HOUR).assign(RM=9.25)
    write(settings, old, new)
    repo.apply(settings, product)
    repo.materialize(settings, product)
    names = list(product.feature_names)
    (first, with_null) = json.loads(old[names].to_json(orient="records", double_precision=15))
    assert with_null["ZN"] is None

    log_prediction(engine, 1, NOW - 3 * HOUR, 1, first)
    log_prediction(engine, 2, NOW - HOUR, 1, first | {"RM": 9.25})
    log_prediction(engine, 3, NOW - HOUR, 4, with_null)
    log_prediction(engine, 4, NOW - HOUR, None, None)  # by features only: not for the replay
    log_prediction(engine, 5, NOW - 6 * HOUR, 4, dict.fromkeys(names))  # before its entity was known, and so nothing
    assert job("skew", monkeypatch) == 0
    assert "0 of 4 predictions differ" in caplog.text

    log_prediction(engine, 6, NOW - HOUR, 1, first)  # served the old RM after the new one was known
    log_prediction(engine, 7, NOW - HOUR, 4, with_null | {"ZN": 1.0})
    assert job("skew", monkeypatch) == 1
    assert "2 of 6 predictions differ (33.33%); features: " in (told := caplog.text)
    assert "RM 1" in told
    assert "ZN 1" in told
    assert job("skew", monkeypatch, "--most", "0.5") == 0
    assert runs(engine)[1].details == {"predictions": 6, "unequal": 2, "share": 2 / 6, "features": {"RM": 1, "ZN": 1}}


def test_no_predictions_is_no_skew(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    repo.apply(settings, product)
    assert job("skew", monkeypatch) == 0
    assert "0 of 0" in caplog.text
