"""The console as it is installed, where the log is the lake alone: each page is that of a console of the database."""

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as parquet
import pytest
from sqlalchemy import delete, select
from support.history import month
from support.lakes import in_folder
from support.server import CONSOLE, Server, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.data.prediction_log import lake
from beacon_core.data.predictions import PredictionRow
from beacon_core.data.tables import predictions
from beacon_core.domain.product import Product

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("lake-console")]
ROWS = 400
KNOWN = f"p{ROWS - 150:08d}"
PAGES = (
    "/", "/predictions", "/predictions?entity=7", "/predictions?version=2&actual=yes", "/predictions?out_of_range=yes",
    "/predictions?error_above=0.1", f"/predictions/{KNOWN}", "/compare", "/models", "/drift", "/jobs",
    f"/what-if?id={KNOWN}", "/predictions.csv?entity=7",
)  # fmt: skip
LISTS = ("imputed", "out_of_range", "features")


def rows_of(home: Path) -> list[PredictionRow]:
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    with engine.connect() as connection:
        found = [dict(row._mapping) for row in connection.execute(select(predictions))]
    engine.dispose()
    for row in found:
        row |= {name: json.dumps(row[name]) for name in LISTS}
        row["time"] = row["time"].replace(tzinfo=None).isoformat(" ", "microseconds")
    return [PredictionRow(**{name: row[name] for name in PredictionRow._fields}) for row in found]


@pytest.fixture(scope="module")
def consoles(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[tuple[Server, Server]]:
    """One that reads the database, and one whose predictions are in the lake alone."""
    tables, lakes = (tmp_path_factory.mktemp(name) for name in ("tables", "lakes"))
    engine = open_store(f"sqlite:///{tables / 'beacon.db'}")
    migrate(engine)
    month(engine, product, ROWS)
    engine.dispose()
    found = lake.open_lake(in_folder(lakes), product.features)
    lake.append_rows(found, rows_of(tables))
    found.close()
    shutil.copy(tables / "beacon.db", lakes / "beacon.db")
    engine = open_store(f"sqlite:///{lakes / 'beacon.db'}")
    with engine.begin() as connection:
        connection.execute(delete(predictions))
    engine.dispose()
    place = in_folder(lakes)
    options = {"log_stores": "lake", "lake": place.files, "lake_catalog_url": place.catalog}
    with serving(tables, CONSOLE) as first, serving(lakes, CONSOLE, **options) as second:
        yield first, second


def text_of(server: Server, path: str) -> str:
    answer = httpx.get(f"{server.address}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    # How long ago something was follows the clock, and so do tokens of forms.
    told = re.sub(r"\b\d+(\.\d+)? ?(seconds?|minutes?|hours?|days?|s|min|h|d) ago", "AGO", answer.text)
    told = re.sub(r"As of <time.*?</time> UTC", "", told)  # so does when the page was made
    told = re.sub(r"\b(\d+)\.0\b", r"\1", told)  # numbers of the lake are doubles, as inference's are
    return re.sub(r'name="csrf_token"[^>]*', "", told).replace(str(server.port), "PORT")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_that_of_the_database(consoles: tuple[Server, Server], path: str) -> None:
    by_table, by_lake = (text_of(server, path) for server in consoles)
    assert by_lake == by_table
    if path.startswith("/predictions"):
        assert "p000" in by_lake


def test_each_feature_and_a_file_of_types_are_those_of_the_database(
    consoles: tuple[Server, Server], product: Product
) -> None:
    for name in product.feature_names:
        by_table, by_lake = (text_of(server, f"/features/{name}") for server in consoles)
        assert by_lake == by_table
    files = [httpx.get(f"{server.address}/predictions.parquet", timeout=60).content for server in consoles]
    by_table, by_lake = (parquet.read_table(io.BytesIO(content)) for content in files)
    assert by_lake.equals(by_table)
    assert by_lake.num_rows == ROWS


def test_the_api_has_the_same_rows(consoles: tuple[Server, Server]) -> None:
    """A feature without a value is null in the database's rows, and not there in the lake's."""
    query = "/api/predictions?since=2020-01-01T00:00:00Z&limit=7"
    by_table, by_lake = (httpx.get(f"{server.address}{query}", timeout=60).json() for server in consoles)
    for row in by_table["predictions"]:
        row["features"] = {name: value for name, value in row["features"].items() if value is not None}
    assert len(by_lake["predictions"]) == 7
    assert by_lake == by_table


def test_a_prediction_that_is_not_there_is_no_failure(consoles: tuple[Server, Server]) -> None:
    answers = [httpx.get(f"{server.address}/predictions/unknown", timeout=60) for server in consoles]
    assert [answer.status_code for answer in answers] == [404, 404]
