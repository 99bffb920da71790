"""The request's value wins over the store's, the mask tells which is which, and segments are masks over all rows."""

import numpy as np
import pytest

from beacon_core.domain.features import merge, request_features, store_features
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks

NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "stored", "merged", "from_store"),
    [
        ([1.0, 2.0, 3.0], None, [1.0, 2.0, 3.0], None),
        ([1.0, None, 0.0], [4.0, 5.0, 6.0], [1.0, 5.0, 0.0], [False, True, False]),
        ([None, None, 3.0], [None, 5.0, None], [None, 5.0, 3.0], [False, True, False]),
        ([None, None, None], None, [None, None, None], None),
    ],
)
def test_the_request_wins_and_the_mask_tells_what_came_from_the_store(
    given: list[float | None],
    stored: list[float | None] | None,
    merged: list[float | None],
    from_store: list[bool] | None,
) -> None:
    def matrix(row: list[float | None]) -> np.ndarray:
        return np.array([[NAN if value is None else value for value in row]])

    asked, found = matrix(given), None if stored is None else matrix(stored)
    values, mask = merge(asked, found)
    np.testing.assert_array_equal(values, matrix(merged))
    assert (None if mask is None else mask.tolist()) == (None if from_store is None else [from_store])
    np.testing.assert_array_equal(asked, matrix(given), "the request's own is not changed")

    named = dict(zip("abc", merged, strict=True))
    names = None if from_store is None else [name for name, stored in zip("abc", from_store, strict=True) if stored]
    of_request = {name: value for name, value in request_features(named, names).items() if value is not None}
    assert of_request == {name: value for name, value in zip("abc", given, strict=True) if value is not None}
    assert store_features(named, names) == {name: named[name] for name in names or []}


def test_every_row_is_in_one_slice_of_each_segment(product: Product) -> None:
    random = np.random.default_rng(1)
    features = random.choice([0.0, 1.0, 24.0, NAN], (200, len(product.features)))
    prediction = random.uniform(0, 50, 200)
    prediction[0] = NAN
    masks = segment_masks(product, features, prediction)
    for name, segment in product.segments.items():
        own = {label: mask for label, mask in masks.items() if label.startswith(f"{name}=")}
        assert (np.sum(list(own.values()), axis=0) == 1).all(), name
        assert f"{name}=missing" in own
        values = prediction if segment.bounds else features[:, product.feature_names.index(segment.of)]
        assert (own[f"{name}=missing"] == np.isnan(values)).all()
    assert {"river=0", "river=1", "river=24", "price_band=-inf..15", "price_band=35..inf"} <= masks.keys()
