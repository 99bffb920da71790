"""Fetch by Kaggle's own client against a stand-in server on loopback: whatever goes wrong, the last good data stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kaggle import Answer, StandIn, spoilt, zipped
from support.products import SAMPLE_FILE
from support.settings import Settings

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.table import read_stored, read_table
from beacon_retraining.data.fetch import FetchResult, fetch, read_source
from beacon_retraining.data.validate import validate_table

SAMPLE = SAMPLE_FILE.read_bytes()
WHOLE = zipped("HousingData.csv", SAMPLE)
OTHER = zipped("HousingData.csv", SAMPLE.replace(b"15.3", b"15.4"))


@pytest.fixture
def kaggle() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def run(kaggle: StandIn, product: Product, home: Path, timeout: float = 250) -> FetchResult:
    settings = Settings(home=home, kaggle_timeout_seconds=timeout)
    environment = kaggle.environment(home)
    return fetch(settings, product, home / "raw", lambda table: validate_table(table, product), environment)


def is_the_sample(fetched: FetchResult, product: Product) -> bool:
    return bool(read_stored(fetched.file, product).equals(read_table(product)))


def test_credentials_bring_kaggles_file(kaggle: StandIn, product: Product, tmp_path: Path) -> None:
    kaggle.answers = [Answer(WHOLE)]
    fetched = run(kaggle, product, tmp_path)
    assert fetched.source == "kaggle:altavish/boston-housing-dataset"
    assert fetched.why.startswith("Kaggle credentials from KAGGLE_USERNAME and KAGGLE_KEY; HousingData.csv: CSV, UTF-8")
    assert len(kaggle.asked) == 1
    assert kaggle.asked[0].endswith("DatasetApiService/DownloadDataset altavish/boston-housing-dataset")
    assert kaggle.authorization is not None
    assert is_the_sample(fetched, product)
    assert read_source(tmp_path / "raw").source == fetched.source


@pytest.mark.parametrize(
    "first",
    [Answer(b"later", 429, {"Retry-After": "1"}), Answer(WHOLE, send=len(WHOLE) // 2), Answer(b"oops", 503)],
    ids=["429 with Retry-After", "connection cut at half", "503"],
)
def test_what_passes_is_tried_again(first: Answer, kaggle: StandIn, product: Product, tmp_path: Path) -> None:
    kaggle.answers = [first, Answer(WHOLE)]
    assert is_the_sample(run(kaggle, product, tmp_path), product)
    assert len(kaggle.asked) == 2


REFUSED = [
    ("401", Answer(b"no", 401), FetchRefusedError, "altavish/boston-housing-dataset: 401"),
    ("403", Answer(b"no", 403), FetchRefusedError, "altavish/boston-housing-dataset: 403"),
    ("404", Answer(b"no", 404), FetchRefusedError, "altavish/boston-housing-dataset: 404"),
    ("429 for an hour", Answer(b"", 429, {"Retry-After": "3600"}), FetchError, "Retry-After is 3600 s"),
    ("cut at half", Answer(WHOLE[: len(WHOLE) // 2]), FetchError, "is not a whole zip file"),
    ("wrong bytes", Answer(spoilt(zipped("HousingData.csv", SAMPLE, 0))), FetchError, "HousingData.csv is damaged"),
    ("wrong bytes, packed", Answer(spoilt(WHOLE)), FetchError, "is not a whole zip file|is damaged"),
    ("two versions in one", Answer(WHOLE[:3000] + OTHER[3000:]), FetchError, "is not a whole zip file|is damaged"),
    ("a page", Answer(b"<html>sign in</html>", 200, {"Content-Type": "text/html"}), FetchError, "not a whole zip"),
    ("another file", Answer(zipped("other.csv", SAMPLE)), FetchError, "holds no HousingData.csv, but other.csv"),
    ("renamed", Answer(zipped("HousingData.csv", SAMPLE.replace(b"RM,", b"ROOMS,"))), DataError, "RM is missing"),
]


@pytest.mark.parametrize(("answer", "kind", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_failure_keeps_the_last_good_file_and_never_falls_back_to_the_sample(
    answer: Answer, kind: type[Exception], said: str, kaggle: StandIn, product: Product, tmp_path: Path
) -> None:
    good = tmp_path / "raw/table.parquet"
    good.parent.mkdir(parents=True)
    good.write_text("the last good data")
    kaggle.answers = [answer]
    with pytest.raises(kind, match=said) as failed:
        run(kaggle, product, tmp_path)
    assert type(failed.value) is kind
    assert "very-secret" not in str(failed.value)
    assert len(kaggle.asked) == 1
    assert list(good.parent.iterdir()) == [good]
    assert not list(tmp_path.glob(".incoming*"))
    assert good.read_text() == "the last good data"


def test_a_server_that_is_too_slow_is_left(kaggle: StandIn, product: Product, tmp_path: Path) -> None:
    kaggle.answers = [Answer(WHOLE, delay_seconds=30)]
    with pytest.raises(FetchError, match="was not done after 2 s"):
        run(kaggle, product, tmp_path, timeout=2)
    assert not list(tmp_path.glob("raw/*"))
