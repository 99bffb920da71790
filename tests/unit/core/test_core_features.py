"""The request's value wins over the store's in every form that a row has, and segments are masks over all rows."""

import numpy as np
import pytest

from beacon_core.domain.features import merge_matrix, merge_named, merge_values
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks

NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "stored", "merged"),
    [
        ([1.0, 2.0, 3.0], None, [1.0, 2.0, 3.0]),
        ([1.0, None, 0.0], [4.0, 5.0, 6.0], [1.0, 5.0, 0.0]),
        ([None, None, 3.0], [None, 5.0, None], [None, 5.0, 3.0]),
        ([None, None, None], None, [None, None, None]),
    ],
)
def test_the_request_wins_in_every_form(
    given: list[float | None], stored: list[float | None] | None, merged: list[float | None]
) -> None:
    assert list(merge_values(given, stored)) == merged

    def matrix(row: list[float | None]) -> np.ndarray:
        return np.array([[NAN if value is None else value for value in row]])

    asked, found = matrix(given), None if stored is None else matrix(stored)
    np.testing.assert_array_equal(merge_matrix(asked, found), matrix(merged))
    np.testing.assert_array_equal(asked, matrix(given), "the request's own is not changed")

    def named(row: list[float | None]) -> dict[str, float]:
        return {name: value for name, value in zip("abc", row, strict=True) if value is not None}

    assert merge_named(named(given), None if stored is None else named(stored)) == named(merged)
    nulls = dict(zip("abc", given, strict=True))
    assert {k: v for k, v in merge_named(nulls, stored and named(stored)).items() if v is not None} == named(merged)


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
