"""Traffic drawn from the training file itself is no drift, and nothing in it is out of range: no digit is lost between.

The product is scikit-learn's diabetes: decimals of 17 digits, many of them heaped on one value.
"""

import contextlib
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sqlalchemy import select
from support.products import write_product
from support.service import Service

from beacon_core.manifest import Manifest
from beacon_core.platform.data_file import read_columns
from beacon_core.product import Product
from beacon_core.release import Pin, Release, write_release
from beacon_core.settings import Settings
from beacon_core.store import open_store, predictions
from beacon_drift import results
from beacon_drift.profiling import Shard
from beacon_drift.run import run_drift
from beacon_inference.app import create
from beacon_retrain.dataset import dataset_of
from beacon_retrain.files import write_table
from beacon_retrain.history import base_rows
from beacon_retrain.offline import targets_file, write_offline
from beacon_retrain.package import Origin, write_package
from beacon_retrain.train import train
from beacon_retrain.training import TrainSettings
from beacon_retrain.validate import validate
from feature_repo import repo

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
    folder = tmp_path_factory.mktemp("diabetes")
    frame = load_diabetes(as_frame=True).frame
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
    origin = Origin("1", "test", "test", datetime.now(UTC))
    package = write_package(settings.models_dir, product, dataset, train(dataset, product, QUICK), QUICK, origin)
    write_release(settings.release_file, Release(Pin(product.name, "1", package.sha256)))
    base.to_csv(folder / "items.csv", index=False, columns=[*product.feature_names, "target"])
    header, *lines = csv.reader(io.StringIO((folder / "items.csv").read_text()))
    assert header == [*product.feature_names, "target"]
    stages = {
        "validate": pd.read_parquet(rows),
        "Feast's offline file": pd.read_parquet(repo.data_file(settings)),
        "the point-in-time join": base,
        "the online store": online,
        "what a version was trained on, as CSV": pd.DataFrame(read_columns(folder / "items.csv", product)),
        "targets": pd.read_parquet(targets_file(settings)),
    }
    lines = [[str(cell) for cell in row] for row in frame.to_numpy().tolist()]
    return Trained(product, settings, lines, stages, package.manifest)


def _online(settings: Settings, product: Product, count: int) -> pd.DataFrame:
    store = repo.open_store(settings)
    keys = [{product.entity.key: number} for number in range(1, count + 1)]
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
        json = "application/json"
        yield "/v1/predict/batch", json, '{"rows":[' + ",".join(f'{{"features":{row}}}' for row in named) + "]}"
        yield "/v2/models/items/infer", json, '{"inputs":[{' + tensor + "}]}"
        yield "/v1/models/items:predict", json, f'{{"instances":[{listed}]}}'
        yield "/invocations", json, f'{{"dataframe_split":{{"columns":[{columns}],"data":[{listed}]}}}}'
        yield "/invocations", json, f'{{"dataframe_records":[{",".join(named)}]}}'
        yield "/invocations", json, f'{{"inputs":[{listed}]}}'
        yield "/invocations", "text/csv", "\n".join([",".join(names), *map(",".join, rows)])


def test_the_training_file_as_traffic_raises_no_drift_and_nothing_is_out_of_range(trained: Trained) -> None:
    sent = list(bodies(trained))
    with Service(create(trained.settings)) as service:
        for path, kind, body in sent:
            answer = service.post(path, body.encode(), [("Content-Type", kind)])
            assert answer.status == 200, (path, answer.body[:300])
        service.until(lambda: service.metrics()["beacon_prediction_log_spool_records"] == 0, "all is shipped")
    engine = open_store(trained.settings.database)
    with engine.connect() as connection:
        logged = connection.execute(select(predictions.c.features, predictions.c.out_of_range)).all()
    assert len(logged) == DOORS * len(trained.lines)
    assert sum(len(outside) for _, outside in logged) == 0
    names = trained.product.feature_names
    once = sorted(map(tuple, trained.features.tolist()))
    found = sorted(tuple(features[name] for name in names) for features, _ in logged)
    assert found == sorted(once * DOORS)

    now = datetime.now(UTC)
    for hour in range(2):  # an alarm that the second run sees, too, is a confirmed one
        outcome = run_drift(trained.settings, trained.product, engine, now + timedelta(hours=hour), Shard())
    engine.dispose()
    assert outcome.run is not None
    judged = [result for result in outcome.run.results if result.state in {results.OK, results.DRIFT}]
    assert {result.feature for result in judged} >= {*names, "prediction"}
    assert [(result.feature, result.effect, result.score) for result in judged if result.alarm] == []
    assert {result.score for result in judged if result.kind == "data" and result.effect == "out_of_range"} == {0.0}
    assert max(result.score for result in judged if result.kind == "data" and result.effect == "hellinger") < 0.02
    assert outcome.run.state == results.OK
    assert outcome.asked is not None
    assert outcome.asked.cause is None
