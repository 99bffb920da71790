"""The pipeline's file and the code say the same: stages, their order, what they read and leave, the parameters."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.settings import Settings

import beacon_core
import beacon_retraining
from beacon_core.platform.settings import ROOT
from beacon_retraining.pipeline import context
from beacon_retraining.pipeline.dvc import HOLDERS, KEPT_LOCK, remove_stale_holders, restore_lock
from beacon_retraining.pipeline.stages import STAGES
from beacon_retraining.pipeline.workspace import (
    LOCK,
    Run,
    default_training,
    evaluation_code_digest,
    model_code_digest,
    model_code_files,
    params_of,
    prepare,
    read_run,
    read_training,
)
from beacon_retraining.training.settings import TrainSettings

SOURCES = ROOT / "services" / "retraining" / "beacon_retraining" / "pipeline"


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def names(items: list[Any]) -> list[str]:
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def test_dvc_runs_each_stage_of_the_code_in_order(pipeline: dict[str, Any]) -> None:
    assert list(pipeline) == list(STAGES)
    for name, stage in pipeline.items():
        assert stage["cmd"] == f"python -m beacon_retraining.pipeline.stages {name}"


def test_every_dependency_is_left_by_an_earlier_stage_or_brought_by_the_workspace(
    pipeline: dict[str, Any], tmp_path: Path
) -> None:
    folder = prepare(Settings(home=tmp_path), TrainSettings(), Run("now", "hand"))
    there = {file.name for file in folder.iterdir()}
    for name, stage in pipeline.items():
        needed = {item.split("/")[0] for item in names(stage.get("deps", []))}
        assert needed <= there, name
        there |= set(names(stage["outs"])) | set(names(stage.get("metrics", [])))


def test_what_the_stages_leave_is_what_the_code_names(pipeline: dict[str, Any]) -> None:
    left = {out for stage in pipeline.values() for out in names(stage["outs"]) + names(stage.get("metrics", []))}
    known = {value for name, value in vars(context).items() if name.isupper() and isinstance(value, str)}
    assert left == known


def test_a_stage_reads_no_file_that_dvc_does_not_know_of(pipeline: dict[str, Any]) -> None:
    of_module: dict[str, set[str]] = {}
    for name, place in STAGES.items():
        stage = pipeline[name]
        files = names(stage.get("deps", [])) + names(stage["outs"]) + names(stage.get("metrics", []))
        if stage.get("always_changed"):  # it may look at what the run before it left, as DVC never skips it
            files += [out for other in pipeline.values() for out in names(other["outs"])]
        of_module.setdefault(place.split(":")[0], set()).update(item.split("/")[0] for item in files)
    for module, files in of_module.items():
        used = set(re.findall(r"\b(?:files\.)?([A-Z]{3,})\b", (SOURCES / f"{module}.py").read_text()))
        known = {value for name, value in vars(context).items() if name in used and isinstance(value, str)}
        assert known <= files, module


def test_params_yaml_holds_the_defaults() -> None:
    """All but the budget, which product.yaml states: a training from code, as in tests, tunes nothing by itself."""
    assert default_training() == TrainSettings(budget_seconds=None)
    assert "jobs" not in params_of(TrainSettings())


def test_the_workspace_carries_the_run_and_leaves_alone_what_stays(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    training = TrainSettings(folds=4, seed=7, jobs=1)
    folder = prepare(settings, training, Run("now", "hand", jobs=1))
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "run.json"}
    assert read_training(folder) == training
    prepare(settings, training, Run("later", "schedule", jobs=1))
    assert read_run(folder).trigger == "schedule"
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "run.json"} == before
    assert len(model_code_digest()) == 64


@pytest.mark.parametrize(
    ("file", "making", "judging"),
    [
        ("beacon_retraining/data/validate.py", True, False),
        ("beacon_retraining/training/deeper/still.py", True, False),
        ("beacon_retraining/packaging/card.py", True, False),
        ("beacon_core/domain/value_rules.py", True, False),
        ("beacon_core/data/prediction_log/labels.py", True, False),
        ("beacon_core/data/retrain_requests.py", False, False),
        ("beacon_core/feature_store/offline.py", True, False),
        ("beacon_retraining/evaluation/report.py", False, True),
        ("beacon_retraining/registry/register.py", False, False),
        ("beacon_retraining/pipeline/stages.py", False, False),
        ("beacon_core/observability/logs.py", False, False),
    ],
)
def test_a_model_follows_the_rooms_that_make_it_and_a_verdict_those_that_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, making: bool, judging: bool
) -> None:
    for package in (beacon_core, beacon_retraining):
        shutil.copytree(Path(str(package.__file__)).parent, tmp_path / package.__name__)
        monkeypatch.setattr(package, "__file__", str(tmp_path / package.__name__ / "__init__.py"))
    before = model_code_digest(), evaluation_code_digest()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    with (tmp_path / file).open("a", encoding="utf-8") as stream:
        stream.write("# Another word.\n")
    after = model_code_digest(), evaluation_code_digest()
    assert [old != new for old, new in zip(before, after, strict=True)] == [making, judging]


def test_every_file_that_makes_a_model_is_there() -> None:
    files = model_code_files()
    assert len(files) == len(set(files)) > 30
    assert all(file.is_file() for file in files)


def test_what_training_found_out_survives_as_json() -> None:
    from beacon_core.model_package.recipe import Member, Recipe
    from beacon_retraining.training.assess import ModelAssessment
    from beacon_retraining.training.crossval import FoldPredictions
    from beacon_retraining.training.interval import Widths
    from beacon_retraining.training.search import SearchSummary, Trial
    from beacon_retraining.training.selection import TrainingResult
    from beacon_retraining.training.spread import Calibration, Spread
    from beacon_retraining.training.train import TrainedModel
    from beacon_retraining.training.trained_file import decode, encode

    rng = np.random.default_rng(0)
    part = FoldPredictions(
        np.array([2, 0]),
        rng.random((2, 2)),
        Widths(0.5, 1 / 3),
        np.empty((0, 2)),
        rng.random(2),
        Widths(0.5, 0.5),
        "trees",
    )
    result = TrainingResult("ridge", 1 / 3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.arange(4), rng.random((2, 4)))
    recipe = Recipe((Member("boosting", {"learning_rate": 1 / 3, "subsample": 1.0, "loss": "squared"}, 0.1),), "log")
    trial = Trial(0, recipe, "complete", 1 / 3, 10, 0.5)
    found = TrainedModel(
        algorithm="ridge",
        recipe=recipe,
        model=None,
        fill=rng.random(3),
        results=(result,),
        result=result,
        excess={"ridge": (0.0, 0.0)},
        interval=Calibration(
            Widths(1.0, 2.0), Spread("prediction", 1 / 3, 0.1), Widths(1.0, 3.0), {"constant": 2.0, "prediction": 1 / 3}
        ),
        assessment=ModelAssessment(1.5, 0.9, rng.random(3), rng.random(3), {0.1: 2.0, 0.3: 3.0}, (part,)),
        libraries={"numpy": "2"},
        trials=(trial,),
        summary=SearchSummary(complete=1),
    )
    again = decode(encode(found))
    assert again.results[0].held_out.tobytes() == found.results[0].held_out.tobytes()
    (held_out,) = again.assessment.held_out
    assert (held_out.rows.dtype, held_out.rows.tolist(), held_out.widths) == (np.intp, [2, 0], part.widths)
    assert held_out.predictions.tobytes() == part.predictions.tobytes()
    assert again.assessment.missing == found.assessment.missing
    assert (again.recipe, again.trials, again.summary) == (recipe, (trial,), found.summary)
    assert isinstance(again.recipe.members[0].parameters["subsample"], float)
    assert again.fill.tobytes() == found.fill.tobytes()
    assert held_out.spread.tobytes() == part.spread.tobytes()
    assert (again.excess, again.interval, again.result.rmse) == (found.excess, found.interval, 1 / 3)


@pytest.mark.parametrize(
    "left", [b"", b"schema: '2.0'\nstages:\n  fet", b"schema: '2.0'\nstages:\n  fetch:\n", b"\0\xff"]
)
def test_half_a_lock_gives_way_to_the_last_whole_one(left: bytes, tmp_path: Path) -> None:
    whole = b"schema: '2.0'\nstages:\n  fetch:\n    cmd: python\n"
    lock = tmp_path / LOCK
    lock.write_bytes(whole)
    restore_lock(tmp_path)
    assert lock.read_bytes() == whole
    lock.write_bytes(left)
    restore_lock(tmp_path)
    assert not lock.exists()
    kept = tmp_path / KEPT_LOCK
    kept.parent.mkdir(parents=True)
    kept.write_bytes(whole)
    lock.write_bytes(left)
    restore_lock(tmp_path)
    assert lock.read_bytes() == whole


def test_who_holds_a_file_is_forgotten_once_all_are_dead(tmp_path):
    file = tmp_path / HOLDERS
    file.parent.mkdir(parents=True)
    remove_stale_holders(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as holder:
        held = {"write": {"/x": {"pid": holder.pid, "cmd": "dvc"}}, "read": {"/y": [{"pid": holder.pid, "cmd": "dvc"}]}}
        file.write_text(json.dumps(held))
        remove_stale_holders(tmp_path)
        assert file.exists()
        holder.kill()
        # Dead, and not yet waited for.
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        remove_stale_holders(tmp_path)
        assert not file.exists()
    file.write_text('{"write": {"/x": {"pi')
    remove_stale_holders(tmp_path)
    assert not file.exists()
