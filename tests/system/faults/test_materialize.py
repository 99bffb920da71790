"""Materialization killed at any moment: what is online is always whole rows, and the next run completes it."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from support.data_files import data_path
from support.features import frame_of
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.settings import ROOT

ENTITIES = 2000
KILLS = int(os.environ.get("BEACON_MATERIALIZE_KILLS", "3"))


def write_rows(settings: Settings, product: Product, moment: datetime, rm: float) -> None:
    """One row an entity, all of which say the same RM, added to what is there."""
    row = frame_of(product, [1], moment, datetime.now(UTC))
    rows = pd.concat([row] * ENTITIES, ignore_index=True).assign(**{product.keys[0]: range(ENTITIES), "RM": rm})
    file = data_path(settings)
    file.parent.mkdir(exist_ok=True)
    before = [pd.read_parquet(file)] if file.exists() else []
    pd.concat([*before, rows], ignore_index=True).to_parquet(file, index=False)


def start_job(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {"BEACON_HOME": str(settings.home), "BEACON_PRODUCT": str(settings.product)}
    environment |= {"PATH": os.environ["PATH"], "FEAST_USAGE": "False"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "materialize.py")], env=environment, stderr=-1, stdout=-1
    )


def online(settings: Settings, product: Product) -> pd.DataFrame:
    """Entities by how many features of theirs have which event time."""
    table = f"beacon_{definitions.view_name(product)}"
    query = f'SELECT hex(entity_key) AS entity, event_ts, count(*) AS features FROM "{table}" GROUP BY 1, 2'
    with sqlite3.connect(settings.home / "feast" / "online.db") as connection:
        return pd.read_sql(query, connection)


@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_leaves_whole_rows_and_the_next_run_completes_it(
    tmp_path: Path, product: Product
) -> None:
    settings = Settings(home=tmp_path)
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10 * KILLS + 1)
    write_rows(settings, product, begin, 5.0)
    first = start_job(settings)
    begun = time.monotonic()
    told = first.communicate(timeout=100)
    assert first.returncode == 0, told
    whole = time.monotonic() - begun
    partial = number = 0
    while partial < KILLS:
        number += 1
        assert number <= 10 * KILLS, "nearly every run ended before it was killed"
        write_rows(settings, product, begin + timedelta(minutes=number), 6.0 + number / 100)
        begun, job = time.monotonic(), start_job(settings)
        try:
            # The first half of a run is imports. A run that is over sooner than that says how long one takes now.
            job.wait(random.uniform(0.5, 1.0) * whole)
            whole = time.monotonic() - begun
        except subprocess.TimeoutExpired:
            job.kill()
            partial += job.wait() == -signal.SIGKILL
        job.communicate()
        state = online(settings, product)
        assert set(state["features"]) == {len(product.features)}, "no row is half of one time and half of another"
        assert len(state) == ENTITIES
    last = start_job(settings)
    told = last.communicate(timeout=100)
    assert last.returncode == 0, told
    state = online(settings, product)
    assert state["event_ts"].nunique() == 1
    store = repo.open_store(settings)
    answer = store.get_online_features(
        store.get_feature_service(product.feature_service), {product.keys[0]: [0, ENTITIES // 2, ENTITIES - 1]}
    ).to_dict()
    assert answer["RM"] == [6.0 + number / 100] * 3
    print(f"{partial} of {number} runs killed, {ENTITIES} entities, whole run {whole:.1f} s")
