"""A feature_store.yaml that names a class which is not there: one line says so, and no program leaves a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.settings import Settings

from beacon_core.feature_store import repo
from beacon_core.platform.settings import ROOT

NEW = "beacon_core.feature_store.offline.ParquetOfflineStore"
OLD = "feature_repo.offline.ParquetOfflineStore"
PROGRAMS = {
    "the server": ("-m", "beacon_feature_serving"),
    "the job": (str(ROOT / "jobs" / "materialize.py"),),
}


def store_file(folder: Path, name: str) -> Path:
    """The repository's own file, with another offline store."""
    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text()
    assert NEW in text
    file = folder / "feature_store.yaml"
    file.write_text(text.replace(NEW, name))
    return file


def test_the_name_of_today_is_taken(tmp_path: Path) -> None:
    store_file(tmp_path, NEW)
    assert repo.load_config(Settings(home=tmp_path, feature_repo=tmp_path)).offline_store.type == NEW


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (OLD, f"offline_store.type: {OLD} has moved: write {NEW}"),
        ("elsewhere.NoOfflineStore", "Could not import module 'elsewhere'"),
    ],
)
def test_another_name_is_refused_in_one_line(tmp_path: Path, name: str, rule: str) -> None:
    file = store_file(tmp_path, name)
    with pytest.raises(repo.FeatureStoreError) as refused:
        repo.load_config(Settings(home=tmp_path, feature_repo=tmp_path))
    assert str(refused.value).startswith(f"{file}: {rule}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_starting_with_the_former_name_says_so_in_one_line(tmp_path: Path, program: str) -> None:
    file = store_file(tmp_path, OLD)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BEACON_")}
    environment |= {"BEACON_HOME": str(tmp_path / "home"), "BEACON_FEATURE_REPO": str(tmp_path)}
    environment |= {"BEACON_FEATURES_PORT": "0", "BEACON_FEATURES_METRICS_PORT": "0"}
    command = [sys.executable, *PROGRAMS[program]]
    options = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True, "timeout": 120}
    ended = subprocess.run(command, check=False, **options)
    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Traceback" not in output
    messages = [json.loads(line)["message"] for line in output.splitlines() if line.startswith("{")]
    (message,) = [message for message in messages if OLD in message]
    assert f"{file}: offline_store.type: {OLD} has moved: write {NEW}" in message
