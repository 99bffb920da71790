"""The figures that the product promises, measured on the sample with its gaps, as training itself measures them."""

import numpy as np
import pytest

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.training.interval import covered, widths
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.selection import choose, excess_over_best
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import compare

NEEDED = ("boosting", "kernel-ridge", "blend")


def test_the_blend_keeps_the_promised_error_and_coverage(product: Product) -> None:
    rows = validate(product.sample_path, product)
    features = rows[list(product.feature_names)].to_numpy()
    assert "B" not in product.feature_names
    assert np.isnan(features).any()
    dataset = make_dataset(product, features, rows[product.target.name].to_numpy())
    settings = TrainSettings(candidates=NEEDED)
    assert (settings.folds, settings.repeats) == (10, 3)
    compared = compare(dataset, product, settings, plan_of(product, settings))
    results = {result.name: result for result in compared.results}
    assert results["blend"].rmse <= 2.85
    ordered = tuple(results.values())
    assert choose(ordered, excess_over_best(ordered, dataset.target)).name == "blend"
    # Widths from two repeats of the cross-validation, counted on the third.
    residuals = dataset.target - results["blend"].held_out
    coverage = covered(residuals[2], widths(residuals[:2], product.training.interval_coverage)).mean()
    assert coverage == pytest.approx(product.training.interval_coverage, abs=0.03)
