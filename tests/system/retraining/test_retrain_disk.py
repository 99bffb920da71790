"""The disk is full (reliability.md 35): every stage in turn finds no room, and nothing that was good is lost."""

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.disk import small_disk
from support.mlflow import mlflow_server
from support.settings import Settings

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.model_package.release import read_release
from beacon_core.platform.job import status_of
from beacon_core.platform.mlflow import Mlflow
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.pipeline.stages import STAGES, run_stage
from beacon_retraining.pipeline.workspace import Run, prepare
from beacon_retraining.registry.register import Registry
from beacon_retraining.training.settings import TrainSettings

QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("ridge",))
pytestmark = [pytest.mark.xdist_group("retrain-disk"), pytest.mark.timeout(1800)]


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Take all of the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        size = 1 << 20
        while size > 512:
            try:
                if stream.write(bytes(size)) < size:
                    size //= 2
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
    try:
        yield
    finally:
        ballast.unlink()


def state(folder: Path) -> dict[str, str]:
    """Every file by digest, but for locks."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".lock")]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_full_disk_costs_the_run_and_nothing_else(product: Product, tmp_path: Path) -> None:
    """The store and MLflow are elsewhere, so that each stage gets as far as its own files."""
    disk = tmp_path / "disk"
    for folder in (disk, tmp_path / "mlflow"):
        folder.mkdir()
    with small_disk(disk, "64m"), mlflow_server(tmp_path / "mlflow") as address:
        store = f"sqlite:///{tmp_path / 'store.db'}"
        settings = Settings(home=disk / "home", mlflow_url=address, database_url=store)
        first = retrain(settings, product, QUICK, RetrainOptions(by_dvc=False), print)
        assert first is not None
        served = settings.release_file.read_bytes()
        models = state(settings.models_dir)
        workspace = prepare(settings, msgspec.structs.replace(QUICK, seed=1), Run("full", "hand", jobs=1))
        failed = []
        for stage in STAGES:
            before = state(workspace)
            error: Exception | None = None
            with filled(disk):
                try:
                    run_stage(stage, settings)
                except Exception as caught:  # noqa: BLE001 - held to its status below
                    error = caught
                kept = state(workspace)
            if error is not None:
                failed.append(stage)
                assert status_of(error) == TRY_AGAIN, error
                assert "No space left on device" in str(error), error
            assert kept["raw/table.parquet"] == before["raw/table.parquet"]
            assert not [name for name in kept if "draft" in name or "incoming" in name]
            assert Mlflow(address).aliases(product.name)["champion"] == first.version
            assert settings.release_file.read_bytes() == served
            run_stage(stage, settings)
        assert failed == list(STAGES)
        assert read_release(settings.release_file).model.version == first.version
        assert models.items() <= state(settings.models_dir).items()
        assert Registry(address).next_version(product.name) == "3"
        assert not list(settings.home.rglob(".draft*"))
