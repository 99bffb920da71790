"""The values file of a git repository: the pin and nothing else."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
import yaml
from sqlalchemy import insert
from support.products import SPEC

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import verdicts
from beacon_core.domain.pins import Pin
from beacon_core.platform.settings import ROOT
from beacon_promotion.targets.kubernetes.values import ValuesError, read_values, write_values

PIN = Pin("boston-housing", "7", "7" * 64)


def test_a_pin_comes_back_as_it_went_in_and_as_the_chart_takes_it(tmp_path):
    file = tmp_path / "inference" / "model.yaml"
    assert read_values(file) is None
    write_values(file, PIN)
    assert read_values(file) == PIN
    chart = yaml.safe_load((ROOT / "charts" / "inference" / "values.yaml").read_text())
    assert set(yaml.safe_load(file.read_text())["model"]) == set(chart["model"]) - {"pinned"}
    assert [item.name for item in file.parent.iterdir()] == ["model.yaml"]


@pytest.mark.parametrize("text", ["model: 7", "model: {name: a}", "replicas: 3", "{", "model: {}\nreplicas: 3"])
def test_a_file_that_says_more_or_less_is_refused(tmp_path, text):
    file = tmp_path / "model.yaml"
    file.write_text(text)
    with pytest.raises(ValuesError, match=r"model\.yaml"):
        read_values(file)
    assert file.read_text() == text


def test_the_job_writes_what_passed_and_words_the_commit(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    file = tmp_path / "model.yaml"
    row = {"moment": datetime.now(UTC), "product": PIN.name, "version": "7", "sha256": PIN.sha256}
    row |= {"outcome": "pass", "data_fingerprint": "0", "verdict": {"reason": "clearly better"}}

    def job():
        command = [sys.executable, str(ROOT / "jobs" / "promote.py"), "values", str(file)]
        environment = {"BEACON_HOME": str(tmp_path), "BEACON_PRODUCT": str(SPEC)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    empty = job()
    assert (empty.returncode, file.exists()) == (0, False), empty.stderr
    with engine.begin() as connection:
        connection.execute(insert(verdicts).values(row))
    done = job()
    assert done.stdout == "Serve boston-housing version 7 (verdict 1): clearly better\n", done.stderr
    assert read_values(file) == PIN
    assert "serves already" in job().stderr
    engine.dispose()
