"""Intervals that follow the row: each row is answered and logged with its own, and a package must keep its word."""

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from support.logged_inference import create
from support.packages import build_package
from support.service import Service

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.pins import Pin
from beacon_core.model_package.batch_model import BATCH_FROM
from beacon_core.model_package.manifest import (
    BATCH_FILE,
    MODEL_FILE,
    GoldenRequest,
    PackageError,
    digest,
    read_package,
    write_manifest,
)
from beacon_core.model_package.release import Release, package_folder, write_release
from beacon_core.model_package.session import open_session
from beacon_inference.models.model import ModelAnswers, load_model
from beacon_inference.prediction.output import output_of
from beacon_retraining.packaging import export
from beacon_retraining.packaging.batch_form import to_batch_form
from beacon_retraining.packaging.spread_output import add_spread, run_with_spread
from beacon_retraining.training.estimators import TableModel
from beacon_retraining.training.spread import Spread

LOW, HIGH = 2.0, 3.0


@pytest.fixture(scope="module")
def features(product, row):
    middle = np.array(list(row.values()))
    rows = middle * np.random.default_rng(0).uniform(0.5, 1.5, (400, len(middle)))
    return np.where([feature.type == "float" for feature in product.features], rows, middle)


@pytest.fixture(scope="module")
def model(features):
    """A model of the first feature, whose spread is larger where the second one is."""
    trees = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=20, random_state=0)
    plain = TableModel(trees).fit(features, 30 + 10 * features[:, 0] / features[:, 0].mean())
    spread = HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=8, random_state=0)
    spread.fit(features, np.log(1 + features[:, 1] / features[:, 1].mean()))
    return add_spread(export.to_onnx(plain, features.shape[1]), Spread("trees", trees=spread))


@pytest.fixture
def package(tmp_path, product, features, model):
    """Writes a package of the model; its pin."""

    def write(batch=None, spread_share=1.0, **interval):
        pin = build_package(tmp_path / "models", product)
        folder = package_folder(tmp_path / "models", pin)
        manifest = read_package(folder, pin.sha256).manifest
        contents = {MODEL_FILE: model} | ({} if batch is None else {BATCH_FILE: batch})
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        answers, spreads = run_with_spread(open_session(model), features[:8])
        golden = tuple(
            GoldenRequest(tuple(own), float(answer), float(spread) * spread_share)
            for own, answer, spread in zip(features[:8].tolist(), answers, spreads, strict=True)
        )
        files = {name: digest(content) for name, content in contents.items()}
        changed = {"low": LOW, "high": HIGH, "follows_row": True} | interval
        told = msgspec.structs.replace(manifest.interval, **changed)
        whole = msgspec.structs.replace(manifest, golden=golden, files=files, interval=told)
        return Pin(pin.name, pin.version, write_manifest(folder, whole))

    return write


def test_each_row_is_answered_with_its_own_interval_alone_and_in_a_batch(
    tmp_path, settings, product, package, features, model
):
    home = tmp_path
    write_release(home / "release.json", Release(package(to_batch_form(model))))
    names = product.feature_names
    bodies = [dict(zip(names, own, strict=True)) for own in features[: BATCH_FROM + 2].tolist()]
    with Service(create(msgspec.structs.replace(settings, home=home))) as service:
        alone = [service.post("/v1/predict", {"features": body}).json() for body in bodies]
        tensor = {
            "name": "features", "datatype": "FP64", "shape": [len(bodies), len(names)],
            "data": features[: len(bodies)].ravel().tolist(),
        }  # fmt: skip
        found = service.post(f"/v2/models/{product.name}/infer", {"inputs": [tensor]}).json()["outputs"]
    together = {output["name"]: output["data"] for output in found}
    predictions, spreads = run_with_spread(open_session(model), features[: len(bodies)])
    assert np.ptp(spreads) > 0.2
    for place, answer in enumerate(alone):
        interval = answer["interval"]
        assert interval["low"] == pytest.approx(max(predictions[place] - LOW * spreads[place], 0), abs=1e-4)
        assert interval["high"] == pytest.approx(predictions[place] + HIGH * spreads[place], abs=1e-4)
        both = [together[name][place] for name in ("prediction", "low", "high")]
        assert [answer["prediction"], interval["low"], interval["high"]] == both


def test_a_row_has_the_same_spread_alone_and_in_a_batch(tmp_path, product, package, features, model):
    loaded = load_model(tmp_path / "models", package(to_batch_form(model)), product)
    alone = [loaded.predict(own[None]) for own in features]
    together = loaded.predict(features)
    # ONNX Runtime takes the exponential of one number and of many by different instructions.
    np.testing.assert_allclose(together.spreads, [answer.spreads[0] for answer in alone], rtol=1e-14)
    assert together.values == [answer.values[0] for answer in alone]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"spread_share": 1.01}, "the spread of a golden answer is off by 0.99% of it"),
        ({"follows_row": False}, "interval.follows_row is false, and the model has an output spread"),
    ],
)
def test_a_package_that_says_otherwise_than_its_model_is_refused(tmp_path, product, package, options, reason):
    with pytest.raises(PackageError, match=reason):
        load_model(tmp_path / "models", package(**options), product)


def test_a_package_that_promises_a_spread_and_has_none_is_refused(tmp_path, product):
    pin = build_package(tmp_path, product)
    manifest = read_package(package_folder(tmp_path, pin), pin.sha256).manifest
    promised = msgspec.structs.replace(manifest, interval=msgspec.structs.replace(manifest.interval, follows_row=True))
    pin = Pin(pin.name, pin.version, write_manifest(package_folder(tmp_path, pin), promised))
    with pytest.raises(PackageError, match=r"follows_row is true, and the model has no output spread"):
        load_model(tmp_path, pin, product)


def test_a_form_for_batches_without_the_spread_is_refused(tmp_path, product, package, features):
    trees = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=20, random_state=0)
    plain = export.to_onnx(
        TableModel(trees).fit(features, 30 + 10 * features[:, 0] / features[:, 0].mean()), features.shape[1]
    )
    with pytest.raises(PackageError, match="form for batches has no output spread"):
        load_model(tmp_path / "models", package(to_batch_form(plain)), product)


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spread_that_is_no_positive_number_is_never_answered(tmp_path, product, package, spread):
    loaded = load_model(tmp_path / "models", package(), product)
    with pytest.raises(BeaconError, match="spread of the model's interval is not above 0"):
        output_of(ModelAnswers([20.0, 21.0], [1.0, spread]), loaded, (0.0, 100.0))
