"""Retention: what policy.yaml keeps for some days goes after them, in small steps, and is noted."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from support.products import copy_policy

from beacon_core.data import removals, retention
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import (
    actuals,
    data_removals,
    drift_results,
    drift_runs,
    job_runs,
    model_error,
    predictions,
    profiles,
    traffic,
)
from beacon_core.domain.retention import Retention
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MIXED = ROOT / "tests" / "products" / "mixed" / "product.yaml"
AGES = (0, 39, 40, 41, 99)
KEPT = Retention(predictions_days=40, actuals_days=90, drift_days=40)


def prediction(number: int, moment: datetime) -> dict[str, Any]:
    return {
        "id": f"p{number:06d}", "time": moment, "features": {"area": 1.0}, "imputed": [], "out_of_range": [],
        "prediction": 1.0, "low": 0.0, "high": 2.0, "model_version": "1", "model_sha256": "a" * 64,
        "latency_seconds": 0.01, "request_id": "q",
    }  # fmt: skip


def fill(engine: Engine, now: datetime) -> None:
    """A row of each kind for each of the ages, a second older than so many days."""
    with engine.begin() as connection:
        for days in AGES:
            moment = now - timedelta(days=days, seconds=1)
            hour = moment.replace(minute=0, second=0, microsecond=0)
            period = moment.isoformat()
            connection.execute(insert(predictions), prediction(days, moment))
            told = {"prediction_id": f"p{days:06d}", "value": 1.0, "source": "test"}
            connection.execute(insert(actuals), told | {"observed_at": now, "received_at": moment})
            kept = {"model_version": "1", "rows": 1}
            content = {"segment": "", "bytes": b"", "sums": {}, "profiled_at": now, "hour": hour}
            connection.execute(insert(profiles), kept | content)
            made = {"period": period, "created_at": moment, "rows": 1}
            connection.execute(insert(drift_runs), made | {"state": "ok", "summary": {}})
            found = {"kind": "data", "feature": "area", "effect": "nulls", "state": "ok", "alarm": False}
            connection.execute(
                insert(drift_results), made | found | {"window": "7d", "model_version": "1", "confirmed": False}
            )
            error = {"window": "7d", "segment": "", "model_version": "1", "metric": "mae", "until": moment}
            connection.execute(insert(model_error), made | error)


def left(engine: Engine, *tables: Any) -> list[int]:
    with engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


TABLES = (predictions, actuals, profiles, drift_results, model_error, drift_runs)


def test_nothing_goes_where_policy_yaml_says_nothing(engine: Engine) -> None:
    fill(engine, NOW)
    assert retention.expire(engine, Retention(), NOW) == {}
    assert left(engine, *TABLES) == [5] * 6


def test_what_is_too_old_goes(engine: Engine) -> None:
    fill(engine, NOW)
    expected = {
        "predictions": 3, "actuals": 1, "profiles": 3, "drift_results": 3, "model_error": 3, "drift_runs": 3,
    }  # fmt: skip
    assert retention.count(engine, KEPT, NOW) == expected
    assert left(engine, *TABLES) == [5] * 6
    assert retention.expire(engine, KEPT, NOW, rest=0) == expected
    assert left(engine, *TABLES) == [2, 4, 2, 2, 2, 2]
    assert retention.expire(engine, KEPT, NOW, rest=0) == dict.fromkeys(expected, 0)
    with engine.connect() as connection:
        assert list(connection.execute(select(predictions.c.id).order_by("id")).scalars()) == ["p000000", "p000039"]
        assert (
            connection.execute(select(func.sum(traffic.c.predictions))).scalar_one() == 5
        )  # what was made, is counted


def test_steps_are_small_and_others_write_in_between(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    old = NOW - timedelta(days=50)
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction(number, old) for number in range(2500)])
    seen = []

    def write_meanwhile(_seconds: float) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
            connection.execute(insert(predictions), prediction(900_000 + len(seen), NOW))
        seen.append(left(engine, predictions)[0])

    # Not time.sleep itself: what ends a PostgreSQL waits by it, too.
    monkeypatch.setattr(retention, "time", SimpleNamespace(sleep=write_meanwhile))
    assert retention.expire(engine, KEPT, NOW)["predictions"] == 2500
    assert seen == [1501, 502, 3]


def test_the_audit_trail_is_only_appended_to(engine: Engine) -> None:
    row = removals.Removal("run", NOW, "mixed", "retention", "done", "expire", "rule", removed={"predictions": 3})
    with engine.begin() as connection:
        removals.append(connection, row)
    for statement in ("UPDATE data_removals SET actor = 'nobody'", "DELETE FROM data_removals"):
        with pytest.raises(SQLAlchemyError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        assert removals.newest(connection) == [row]


REFUSED = {
    "shorter than the windows of drift": ({"predictions_days": 30}, "retention.predictions_days", "must be 31 to"),
    "shorter than errors are watched": ({"drift_days": 30}, "retention.drift_days", "quality.windows_days"),
    "shorter than retraining reads": (
        {"predictions_days": 60, "actuals_days": 60}, "retention.predictions_days", "monitoring.model_age_days"
    ),
    "actuals shorter than predictions": (
        {"predictions_days": 90, "actuals_days": 80}, "retention.actuals_days", "at least retention.predictions_days"
    ),
    "actuals alone": ({"actuals_days": 80}, "retention.actuals_days", "at least retention.predictions_days"),
    "none": ({"drift_days": 0}, "retention.drift_days", "must be 31 to"),
    "a text": ({"drift_days": "long"}, "retention.drift_days", ""),
    "misspelt": ({"prediction_days": 90}, "retention", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_retention_that_loses_what_is_read_is_refused(tmp_path: Path, name: str) -> None:
    section, key, rule = REFUSED[name]
    monitoring = {"monitoring": {"model_age_days": 70}} if "retraining" in name else {}
    (tmp_path / "product.yaml").write_text(MIXED.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"retention": section, **monitoring}), encoding="utf-8")
    with pytest.raises(ProductError) as caught:
        load_product(tmp_path / "product.yaml")
    assert key in str(caught.value)
    assert rule in str(caught.value)


def test_a_retention_that_covers_what_is_read_is_taken(tmp_path: Path) -> None:
    product = with_retention(tmp_path, predictions_days=31, actuals_days=31, drift_days=31)
    assert load_product(product).policy.retention == Retention(31, 31, 31)
    assert load_product(MIXED).policy.retention == Retention()


def with_retention(folder: Path, **section: int) -> Path:
    copy_policy(folder)
    file = folder / "policy.yaml"
    policy = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    policy["promotion"] = {}
    file.write_text(yaml.safe_dump(policy | {"retention": section}), encoding="utf-8")
    (folder / "product.yaml").write_text(MIXED.read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "product.yaml"


def start(home: Path, product: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"BEACON_HOME": str(home), "BEACON_PRODUCT": str(product)}
    job = [sys.executable, str(ROOT / "jobs" / "expire.py"), *arguments]
    return subprocess.Popen(job, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)


def test_a_job_that_was_killed_is_ended_by_the_next(tmp_path: Path) -> None:
    home, now = tmp_path / "home", datetime.now(UTC)
    product = with_retention(tmp_path, predictions_days=40, drift_days=40)
    engine = open_store(f"sqlite:///{home}/beacon.db")
    migrate(engine)
    old = now - timedelta(days=50)
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction(number, old) for number in range(40_000)])
        connection.execute(insert(predictions), prediction(900_000, now))
    with start(home, product, "--dry-run") as dry:
        assert "would delete: 40000 predictions" in dry.communicate()[0]
        assert dry.returncode == 0
    killed = start(home, product)
    while left(engine, predictions) == [40_001]:
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (some,) = left(engine, predictions)
    assert 1 < some < 40_001
    with start(home, product) as again:
        output = again.communicate()[0]
        assert again.returncode == 0, output
        assert f"deleted: {some - 1} predictions" in output
    assert left(engine, predictions, data_removals, job_runs) == [1, 1, 2]
    with engine.connect() as connection:
        (row,) = removals.newest(connection)
        assert (row.kind, row.outcome, row.removed) == ("retention", "done", {"predictions": some - 1})
        assert list(connection.execute(select(job_runs.c.state).order_by("id")).scalars()) == ["running", "done"]
    with start(home, product) as nothing:
        assert "deleted: nothing" in nothing.communicate()[0]
    assert left(engine, data_removals) == [1]
    engine.dispose()
    with sqlite3.connect(home / "beacon.db") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
