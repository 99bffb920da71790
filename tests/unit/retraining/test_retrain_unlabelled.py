"""Rows without a target: they are rows of the feature store, nothing is trained on them, and their number is told."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from support.feature_homes import feature_home, items
from support.settings import Settings

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.product_file import load_product
from beacon_retraining.commands import check, data
from beacon_retraining.data.history import base_rows, load_dataset, training_rows
from beacon_retraining.data.labels import OBSERVED, PREDICTION, label_columns
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.row_counts import DatasetSummary, messages
from beacon_retraining.data.validate import check_shift, validate

ROWS = 40
NOW = datetime.now(UTC)
UNLABELLED = (3, 8, 21)


def product_of(folder: Path, form: str, unlabelled: tuple[int, ...] = UNLABELLED) -> Product:
    """`items`, without a price in the rows `unlabelled`, counted from 0."""
    product = items(folder)
    table = pa.csv.read_csv(folder / "items.csv")
    prices = [None if row in unlabelled else price for row, price in enumerate(table["price"].to_pylist())]
    table = table.set_column(table.schema.get_field_index("price"), "price", pa.array(prices, pa.int64()))
    if form == "csv":
        pa.csv.write_csv(table, folder / "items.csv")
    else:
        pq.write_table(table, folder / "items.parquet")
    text = product.file.read_text().replace("- NA", "- NA\n    - ''").replace("items.csv", f"items.{form}")
    product.file.write_text(text)
    return load_product(product.file)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_they_are_in_the_store_and_not_in_the_training_rows(tmp_path: Path, form: str) -> None:
    product = product_of(tmp_path / "items", form)
    rows = validate(product.sources[0].path, product)
    assert (len(rows), rows["price"].isna().sum()) == (ROWS, len(UNLABELLED))
    check_shift("t", rows, rows, product)
    with feature_home(tmp_path / "home", "sqlite") as settings:
        write_offline(settings, product, rows, NOW)
        repo.apply(settings, product)
        assert repo.materialize(settings, product).rows == ROWS
        found = training_rows(settings, product, labels(product))
        base = base_rows(settings, product)
        assert len(load_dataset(settings, product).target) == ROWS - len(UNLABELLED)
    assert sorted(base["item_id"]) == [row + 1 for row in range(ROWS) if row not in UNLABELLED]
    assert found.excluded.base_unlabelled == len(UNLABELLED)
    assert found.excluded.counts()["base_unlabelled"] == len(UNLABELLED)
    assert found.excluded.base_broken == 0
    assert len(found.rows) == len(base)
    lines = messages(DatasetSummary("f", len(found.rows), 0, "now", found.excluded), 2)
    assert lines == ["rows of the data file not trained on, as they have no target: 3"]


def test_a_row_that_is_labelled_by_an_actual_is_trained_on(tmp_path: Path) -> None:
    product = product_of(tmp_path / "items", "csv")
    rows = validate(product.sources[0].path, product)
    with feature_home(tmp_path / "home", "sqlite") as settings:
        write_offline(settings, product, rows, NOW)
        repo.apply(settings, product)
        found = training_rows(settings, product, labels(product, UNLABELLED[0] + 1)).rows
    [label] = found[found[PREDICTION] != ""].to_dict("records")
    assert label["size"] == rows["size"][UNLABELLED[0]], "the features are the store's"
    assert len(found) == ROWS - len(UNLABELLED) + 1


def labels(product: Product, *entities: int) -> pd.DataFrame:
    """Labelled predictions of entities, by their key alone."""
    times = pd.Series([pd.Timestamp.now(UTC)] * len(entities)).astype("datetime64[us, UTC]")
    given = {PREDICTION: [f"p{key}" for key in entities], "item_id": pd.array(entities, "Int64"), "price": 111.0}
    frame = pd.DataFrame(given | {EVENT_TIME: times, OBSERVED: times})
    return frame.reindex(columns=label_columns(product)).astype(dict.fromkeys(product.feature_names, "float64"))


@pytest.mark.parametrize(
    ("unlabelled", "limit", "rule"),
    [
        (21, "0.5", r"price: is the target, and has no value in 21 of 40 rows; at most 50% may lack it "
                    r"\(data.limits.null_share\)"),
        (40, "1.0", r"price: is the target, and has no value in 40 of 40 rows; a model needs at least 1 with one"),
    ],
)  # fmt: skip
def test_too_many_are_refused(tmp_path: Path, unlabelled: int, limit: str, rule: str) -> None:
    product = product_of(tmp_path, "csv", tuple(range(unlabelled)))
    text = product.file.read_text()
    product.file.write_text(text.replace("null_share: 1.0", f"null_share: {limit}"))
    product = load_product(product.file)
    with pytest.raises(DataError, match=rule):
        validate(product.sources[0].path, product)


def test_weights_and_groups_count_where_there_is_a_target(tmp_path: Path) -> None:
    product = product_of(tmp_path, "csv")
    text = product.file.read_text()
    assert "weight: null" not in text
    product.file.write_text(text.replace("  name: price\n", "  name: price\n  weight: weight\n"))
    product = load_product(product.file)
    table = (tmp_path / "items.csv").read_text().splitlines()
    cells = ["" if row in UNLABELLED else "2" for row in range(ROWS)]
    lines = [f"{line},{cell}" for line, cell in zip(table, ["weight", *cells], strict=True)]
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    assert len(validate(product.sources[0].path, product)) == ROWS
    lines[1] = lines[1].removesuffix("2")
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"weight: is a weight: must be at least 0, has nan in row 1"):
        validate(product.sources[0].path, product)


def test_the_check_tells_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = product_of(tmp_path, "csv").file
    settings = Settings(home=tmp_path / "home", product=file)
    monkeypatch.setattr(sys, "argv", ["check", str(file)])
    assert check.main(settings) == 0
    said = capsys.readouterr().out
    assert "  rows      40, 3 of them without a target, which are not trained on\n" in said
    assert "no errors" in said
    monkeypatch.setattr(sys, "argv", ["data", "check"])
    assert data.main(settings) == 0
    assert "40 rows checked, no rule broken, 3 of them without a target" in capsys.readouterr().out
    text = file.read_text().replace("null_share: 1.0", "null_share: 0.08")
    file.write_text(text)
    monkeypatch.setattr(sys, "argv", ["check", str(file)])
    check.main(settings)
    assert "warning   price: is missing in 8% of the rows, near the limit of 8%" in capsys.readouterr().out
