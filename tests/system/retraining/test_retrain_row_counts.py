"""The whole pipeline on a home whose labels are not all of use: the log, the report and MLflow say how many and why."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from feast.data_source import PushMode
from mlflow.tracking import MlflowClient
from support.data_files import data_path
from support.labels import Log
from support.mlflow import mlflow_server
from support.products import SAMPLE_FILE, SPEC
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.product_file import load_product
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.training.settings import TrainSettings

UNLABELLED = 4
QUICK = TrainSettings(folds=4, repeats=1, coverage_folds=4, jobs=1, candidates=("ridge",))
pytestmark = pytest.mark.xdist_group("retrain")


def without_targets(folder: Path) -> Product:
    """The tests' product, whose last rows have no target."""
    shutil.copytree(SPEC.parent, folder)
    file = folder / SAMPLE_FILE.relative_to(SPEC.parent)
    lines = file.read_text().splitlines()
    lines[-UNLABELLED:] = [f"{line.rpartition(',')[0]},NA" for line in lines[-UNLABELLED:]]
    file.write_text("\n".join(lines) + "\n")
    return load_product(folder / SPEC.name)


def test_what_is_not_trained_on_is_told_everywhere(tmp_path: Path) -> None:
    product = without_targets(tmp_path / "product")
    with mlflow_server(tmp_path) as address:
        settings = Settings(home=tmp_path / "home", product=product.file, mlflow_url=address)
        lines: list[str] = []
        first = retrain(settings, product, QUICK, RetrainOptions(by_dvc=False), lines.append)
        assert first is not None
        engine = open_store(settings.database)
        migrate(engine)
        log = Log(engine)
        # Feast's own SDK knows no rules.
        row = poisoned_row(settings, product)
        repo.open_store(settings).push(definitions.push_source_name(product), row, to=PushMode.OFFLINE)
        high = (product.features[0].valid or (0.0, 0.0))[1]
        for name, entity, given in (
            ("sound", 17, {}),
            ("poisoned", 9001, {}),
            ("unknown", 9002, {}),
            ("wrong", 17, {product.feature_names[0]: high + 1}),
        ):
            log.predict(name, datetime.now(UTC), entity, **given)
            log.tell(name, (product.target.low + product.target.high) / 2)
        lines.clear()
        done = retrain(settings, product, QUICK, RetrainOptions(by_dvc=False, force=True), lines.append)
        assert done is not None
        run = MlflowClient(address, address).get_run(done.run_id).data
    metrics = run.metrics
    assert any(line.startswith("validate") and "506 rows, 4 of them without a target" in line for line in lines)
    assert run.params["data.unlabelled_rows"] == "4"
    [card] = (settings.home / "pipeline" / "package").rglob("MODEL_CARD.md")
    assert "not trained on: 4 more rows, which have no MEDV" in card.read_text(encoding="utf-8")
    line = next(line for line in lines if line.startswith("features"))
    assert "break product.yaml's rules" in line
    assert f"fewer than {product.min_features} features are known: 1" in line
    report = (settings.home / "pipeline" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Training rows</h2>" in report
    assert "<li>labelled predictions: 4</li>" in report
    assert "not trained on, as they break product.yaml&#x27;s rules: 1</li>" in report.replace("'", "&#x27;")
    facts = json.loads((settings.home / "pipeline" / "dataset.json").read_bytes())
    assert (facts["production_rows"], facts["left_out"]["broken"], facts["left_out"]["incomplete"]) == (1, 1, 1)
    assert metrics["left_out/base_unlabelled"] == UNLABELLED
    told = {name: metrics[f"left_out/{name}"] for name in ("refused", "broken", "incomplete", "repeated")}
    assert told == {"refused": 1, "broken": 1, "incomplete": 1, "repeated": 0}
    assert metrics["labels"] == 4


def poisoned_row(settings: Settings, product: Product) -> pd.DataFrame:
    """A row of an entity that the file does not have, with one value that breaks a rule."""
    stored = pd.read_parquet(data_path(settings)).iloc[:1]
    now = pd.Timestamp(datetime.now(UTC)).as_unit("us")
    changes = {product.entity.key: 9001, product.feature_names[0]: 1e300}
    return stored.assign(**changes, event_timestamp=now, created=now)
