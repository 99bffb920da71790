"""`offline_store: {type: spark}` in feature_store.yaml: Feast's own Spark store joins as Beacon's does."""

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.offline_stores import joined
from support.spark_site import JOB_SECONDS

from beacon_core.feature_store.repo import OFFLINE_STORE
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.spark


def on_spark(folder: Path, table: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "support.offline_stores", folder / "home", table, "spark", folder / "found"]
    return subprocess.run(
        [ROOT / ".venvs" / "spark" / "bin" / "python", *command], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "SPARK_LOCAL_IP": "127.0.0.1"}, timeout=JOB_SECONDS,
    )  # fmt: skip


@pytest.mark.parametrize("table", ["plain", "composite", "dated"])
def test_feasts_spark_store_gives_the_same(tmp_path: Path, table: str) -> None:
    ours = joined(tmp_path / "ours", table, OFFLINE_STORE)
    ended = on_spark(tmp_path, table)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for number, own in enumerate(ours):
        found = pq.read_table(tmp_path / f"found.{number}")
        assert found.schema == own.schema
        assert found.to_pylist() == own.to_pylist()


def test_names_that_feast_would_not_quote_are_refused(tmp_path: Path) -> None:
    ended = on_spark(tmp_path, "mixed")
    assert ended.returncode == 1
    assert "offline_store.type: spark takes names of letters, digits and _ alone" in ended.stderr
    assert "size (cm), count.of-parts" in ended.stderr
