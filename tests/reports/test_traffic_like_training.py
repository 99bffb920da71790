"""Traffic drawn from the training file itself is no drift, and nothing in it is out of range: no digit is lost between.

The product is scikit-learn's diabetes: decimals of 17 digits, many of them heaped on one value.
"""

import contextlib
import csv
import io
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sqlalchemy import select
from support.data_files import data_path, targets_path
from support.logged_inference import create
from support.products import write_product
from support.service import Service
from support.settings import Settings

from beacon_core.data import drift_results
from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.model_package.manifest import Manifest
from beacon_core.model_package.release import Release, write_release
from beacon_drift_profiling.run import run_drift
from beacon_retraining.data.dataset import dataset_of
from beacon_retraining.data.history import base_rows
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate
from beacon_retraining.files import write_table
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

QUICK = TrainSettings(folds=2, repeats=1, coverage_folds=2, jobs=1, candidates=("ridge",))
BATCH, DOORS = 200, 7


class Trained(NamedTuple):
    """A product trained on a file whose text is `lines` of cells, and what its stages left."""

    product: Product
    settings: Settings
    lines: list[list[str]]
    stages: dict[str, pd.DataFrame]
    manifest: Manifest

    @property
    def features(self) -> np.ndarray:
        """The features as Python reads their text."""
        return np.array([[float(cell) for cell in line[:-1]] for line in self.lines])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_on(tmp_path_factory.mktemp("diabetes"), load_diabetes(as_frame=True).frame)


def train_on(folder: Path, frame: pd.DataFrame) -> Trained:
    """Take a table through every stage, to a model that is released."""
    product = write_product(folder, {name: frame[name].tolist() for name in frame}, "target")
    settings = Settings(home=folder / "home", product=product.file)
    rows = folder / "home" / "rows.parquet"
    write_table(rows, validate(product.sample_path, product))
    write_offline(settings, product, pd.read_parquet(rows), datetime.now(UTC))
    with contextlib.redirect_stderr(io.StringIO()):
        repo.apply(settings, product)
        repo.materialize(settings, product)
        base = base_rows(settings, product)
        online = _online(settings, product, len(frame))
    write_table(folder / "home" / "dataset.parquet", base)
    dataset = dataset_of(product, pd.read_parquet(folder / "home" / "dataset.parquet"))
    origin = PackageOrigin("1", "test", "test", datetime.now(UTC))
    package = write_package(settings.models_dir, product, dataset, train(dataset, product, QUICK), QUICK, origin)
    write_release(settings.release_file, Release(Pin(product.name, "1", package.sha256)))
    base.to_csv(folder / "items.csv", index=False, columns=[*product.feature_names, "target"])
    header, *lines = csv.reader(io.StringIO((folder / "items.csv").read_text()))
    assert header == [*product.feature_names, "target"]
    stages = {
        "validate": pd.read_parquet(rows),
        "Feast's offline file": pd.read_parquet(data_path(settings)),
        "the point-in-time join": base,
        "the online store": online,
        "what a version was trained on, as CSV": validate(folder / "items.csv", product),
        "targets": pd.read_parquet(targets_path(settings)),
    }
    lines = [[str(cell) for cell in row] for row in frame.to_numpy().tolist()]
    return Trained(product, settings, lines, stages, package.manifest)


def _online(settings: Settings, product: Product, count: int) -> pd.DataFrame:
    store = repo.open_store(settings)
    keys = [{product.keys[0]: number} for number in range(1, count + 1)]
    service = store.get_feature_service(product.feature_service)
    return pd.DataFrame(store.get_online_features(service, keys).to_dict())


def test_no_stage_between_the_file_and_the_model_changes_a_bit(trained: Trained) -> None:
    names = list(trained.product.feature_names)
    target = [float(line[-1]) for line in trained.lines]
    for stage, frame in trained.stages.items():
        if stage != "targets":
            found = frame[names].to_numpy()
            assert found.dtype == np.float64, stage
            assert np.array_equal(found, trained.features), stage
        if "target" in frame:
            assert frame["target"].tolist() == target, stage
    assert [facts.min for facts in trained.manifest.features] == trained.features.min(axis=0).tolist()
    assert [facts.max for facts in trained.manifest.features] == trained.features.max(axis=0).tolist()


