"""Many rows are worked on batch by batch, and what comes out is what all rows at once would give."""

import hashlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.products import write_spec

from beacon_core.domain.product import Product
from beacon_core.feature_store.names import EVENT_TIME
from beacon_retraining.data.dataset import Dataset, StoredRows, dataset_of, make_dataset
from beacon_retraining.files import write_table
from beacon_retraining.training import batches, crossval, encoder, imputation
from beacon_retraining.training.encoder import ColumnEncoder, layout_of
from beacon_retraining.training.imputation import fit_fill, model_columns

ROWS = 257


@pytest.fixture
def product(tmp_path: Path) -> Product:
    flat = {"type": "category", "levels": [f"kind {number}" for number in range(3)]}
    return write_spec(
        tmp_path,
        {"size": {"type": "float"}, "flat": flat, "street": {"type": "category", "levels": "many"}},
        target={"name": "price"},
    )


def frame_of(product: Product) -> pd.DataFrame:
    random = np.random.default_rng(1)
    size = random.normal(50, 9, ROWS)
    size[::7] = np.nan
    texts = np.array([f"level {number}" for number in random.integers(0, 30, ROWS)], object)
    texts[::11] = None
    flat = [f"kind {number}" for number in random.integers(0, 3, ROWS)]
    moment = pd.Series([datetime(2026, 1, 1, tzinfo=UTC)] * ROWS).astype("datetime64[us, UTC]")
    columns = {"size": size, "flat": flat, "street": texts, "price": np.arange(1.0, ROWS + 1), EVENT_TIME: moment}
    return pd.DataFrame(columns)[[*product.feature_names, "price", EVENT_TIME]]


@pytest.fixture
def dataset(product: Product) -> Dataset:
    return dataset_of(product, frame_of(product))


@pytest.mark.parametrize("rows", [0, 1, 5, 6, 7, 100, 101])
def test_batches_are_what_array_split_makes(rows: int) -> None:
    numbers = np.arange(rows)
    wanted = np.array_split(numbers, max(1, -(-rows // 6)))
    found = [numbers[part] for part in batches.batches(rows, 6)]
    assert [part.tolist() for part in found] == [part.tolist() for part in wanted]


def test_many_rows_are_on_several_threads_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FEW_ROWS", 100)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=30)  # one thread alone would wait for ever

    def work(part: slice) -> int:
        if part.start < 20:
            both.wait()
        return part.start

    assert batches.over_batches(101, 10, work) == [part.start for part in batches.batches(101, 10)]
    few = {batches.over_batches(100, 10, lambda _: threading.get_ident())[at] for at in range(10)}
    assert few == {threading.get_ident()}


def test_an_error_in_a_batch_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FEW_ROWS", 1)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)

    def work(part: slice) -> None:
        if part.start:
            raise ValueError("of a batch")

    with pytest.raises(ValueError, match="of a batch"):
        batches.over_batches(100, 10, work)


def test_the_columns_of_a_model_do_not_depend_on_the_batches(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = fit_fill(dataset.features, dataset.schema)
    whole = model_columns(dataset.features, fill, dataset.schema, dataset.seconds)
    monkeypatch.setattr(imputation, "BATCH_ROWS", 10)
    np.testing.assert_array_equal(model_columns(dataset.features, fill, dataset.schema, dataset.seconds), whole)
    assert not np.isnan(whole).any()


def test_encoded_columns_do_not_depend_on_the_batches(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = model_columns(
        dataset.features, fit_fill(dataset.features, dataset.schema), dataset.schema, dataset.seconds
    )
    layout = layout_of(dataset)
    assert layout.as_is
    assert layout.onehot
    assert layout.target
    whole = ColumnEncoder(layout).fit_transform(columns, dataset.target)
    monkeypatch.setattr(encoder, "BATCH_ROWS", 10)
    np.testing.assert_array_equal(ColumnEncoder(layout).fit_transform(columns, dataset.target), whole)
    assert whole.shape == (ROWS, layout.width)
    flags = whole[:, len(layout.as_is) : layout.width - len(layout.target)]
    assert set(np.unique(flags)) == {0.0, 1.0}
    np.testing.assert_array_equal(whole[:, : len(layout.as_is)], columns[:, list(layout.as_is)])


def test_values_that_are_removed_do_not_depend_on_the_batches(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = np.random.default_rng(5).random(dataset.features.shape) < 0.3
    rows = np.random.default_rng(2).permutation(ROWS)[:100]
    wanted = np.where(gone, np.nan, dataset.features)[rows]
    np.testing.assert_array_equal(crossval.thinned(0.3, 5)(dataset.features, rows), wanted)
    monkeypatch.setattr(crossval, "BATCH_ROWS", 10)
    np.testing.assert_array_equal(crossval.thinned(0.3, 5)(dataset.features, rows), wanted)
    assert np.isnan(wanted).mean() > 0.25


def test_stored_rows_are_the_dataset_of_the_frame(product: Product, dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    write_table(file, frame_of(product))
    stored = dataset_of(product, StoredRows(file))
    np.testing.assert_array_equal(stored.features, dataset.features)
    assert np.isnan(stored.features).any()
    assert stored.fingerprint == dataset.fingerprint
    assert stored.levels == dataset.levels


def test_a_fingerprint_does_not_depend_on_the_batches(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(3).normal(size=(ROWS, 3))
    features[5, 0], features[6, 1], features[200, 2] = np.nan, -0.0, -np.nan
    target = np.arange(float(ROWS))
    table = np.column_stack([features, target])
    table[np.isnan(table)] = np.nan
    table[table == 0] = 0.0
    names = json.dumps([*product.feature_names, "price", ROWS, 3], separators=(",", ":"))
    wanted = hashlib.sha256(names.encode() + table.tobytes()).hexdigest()
    assert make_dataset(product, features, target).fingerprint == wanted
    monkeypatch.setattr("beacon_retraining.data.dataset.HASHED_ROWS", 10)
    assert make_dataset(product, features, target).fingerprint == wanted
