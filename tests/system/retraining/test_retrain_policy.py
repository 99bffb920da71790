"""A model follows from product.yaml, and from nothing in policy.yaml: what a changed key makes DVC do again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.mlflow import mlflow_server
from support.products import SPEC
from support.settings import Settings

from beacon_core.model_package.manifest import read_package
from beacon_core.platform.product_file import load_product
from beacon_retraining.pipeline import dvc
from beacon_retraining.pipeline.context import RegistrationResult
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.pipeline.stages import STAGES
from beacon_retraining.pipeline.workspace import (
    LOCK,
    Run,
    evaluation_code_digest,
    folder_of,
    model_code_digest,
    prepare,
)
from beacon_retraining.training.settings import TrainSettings

QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("ridge",))
FILES = ("product.yaml", "policy.yaml")
pytestmark = [pytest.mark.xdist_group("retrain-policy"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home, and a product of its own, in which one retraining by DVC went well."""
    home = tmp_path_factory.mktemp("policy")
    shutil.copytree(SPEC.parent, home / "repo")
    with mlflow_server(home) as address, pytest.MonkeyPatch.context() as patch:
        made = Settings(home=home / "home", mlflow_url=address, product=home / "repo" / "product.yaml")
        for name in ("home", "mlflow_url", "product"):
            patch.setenv(f"BEACON_{name.upper()}", str(getattr(made, name)))
        again(made)
        yield made


@pytest.fixture(autouse=True)
def _of_this_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings for the stages, which are processes; afterwards the product is the shipped one again."""
    for name in ("home", "mlflow_url", "product"):
        monkeypatch.setenv(f"BEACON_{name.upper()}", str(getattr(settings, name)))
    yield
    for name in FILES:
        shutil.copy(SPEC.with_name(name), settings.product.with_name(name))


def again(settings: Settings) -> RegistrationResult:
    done = retrain(settings, load_product(settings.product), QUICK, RetrainOptions(), print)
    assert done is not None
    return done


def change(settings: Settings, name: str, path: str, value: object) -> None:
    file = settings.product.with_name(name)
    spec = yaml.safe_load(file.read_text(encoding="utf-8"))
    *parents, last = path.split(".")
    place = spec
    for key in parents:
        place = place[key]
    assert place[last] != value
    place[last] = value
    file.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def stale(settings: Settings) -> list[str]:
    """The stages that DVC would run again of themselves, whatever the ones before leave."""
    folder = prepare(settings, QUICK, Run("later", "hand", jobs=1))
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=folder, env=dvc._environment(), capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) <= set(STAGES)
    return [name for name in STAGES if name != "fetch" and name in json.loads(done.stdout)]


WATCHING = [
    ("monitoring.out_of_range_page", 0.5),
    ("monitoring.model_age_days", 3),
    ("serving.latency_slo_seconds", 0.3),
    ("serving.availability_slo", 0.9),
    ("quality.windows_days", [3, 9]),
    ("drift.min_rows", 50),
    ("retraining.cooldown_hours", 1),
    ("rollout.phase_seconds", 5),
]


@pytest.mark.parametrize(("path", "value"), WATCHING, ids=[path for path, _ in WATCHING])
def test_a_limit_that_watches_makes_no_stage_run_again(settings: Settings, path: str, value: object) -> None:
    change(settings, "policy.yaml", path, value)
    load_product(settings.product)
    assert stale(settings) == []


@pytest.mark.parametrize(
    ("name", "path", "value", "stages"),
    [
        ("policy.yaml", "promotion.max_mae_ratio", 1.1, ["evaluate"]),
        ("policy.yaml", "quality.large_residual", 6, ["evaluate"]),
        ("product.yaml", "training.interval_coverage", 0.8, ["validate", "features", "train", "package", "evaluate"]),
        ("product.yaml", "min_features", 7, ["validate", "features", "train", "package", "evaluate"]),
    ],
)
def test_what_the_gate_reads_judges_again_and_the_product_trains_again(
    settings: Settings, name: str, path: str, value: object, stages: list[str]
) -> None:
    change(settings, name, path, value)
    assert stale(settings) == stages


def test_a_retraining_after_a_changed_paging_limit_is_the_same_version_by_the_same_digests(settings: Settings) -> None:
    folder = folder_of(settings)
    kept = (
        "package.json",
        "verdict.json",
        "registered.json",
        "trained.json",
        "dataset.json",
        "code.json",
        "judge.json",
    )

    def digests() -> dict[str, str | bytes]:
        product = load_product(settings.product)
        found: dict[str, str | bytes] = {name: (folder / name).read_bytes() for name in kept}
        lock = yaml.safe_load((folder / LOCK).read_text(encoding="utf-8"))["stages"]
        found |= {f"stage {name}": json.dumps(lock[name]) for name in STAGES}
        return found | {
            "schema": product.schema.digest,
            "code": model_code_digest(),
            "judging": evaluation_code_digest(),
        }

    first = again(settings)  # whose champion is the version of the very first run
    before = digests()
    change(settings, "policy.yaml", "monitoring.out_of_range_page", 0.5)
    second = again(settings)
    assert (second.version, second.sha256) == (first.version, first.sha256)
    assert digests() == before
    assert Path(folder, "policy.yaml").read_bytes() == settings.product.with_name("policy.yaml").read_bytes()


def test_another_coverage_of_the_intervals_is_another_version(settings: Settings) -> None:
    first = again(settings)
    change(settings, "product.yaml", "training.interval_coverage", 0.8)
    second = again(settings)
    assert (second.version, second.sha256) != (first.version, first.sha256)
    package = folder_of(settings) / "package" / load_product(settings.product).name / second.version
    assert read_package(package, second.sha256).manifest.interval.coverage == 0.8
