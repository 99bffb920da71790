"""A fit of many rows that runs alone uses more than one thread, and gives the model that it gives on one."""

from pathlib import Path

import numpy as np
import pytest
from support.products import write_spec

from beacon_core.model_package.recipe import Member, Recipe
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.training import fitting
from beacon_retraining.training.families import FAMILIES

ROWS = 3000
FEW_TREES = FAMILIES["hist-boosting"].defaults | {"max_iter": 5}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    features = {name: {"type": "float"} for name in ("size", "age", "slope")}
    product = write_spec(tmp_path, features, target={"name": "price"})
    random = np.random.default_rng(0)
    values = random.normal(size=(ROWS, len(features)))
    return make_dataset(product, values, values[:, 0] * values[:, 1] + random.normal(size=ROWS))


def test_threads_change_nothing_of_boosting_over_bins(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe((Member("hist-boosting", FEW_TREES),))
    monkeypatch.setattr(fitting, "ALONE_ROWS", ROWS)
    alone, beside = fitting.fit_alone(recipe, dataset, 0), fitting.fit(recipe, dataset, 0)
    assert np.array_equal(*(model.predict(dataset.features, dataset.seconds) for model in (alone, beside)))
