"""The model card speaks of the product at hand: what is fixed in it holds for any."""

import re

import numpy as np

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.packaging.card import TEMPLATE
from beacon_retraining.packaging.interval_section import NOTHING_WORSE, slices_text
from beacon_retraining.training.crossval import FoldPredictions
from beacon_retraining.training.interval import Widths

OF_ONE_PRODUCT = re.compile(r"\b(homes?|houses?|prices?|loans?|sales?|expensive|sample|boston)\b", re.IGNORECASE)


def test_the_fixed_text_of_a_card_names_nothing_of_one_product() -> None:
    fixed = re.sub(r"\{\w+[^}]*\}", "", TEMPLATE)
    assert OF_ONE_PRODUCT.findall(fixed) == []


def parts_of(product: Product, harmed: bool) -> tuple[Dataset, FoldPredictions]:
    """Held-out rows whose error is 1, and 5 above the prediction where the first feature is high, if that is harmed."""
    random = np.random.default_rng(0)
    count = 1000
    features = random.normal(size=(count, len(product.features)))
    predictions = np.full(count, 20.0)
    error = np.where(random.random(count) < 0.5, -1.0, 1.0) * random.uniform(0.9, 1.1, count)
    error = np.where(harmed & (features[:, 0] > 1.5), 5.0, error)
    dataset = make_dataset(product, features, predictions + error)
    nothing = np.empty((0, count))
    ones = np.ones(count)
    return dataset, FoldPredictions(
        np.arange(count), predictions[None], Widths(2.0, 2.0), nothing, ones, Widths(2.0, 2.0), "constant"
    )


def test_the_card_names_the_worst_slice_with_figures_of_other_rows(product: Product) -> None:
    name = product.feature_names[0]
    dataset, part = parts_of(product, harmed=True)
    text = slices_text(product, dataset, [part])
    slice_name, figures = re.search(r"found: \*\*(.+?)\*\*\.\nOn (\d+ rows.*)", text).groups()  # type: ignore[union-attr]
    assert slice_name.startswith(f"{name} over 1.")
    rows = int(figures.split(" ")[0])
    assert 25 <= rows < (dataset.features[:, 0] > 1.5).sum()
    assert "its MAE is 5.000 +- 0" in figures
    assert "the mean error is 5.000, and the interval holds 0.0%" in figures
    assert "chance" not in text
    (everything,) = [line for line in text.splitlines() if line.startswith("| all |")]
    inside = np.mean(dataset.target - 20 <= 2)
    assert everything.split(" | ")[4] == f"{inside:.1%}"
    assert everything.split(" | ")[1] == "1000"


def test_what_chance_explains_is_called_so(product: Product) -> None:
    dataset, part = parts_of(product, harmed=False)
    text = slices_text(product, dataset, [part])
    assert "within what chance explains" in text or NOTHING_WORSE in text
