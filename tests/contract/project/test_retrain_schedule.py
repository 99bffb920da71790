"""GitHub's workflow retrains when the policy of the product says."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from support.products import POLICY, SPEC

from beacon_core.platform.product_file import load_product
from tools import retrain_schedule
from tools.retrain_schedule import WORKFLOW


def crons(file: Path) -> list[str]:
    # `on` is true in YAML 1.1.
    return [each["cron"] for each in yaml.safe_load(file.read_text())[True]["schedule"]]


def test_another_schedule_is_found_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = Path(shutil.copy(WORKFLOW, tmp_path))
    product = Path(shutil.copy(SPEC, tmp_path))
    product.with_name(POLICY.name).write_text(POLICY.read_text().replace('"0 3 * * 0"', '"30 4 * * 1-5"'))
    monkeypatch.setenv("BEACON_PRODUCT", str(product))

    def run(*options: str) -> int:
        monkeypatch.setattr(sys, "argv", ["retrain_schedule", *options])
        return retrain_schedule.main(workflow)

    assert crons(workflow) != ["30 4 * * 1-5"]
    assert run("--check") == 1
    assert workflow.read_text() == WORKFLOW.read_text()
    assert run() == 0
    assert crons(workflow) == ["30 4 * * 1-5"] == [load_product(product).policy.retraining.schedule]
    assert run("--check") == 0
    assert len(workflow.read_text().splitlines()) == len(WORKFLOW.read_text().splitlines())
