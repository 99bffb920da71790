"""Fetch: which source is used and why, and the last good file stays whatever happens."""

from pathlib import Path

import pyarrow as pa
import pytest
from support.products import write_product
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.sources.errors import FetchError
from beacon_core.sources.table import read_stored, read_table
from beacon_retraining.data.fetch import fetch, read_source


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "raw"


def accept(_table: pa.Table) -> None:
    return None


def refuse(_table: pa.Table) -> None:
    raise ValueError("bad table")


def test_without_credentials_the_sample_is_used_and_says_so(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    fetched = fetch(settings, product, folder, accept, {"HOME": str(tmp_path)})
    assert fetched.source == "sample"
    assert "no Kaggle credentials" in fetched.why
    assert fetched.file == folder / "table.parquet"
    assert read_stored(fetched.file, product).equals(read_table(product))
    facts = read_source(folder)
    assert (facts.source, facts.size) == ("sample", fetched.file.stat().st_size)
    assert facts.format[0] in fetched.why
    before = fetched.file.read_bytes()
    assert fetch(settings, product, folder, accept, {"HOME": str(tmp_path)}).file.read_bytes() == before


def test_bytes_that_are_not_those_that_came_are_seen(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    file = fetch(settings, product, folder, accept, {"HOME": str(tmp_path)}).file
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(FetchError, match="is not the file that was fetched from sample"):
        read_source(folder)


def test_a_refused_file_leaves_the_last_good_one_and_no_trace(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    file = folder / "table.parquet"
    file.parent.mkdir(parents=True)
    file.write_text("good")
    with pytest.raises(ValueError, match="bad table"):
        fetch(settings, product, folder, refuse, {"HOME": str(tmp_path)})
    assert file.read_text() == "good"
    assert list(file.parent.iterdir()) == [file]


def test_a_product_of_a_plain_file_has_it_as_its_source(settings: Settings, tmp_path: Path) -> None:
    table = {"size": [1.0, 2.0, 3.0], "price": [1, 2, 3]}
    product = write_product(tmp_path / "product", table, "price")
    fetched = fetch(settings, product, tmp_path / "raw", accept, {"HOME": str(tmp_path)})
    assert fetched.source == read_source(tmp_path / "raw").source == "items.csv"
    assert read_stored(fetched.file, product)["size"].to_pylist() == [1.0, 2.0, 3.0]
