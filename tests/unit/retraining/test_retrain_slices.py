"""Slices: found by a tree, named in words, and confirmed by rows that did not find them."""

import msgspec
import numpy as np
import pytest

from beacon_core.domain.feature import FeatureEntry, make_feature
from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.slices import find_slices

ROWS = 2000
LEVELS = ("fair", "good", "very good")


@pytest.fixture(scope="module")
def dataset(product: Product) -> Dataset:
    """Rows of a number with gaps, a text, an ordered text, a flag and a date."""
    entries = {
        "size": FeatureEntry(type="float"),
        "cut": FeatureEntry(type="category", levels=("round", "square", "oval")),
        "grade": FeatureEntry(type="category", levels=LEVELS, ordered=True),
        "sold": FeatureEntry(type="bool"),
        "day": FeatureEntry(type="date"),
    }
    features = tuple(make_feature(name, entry) for name, entry in entries.items())
    schema = msgspec.structs.replace(product.schema, features=features, derived=())
    random = np.random.default_rng(0)
    columns = [
        np.where(random.random(ROWS) < 0.1, np.nan, random.uniform(0, 2, ROWS)),
        *(random.integers(0, 3, ROWS).astype(float) for _ in range(2)),
        random.integers(0, 2, ROWS).astype(float),
        random.integers(18_000, 19_000, ROWS).astype(float),
    ]
    levels = {"cut": ("round", "square", "oval"), "grade": LEVELS}
    return Dataset(np.column_stack(columns), random.normal(size=ROWS), "", schema, levels)


def found(dataset: Dataset, values: Matrix, **options: int) -> dict[str, Matrix]:
    given = {"least": 25, "most": 1, "seed": 3} | options
    return {part.name: part.rows for part in find_slices(dataset, np.arange(ROWS), values, **given)}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (lambda row: row[0] > 1.2, "size over 1.2"),
        (lambda row: row[0] <= 0.5, "size at most 0.5"),
        (lambda row: row[1] == 1, "cut is square"),
        (lambda row: row[1] != 1, "cut is not square"),
        (lambda row: row[2] >= 1, "grade over fair"),
        (lambda row: row[3] == 1, "sold is true"),
        (lambda row: row[3] == 0, "sold is false"),
        (lambda row: row[4] > 18_600, "day over 2020-12-0"),
        (lambda row: np.isnan(row[0]), "size is missing"),
    ],
)
def test_what_rows_have_in_common_is_said_in_words(dataset: Dataset, where: object, words: str) -> None:
    assert callable(where)
    bad = np.array([bool(where(row)) for row in dataset.features])
    noise = np.abs(np.random.default_rng(1).normal(size=ROWS))
    ((name, rows),) = found(dataset, 3.0 * bad + 0.01 * noise).items()
    first, *_ = name.split(" and ")
    number = words.rsplit(" ", maxsplit=1)[-1]
    if number.replace(".", "").isdigit():
        assert first.rpartition(" ")[0] == words.rpartition(" ")[0]
        assert float(first.split(" ")[-1]) == pytest.approx(float(number), abs=0.02)
    else:
        assert first.startswith(words)
    # The rows are such rows, and none of the half that found the slice.
    assert bad[rows].mean() > 0.95
    assert rows.sum() <= ROWS / 2


def test_two_conditions_are_joined(dataset: Dataset) -> None:
    bad = (dataset.features[:, 0] > 1.2) & (dataset.features[:, 1] == 0)
    ((name, rows),) = found(dataset, bad.astype(float)).items()
    assert "cut is round" in name
    assert "size over 1.2" in name or "size over 1.19" in name
    assert bad[rows].mean() > 0.95


def test_by_chance_alone_the_worst_slice_is_no_worse_on_other_rows(dataset: Dataset) -> None:
    excess = []
    for seed in range(60):
        values = np.abs(np.random.default_rng(100 + seed).normal(size=ROWS))
        slices = find_slices(dataset, np.arange(ROWS), values, least=25, most=1, seed=seed)
        excess += [values[part.rows].mean() / values.mean() - 1 for part in slices]
    assert len(excess) >= 30
    assert abs(np.mean(excess)) < 0.08


def test_both_halves_may_find_slices_and_equal_values_find_none(dataset: Dataset) -> None:
    bad = dataset.features[:, 1] == 1
    both = find_slices(dataset, np.arange(ROWS), bad.astype(float), least=25, most=1, seed=0, both_ways=True)
    assert [part.name for part in both] == ["cut is square"]
    assert np.array_equal(both[0].rows, bad)
    assert not find_slices(dataset, np.arange(ROWS), np.ones(ROWS), least=25, most=1, seed=0)
    assert not find_slices(dataset, np.arange(60), bad[:60].astype(float), least=25, most=1, seed=0)
