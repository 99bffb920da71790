"""Fetch: which source is used and why, and the last good file stays whatever happens."""

import zipfile
from pathlib import Path

import pytest

from beacon_core.product import Product
from beacon_core.settings import Settings
from beacon_retrain.fetch import FetchError, _unpack, fetch, kaggle_credentials, read_source


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


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        ({}, None),
        ({"KAGGLE_USERNAME": "me"}, None),
        ({"KAGGLE_KEY": "secret"}, None),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "secret"}, "KAGGLE_USERNAME and KAGGLE_KEY"),
        ({"KAGGLE_API_TOKEN": "secret"}, "KAGGLE_API_TOKEN"),
    ],
)
def test_credentials_of_the_environment(environment: dict[str, str], source: str | None, tmp_path: Path) -> None:
    assert kaggle_credentials({"HOME": str(tmp_path)} | environment) == source


@pytest.mark.parametrize("place", [".kaggle/kaggle.json", ".kaggle/access_token", ".config/kaggle/kaggle.json"])
def test_credentials_in_a_file(place: str, tmp_path: Path) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text("secret")
    assert kaggle_credentials({"HOME": str(tmp_path)}) == str(file)


def test_an_archive_with_another_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("other.csv", "a,b")
    with pytest.raises(FetchError, match=r"holds no HousingData.csv, but other.csv"):
        _unpack(tmp_path / "data.zip", "HousingData.csv")


@pytest.mark.parametrize("cut", [True, False], ids=["cut at half", "an error page"])
def test_an_archive_that_is_none_is_refused(cut: bool, product: Product, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(product.sample_path, "HousingData.csv")
    content = (tmp_path / "data.zip").read_bytes()
    (tmp_path / "data.zip").write_bytes(content[: len(content) // 2] if cut else b"<html>sorry</html>")
    with pytest.raises(FetchError, match="is not a whole zip file"):
        _unpack(tmp_path / "data.zip", "HousingData.csv")


def test_an_archive_with_wrong_bytes_of_the_right_size_is_refused(product: Product, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(product.sample_path, "HousingData.csv")
    content = bytearray((tmp_path / "data.zip").read_bytes())
    content[5000] ^= 0xFF
    (tmp_path / "data.zip").write_bytes(content)
    with pytest.raises(FetchError, match=r"HousingData\.csv is damaged"):
        _unpack(tmp_path / "data.zip", "HousingData.csv")
