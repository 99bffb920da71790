"""Training and serving agree over real servers: every row of the sample, by features, by entity, as scikit-learn."""

import csv
import os
import signal
import sys
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from support.server import FEATURES, serving
from support.settings import Settings

from beacon_core.domain.pins import Pin
from beacon_core.feature_store import repo
from beacon_core.model_package.release import Release, write_release
from beacon_inference.commands.score import main as score_main
from beacon_retraining.data.history import load_dataset
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

# A linear candidate and one of trees, compared on few folds: which of them wins does not matter here.
QUICK = TrainSettings(folds=2, repeats=1, coverage_folds=2, jobs=1, candidates=("ridge", "boosting"))
AGREED = 1e-4
pytestmark = [pytest.mark.xdist_group("train-serve"), pytest.mark.slow]


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory, product):
    """A home with the sample in both feature stores and a real model released; and scikit-learn's own answers."""
    home = tmp_path_factory.mktemp("trained")
    settings = Settings(home=home)
    write_offline(settings, product, validate(product.sample_path, product), datetime.now(UTC))
    repo.apply(settings, product)
    repo.materialize(settings, product)
    dataset = load_dataset(settings, product)
    trained = train(dataset, product, QUICK)
    origin = PackageOrigin("1", "sample", "test", datetime.now(UTC))
    package = write_package(settings.models_dir, product, dataset, trained, QUICK, origin)
    write_release(settings.release_file, Release(Pin(product.name, "1", package.sha256)))
    return home, trained.model.predict(model_columns(dataset.features, trained.fill, dataset.schema, dataset.seconds))


@pytest.fixture(scope="module")
def features_server(trained_home):
    with serving(trained_home[0], FEATURES) as running:
        yield running


@pytest.fixture(scope="module")
def address(trained_home, features_server):
    # The time limit of production is tested below; here a busy machine must not fail the comparison.
    settings = {"features_url": features_server.address, "features_timeout_seconds": 20, "access_log": "false"}
    with serving(trained_home[0], **settings) as running:
        yield running.address


@pytest.fixture(scope="module")
def sample(product):
    """The rows of the sample, straight from the file."""
    with product.sample_path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            name: None if row[name] in (product.sources[0].format.missing or ()) else float(row[name])
            for name in product.feature_names
        }
        for row in rows
    ]


def answers(address, rows):
    answer = httpx.post(f"{address}/v1/predict/batch", json={"rows": rows}, timeout=110)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_all_rows_by_features_by_entity_and_scikit_learn_agree(trained_home, address, sample):
    wanted = trained_home[1]
    assert len(sample) == len(wanted) == 506
    by_features = answers(address, [{"features": row} for row in sample])
    by_entity = answers(address, [{"entity": {"tract_id": number}} for number in range(1, 507)])
    served = np.array([[each["prediction"] for each in found] for found in (by_features, by_entity)])
    worst = np.abs(served - wanted).max(axis=1)
    print(f"largest difference from scikit-learn: by features {worst[0]:.2e}, by tract_id {worst[1]:.2e}")
    assert np.abs(served[0] - served[1]).max() <= AGREED
    assert worst.max() <= AGREED
    assert np.ptp(served[0]) > 20, "a model that says the same of every row would agree, too"
    for one, two in zip(by_features, by_entity, strict=True):
        assert one["imputed"] == two["imputed"]
        assert set(one["sources"].values()) <= {"request"}
        assert set(two["sources"].values()) <= {"store"}


def test_a_table_of_keys_is_scored_as_the_server_answers(
    trained_home, features_server, address, product, tmp_path, monkeypatch
):
    file, out = tmp_path / "keys.csv", tmp_path / "out.csv"
    file.write_text("tract_id\n" + "".join(f"{number}\n" for number in (506, 3, 9999, 17)))
    monkeypatch.setattr(sys, "argv", ["score", str(file), "--out", str(out), "--by-entity", "--bad-rows", "mark"])
    home, seconds = trained_home[0], 20.0
    settings = Settings(home=home, features_url=features_server.address, features_timeout_seconds=seconds)
    assert score_main(settings) == 0
    with out.open(encoding="utf-8") as rows:
        found = list(csv.DictReader(rows))
    served = answers(address, [{"entity": {"tract_id": number}} for number in (506, 3, 17)])
    assert [row["tract_id"] for row in found] == ["506", "3", "9999", "17"]
    assert [float(row["prediction"]) for row in found if row["prediction"]] == [one["prediction"] for one in served]
    assert [row["problem"] for row in found] == ["", "", "no features are known for tract_id 9999", ""]


def test_the_requests_values_win_over_the_stores(address, sample):
    (own,) = answers(address, [{"features": sample[16] | {"RM": 8.5}}])
    both = httpx.post(f"{address}/v1/predict", json={"features": {"RM": 8.5}, "entity": {"tract_id": 17}}).json()
    assert both["prediction"] == pytest.approx(own["prediction"], abs=AGREED)
    assert both["sources"]["RM"] == "request"
    assert both["sources"]["TAX"] == "store"


def test_an_unknown_tract_is_404_and_named(address):
    one = httpx.post(f"{address}/v1/predict", json={"entity": {"tract_id": 9999}})
    assert (one.status_code, one.json()["code"], one.json()["field"]) == (404, "unknown_entity", "entity.tract_id")
    rows = [{"entity": {"tract_id": number}} for number in (1, 2, 9999)]
    batch = httpx.post(f"{address}/v1/predict/batch", json={"rows": rows})
    assert (batch.status_code, batch.json()["field"]) == (404, "rows[2].entity.tract_id")


@pytest.mark.parametrize("number", [0, -1, 2**62, -(2**63) + 1])
def test_an_odd_entity_is_the_clients_fault_and_no_outage(address, number):
    for _ in range(7):  # more often than it takes to be seen as an outage
        answer = httpx.post(f"{address}/v1/predict", json={"entity": {"tract_id": number}})
        assert 400 <= answer.status_code < 500, answer.text
    assert httpx.post(f"{address}/v1/predict", json={"entity": {"tract_id": 17}}).status_code == 200


def test_feature_serving_hung_or_gone_leaves_requests_with_features_untouched(trained_home, features_server, sample):
    """Last in this file: it ends feature serving."""
    with serving(trained_home[0], features_url=features_server.address, spool=trained_home[0] / "spool-2") as running:
        client = httpx.Client(base_url=running.address, timeout=30)
        only_entity = {"entity": {"tract_id": 17}}
        with_features = {"features": sample[16], "entity": {"tract_id": 17}}
        try:
            for state in ("hung", "gone"):
                if state == "hung":
                    os.killpg(features_server.process.pid, signal.SIGSTOP)
                else:
                    features_server.kill()
                took = []
                for _ in range(8):
                    started = time.perf_counter()
                    answer = client.post("/v1/predict", json=only_entity)
                    took.append(time.perf_counter() - started)
                    assert (answer.status_code, answer.json()["code"]) == (503, "feature_store_unavailable"), state
                # Five wait for nothing, and then the breaker is open. What a busy machine adds, it does not add to all.
                assert min(took[:5]) < 0.3, f"{state}: {took}"
                assert min(took[5:]) < 0.1, f"{state}: {took}"
                whole = client.post("/v1/predict", json=with_features)
                assert whole.status_code == 200
                assert set(whole.json()["sources"].values()) == {"request"}
                assert client.post("/v1/predict", json={"features": sample[16]}).status_code == 200
                assert client.get("/readyz").status_code == 200
        finally:
            client.close()
