"""The study: no row is predicted by a model that saw it, each rule retrains as it says, and drift is found."""

import numpy as np
import pytest

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Member, Recipe
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.studies.cadence import CadenceStudy, HistoryError, rolling, run_study
from beacon_retraining.studies.cadence_report import tables

RIDGE = Recipe((Member("ridge"),))
DAYS, PER_DAY, BREAK = 100, 20, 60


def history(product: Product, days: int = DAYS) -> Dataset:
    """A base of 200 rows and `days` days; from day `BREAK` on every target is 30 higher."""
    random = np.random.default_rng(0)
    moments = np.arange(days * PER_DAY) // PER_DAY
    features = random.normal(size=(200 + len(moments), len(product.feature_names)))
    level = np.concatenate([np.zeros(200), np.where(moments >= BREAK, 30.0, 0.0)])
    target = 40 + 3 * features[:, 0] + level + random.normal(size=len(features))
    base = np.full(200, np.datetime64("2024-01-01", "us"))
    times = np.concatenate([base, np.datetime64("2025-01-01", "us") + moments.astype("m8[D]")])
    return make_dataset(product, features, target, times)


@pytest.fixture(scope="module")
def study(product: Product) -> CadenceStudy:
    return run_study(history(product), product, RIDGE)


def test_each_rule_retrains_when_it_says_and_only_those_that_retrain_recover(study: CadenceStudy) -> None:
    found = {run.rule.name: run for run in study.runs}
    first = DAYS * 15 // 100
    assert study.start == np.datetime64("2025-01-01") + first
    assert len(study.days) == (DAYS - first) * PER_DAY
    assert found["never"].retrained == ()
    assert found["30 days"].retrained == (30, 60)
    assert found["7 days"].retrained == tuple(range(7, DAYS - first, 7))
    drift = BREAK - first
    assert drift < min(found["on drift"].retrained) <= drift + 7
    before = study.days < drift
    for run in study.runs:
        assert run.errors[before].mean() == pytest.approx(0.8, abs=0.1)
        # The first day of the new world: nobody can have known it.
        assert run.errors[study.days == drift].mean() == pytest.approx(30, abs=2)
    assert found["never"].errors[~before].mean() == pytest.approx(30, abs=1)
    assert found["7 days"].mae < found["30 days"].mae < found["never"].mae


def test_the_feature_that_counts_is_of_use_and_the_table_has_all(study: CadenceStudy, product: Product) -> None:
    assert study.usefulness[0].argmax() == 0
    assert study.usefulness[0, 0] == pytest.approx(2.6, abs=0.5)
    assert np.abs(study.usefulness[0, 1:]).max() < 0.1
    text = tables(study, product)
    assert "| never | " in text
    assert all(f"\n| {name} | " in text for name in product.feature_names)


def test_a_short_history_is_refused(product: Product) -> None:
    with pytest.raises(HistoryError, match="spans 20 days, the study needs 30"):
        run_study(history(product, 20), product, RIDGE)


def test_the_rolling_error_is_that_of_the_rows_of_its_days() -> None:
    days = np.array([0, 0, 1, 3, 3, 4])
    errors = np.array([1.0, 3.0, 5.0, 7.0, 9.0, 2.0])
    at, values = rolling(days, errors, 2)
    assert at.tolist() == [1, 2, 3, 4]
    assert values.tolist() == [3.0, 5.0, 8.0, 6.0]