def bodies(trained: Trained) -> Iterator[tuple[str, str, str]]:
    """Every row of the file by every door that takes numbers, in the file's own digits."""
    names = trained.product.feature_names
    for first in range(0, len(trained.lines), BATCH):
        rows = [line[:-1] for line in trained.lines[first : first + BATCH]]
        listed = ",".join("[" + ",".join(row) + "]" for row in rows)
        named = [
            "{" + ",".join(f'"{name}":{cell}' for name, cell in zip(names, row, strict=True)) + "}" for row in rows
        ]
        tensor = f'"name":"rows","shape":[{len(rows)},{len(names)}],"datatype":"FP64","data":[{listed}]'
        columns = ",".join(f'"{name}"' for name in names)
        as_json = "application/json"
        yield "/v1/predict/batch", as_json, '{"rows":[' + ",".join(f'{{"features":{row}}}' for row in named) + "]}"
        yield "/v2/models/items/infer", as_json, '{"inputs":[{' + tensor + "}]}"
        yield "/v1/models/items:predict", as_json, f'{{"instances":[{listed}]}}'
        yield "/invocations", as_json, f'{{"dataframe_split":{{"columns":[{columns}],"data":[{listed}]}}}}'
        yield "/invocations", as_json, f'{{"dataframe_records":[{",".join(named)}]}}'
        yield "/invocations", as_json, f'{{"inputs":[{listed}]}}'
        yield "/invocations", "text/csv", "\n".join([",".join(names), *map(",".join, rows)])


def send(trained: Trained, sent: Iterable[tuple[str, str, str]]) -> list[dict[str, float]]:
    """Ask for predictions on an empty log; the features as they were logged, none of them outside training's range."""
    shutil.rmtree(trained.settings.home / "spool", ignore_errors=True)
    for file in trained.settings.home.glob("beacon.db*"):
        file.unlink()
    with Service(create(trained.settings)) as service:
        for path, kind, body in sent:
            answer = service.post(path, body.encode(), [("Content-Type", kind)])
            assert answer.status == 200, (path, answer.body[:300])
        service.until(lambda: service.app.log_metrics()["beacon_prediction_log_spool_records"] == 0, "all is shipped")
    engine = open_store(trained.settings.database)
    with engine.connect() as connection:
        logged = connection.execute(select(predictions.c.features, predictions.c.out_of_range)).all()
    engine.dispose()
    assert sum(len(outside) for _, outside in logged) == 0
    return [dict(features) for features, _ in logged]


def no_drift(trained: Trained) -> None:
    """Hold that two runs of the drift job find nothing: an alarm of both would be a confirmed one."""
    engine = open_store(trained.settings.database)
    now = datetime.now(UTC)
    for hour in range(2):
        outcome = run_drift(trained.settings, trained.product, engine, now + timedelta(hours=hour))
    engine.dispose()
    judged = [result for result in outcome.run.results if result.state in {drift_results.OK, drift_results.DRIFT}]
    assert {result.feature for result in judged} >= {*trained.product.feature_names, "prediction"}
    assert [(result.feature, result.effect, result.score) for result in judged if result.alarm] == []
    assert {result.score for result in judged if result.effect == "out_of_range"} == {0.0}
    assert max(result.score for result in judged if result.effect == "hellinger") < 0.02
    assert outcome.run.state == drift_results.OK
    assert outcome.request.cause is None


def test_the_training_file_as_traffic_raises_no_drift_and_nothing_is_out_of_range(trained: Trained) -> None:
    logged = send(trained, bodies(trained))
    assert len(logged) == DOORS * len(trained.lines)
    once = sorted(map(tuple, trained.features.tolist()))
    assert sorted(tuple(features[name] for name in trained.product.feature_names) for features in logged) == sorted(
        once * DOORS
    )
    no_drift(trained)


def test_nor_does_it_as_float32_which_is_all_that_a_model_sees(trained: Trained) -> None:
    rows = trained.features.astype(np.float32)
    shape = list(rows.shape)
    tensor = {"name": "rows", "shape": shape, "datatype": "FP32", "data": rows.astype(float).tolist()}
    named = [dict(zip(trained.product.feature_names, row, strict=True)) for row in rows.astype(float).tolist()]
    json_of_tensor = json.dumps({"inputs": [tensor]})
    json_of_rows = json.dumps({"rows": [{"features": row} for row in named]})
    sent = [("/v2/models/items/infer", json_of_tensor), ("/v1/predict/batch", json_of_rows)]
    assert len(send(trained, [(path, "application/json", body) for path, body in sent])) == 2 * len(rows)
    no_drift(trained)


def test_nor_does_a_model_that_has_few_answers(tmp_path: Path) -> None:
    """Answers are told in steps, and the model's own lie beside them: heaps must not fall into the next bin."""
    kinds = np.array(list(itertools.product([0.0, 1.0, 2.0], [0.0, 1.0], range(50))))[:, :2]
    target = 20 + kinds @ np.array([7 / 3, 11 / 7]) + np.random.default_rng(1).normal(0, 0.1, len(kinds))
    trained = train_on(tmp_path, pd.DataFrame({"kind": kinds[:, 0], "flag": kinds[:, 1], "target": target}))
    send(trained, (body for body in bodies(trained) if body[0] == "/v1/predict/batch"))
    no_drift(trained)
