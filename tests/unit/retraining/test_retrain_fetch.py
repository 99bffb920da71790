"""Fetch: which source is used and why, and the last good file stays whatever happens."""

from pathlib import Path

import pytest

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_retraining.data.fetch import FetchError, fetch, read_source


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "raw"


def accept(_file: Path) -> None:
    return None


def refuse(_file: Path) -> None:
    raise ValueError("bad file")


def test_without_credentials_the_sample_is_used_and_says_so(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    fetched = fetch(settings, product, folder, accept, {"HOME": str(tmp_path)})
    assert fetched.source == "sample"
    assert "no Kaggle credentials" in fetched.why
    assert fetched.file == folder / product.source.file
    assert fetched.file.read_bytes() == product.sample_path.read_bytes()
    facts = read_source(folder, product)
    assert (facts.source, facts.size) == ("sample", product.sample_path.stat().st_size)


def test_bytes_that_are_not_those_that_came_are_seen(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    file = fetch(settings, product, folder, accept, {"HOME": str(tmp_path)}).file
    file.write_bytes(file.read_bytes().replace(b"0.00632", b"0.00633"))
    with pytest.raises(FetchError, match="is not the file that was fetched from sample"):
        read_source(folder, product)


def test_a_refused_file_leaves_the_last_good_one_and_no_trace(
    settings: Settings, product: Product, folder: Path, tmp_path: Path
) -> None:
    file = folder / product.source.file
    file.parent.mkdir(parents=True)
    file.write_text("good")
    with pytest.raises(ValueError, match="bad file"):
        fetch(settings, product, folder, refuse, {"HOME": str(tmp_path)})
    assert file.read_text() == "good"
    assert list(file.parent.iterdir()) == [file]
