"""The list of predictions: its filter in the address, its pages by key, and what of it becomes a file."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as parquet
import pytest
from sqlalchemy import Engine, insert
from support.history import add_drift, high_drift, month, prediction_row
from support.service import Answer, Service
from support.settings import Settings
from support.stores import new_store

from beacon_console.app import create
from beacon_console.downloads import answer
from beacon_core.data.prediction_log import log_pages
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.product import Product

ROWS = 210
HOSTILE = ('=cmd|"/C calc"!A0', "+1+1", "-2+3", "@SUM(A1)", "\t=1", " =1", "\uff1d1", "<script>alert(1)</script>")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with new_store("sqlite", tmp_path) as engine:
        yield engine


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Service]:
    with Service(create(Settings(home=tmp_path))) as running:
        yield running


def text_of(console: Service, path: str, status: int = 200) -> str:
    answer = console.get(path)
    assert answer.status == status, answer.body.decode()
    return answer.body.decode()


def shown(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/predictions/([^"]+)">', text)


def csv_rows(answer: Answer) -> list[dict[str, str]]:
    assert answer.status == 200, answer.body.decode()
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


def all_pages(console: Service, query: str) -> list[list[str]]:
    """Every page, by the links that lead from one to the next."""
    pages, path = [], f"/predictions?{query}"
    while True:
        text = text_of(console, path)
        pages.append(shown(text))
        following = re.search(r'<a href="([^"]+)" rel="next">', text)
        if following is None:
            return pages
        path = following[1].replace("&amp;", "&")


def test_an_empty_log_says_so(console: Service, engine: Engine) -> None:
    assert "Nothing has been predicted yet" in text_of(console, "/predictions")
    assert "No prediction fits" in text_of(console, "/predictions?version=2")


def test_the_pages_hold_every_prediction_once(console: Service, engine: Engine, product: Product) -> None:
    """Also where many were made at one moment, and while new ones come."""
    now = datetime.now(UTC)
    rows = [prediction_row(product, n, now - timedelta(hours=n // 70), "1") for n in range(ROWS)]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
    pages = all_pages(console, "")
    assert [len(page) for page in pages] == [50, 50, 50, 50, 10]
    found = [name for page in pages for name in page]
    times = {row["id"]: row["time"] for row in rows}
    assert found == sorted(times, key=lambda name: (times[name], name), reverse=True)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("version=2", lambda row, _: row["model_version"] == "2"),
        ("entity=7", lambda row, _: row["entity"] == "7"),
        ("entity=007&version=1", lambda row, _: row["entity"] == "7" and row["model_version"] == "1"),
        ("out_of_range=yes", lambda row, _: row["out_of_range"] != []),
        ("out_of_range=no&version=1", lambda row, _: row["out_of_range"] == [] and row["model_version"] == "1"),
        ("actual=yes", lambda _, actual: actual is not None),
        ("actual=no", lambda _, actual: actual is None),
        ("error_above=50", lambda row, actual: actual is not None and abs(actual - row["prediction"]) > 50),
        ("actual=yes&out_of_range=yes", lambda row, actual: actual is not None and row["out_of_range"] != []),
    ],
)
def test_a_filter_lets_pass_what_it_says(
    console: Service, engine: Engine, product: Product, query: str, wanted: object
) -> None:
    now = month(engine, product, ROWS)
    corrected = {"prediction_id": "p00000070", "value": 1e6, "source": "test", "observed_at": now, "received_at": now}
    with engine.begin() as connection:
        connection.execute(insert(actuals), [corrected, corrected | {"prediction_id": "p00000071"}])
    with engine.connect() as connection:
        known = {row.prediction_id: row.value for row in connection.execute(actuals.select())}
        rows = [dict(row._mapping) for row in connection.execute(predictions.select())]
    assert callable(wanted)
    expected = {row["id"] for row in rows if wanted(row, known.get(row["id"]))}
    assert expected
    assert {name for page in all_pages(console, query) for name in page} == expected
    assert {row["id"] for row in csv_rows(console.get(f"/predictions.csv?{query}"))} == expected
    since, until = now - timedelta(days=20), now - timedelta(days=5)
    within = {row["id"] for row in rows if row["id"] in expected and since <= row["time"] < until}
    times = f"&since={quote(since.isoformat())}&until={quote(until.isoformat())}"
    assert {name for page in all_pages(console, query + times) for name in page} == within


def test_a_search_ends_and_goes_on(
    console: Service, engine: Engine, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter without an index looks at a bounded number of rows a page."""
    monkeypatch.setattr(log_pages, "MOST_SEARCHED", 60)
    month(engine, product, ROWS)
    text = text_of(console, "/predictions?out_of_range=yes")
    assert "Searched back to" in text
    assert "search further back" in text
    found = [name for page in all_pages(console, "out_of_range=yes") for name in page]
    assert found == sorted(found, reverse=True)
    assert len(found) == len(set(found)) == ROWS // 7


def test_the_form_keeps_the_filter(console: Service, engine: Engine, product: Product) -> None:
    month(engine, product, ROWS)
    text = text_of(console, "/predictions?version=2&actual=no&error_above=&nonsense=1")
    assert 'name="version" maxlength="63" autocomplete="off" value="2"' in text
    assert '<option value="no" selected>not known</option>' in text
    assert 'href="/predictions.csv?version=2&amp;actual=no"' in text


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "until=2026-99-01",
        "since=" + "9" * 999,
        "version=%3Cscript%3E",
        "version=" + "9" * 64,
        "entity=%00",
        "entity=" + "9" * 600,
        "entity=abc",
        "out_of_range=perhaps",
        "actual=%00",
        "error_above=-1",
        "error_above=nan",
        "error_above=1e999",
        "error_above=abc",
        "error_above=1&actual=no",
        "after=2026-01-01",
        "after=2026-01-01T00:00:00Z,%27;DROP",
        "after=,p1",
        "after=" + "9" * 999,
    ],
)
def test_a_parameter_that_breaks_a_rule_is_named(console: Service, engine: Engine, query: str) -> None:
    for path in ("/predictions", "/predictions.csv", "/predictions.parquet"):
        text = text_of(console, f"{path}?{query}", 422)
        assert "<h1>Not possible</h1>" in text
        assert query.partition("=")[0] in text
        assert "<script>" not in text


def test_a_file_holds_the_log_and_the_features(console: Service, engine: Engine, product: Product) -> None:
    month(engine, product, ROWS)
    rows = csv_rows(console.get("/predictions.csv"))
    answer = console.get("/predictions.parquet")
    table = parquet.read_table(io.BytesIO(answer.body))
    assert answer.headers["content-disposition"] == 'attachment; filename="predictions.parquet"'
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) == ROWS
    with engine.connect() as connection:
        stored = {row.id: row for row in connection.execute(predictions.select())}
    for text, typed in zip(rows, table.to_pylist(), strict=True):
        row = stored[typed["id"]]
        assert (text["id"], float(text["prediction"]), typed["time"]) == (row.id, row.prediction, row.time)
        assert typed["prediction"] == row.prediction
        assert typed["imputed"] == ", ".join(row.imputed)
        for name in product.feature_names:
            assert typed[f"features.{name}"] == row.features[name]
            assert text[f"features.{name}"] == ("" if row.features[name] is None else str(row.features[name]))
        assert (typed["actual"] is None) == (text["actual"] == "") == (typed["error"] is None)


def test_a_file_is_bounded_and_its_name_says_so(
    console: Service, engine: Engine, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beacon_console.downloads.table.MOST_ROWS", 25)
    month(engine, product, ROWS)
    answer = console.get("/predictions.csv")
    assert [row["id"] for row in csv_rows(answer)] == [f"p{n:08d}" for n in range(ROWS - 1, ROWS - 26, -1)]
    assert answer.headers["content-disposition"] == 'attachment; filename="predictions-newest-25.csv"'
    assert "at most 25 rows" in text_of(console, "/predictions")


def test_no_text_becomes_a_formula_or_html(console: Service, engine: Engine, product: Product) -> None:
    now = datetime.now(UTC)
    name = product.feature_names[0]
    rows = []
    for number, text in enumerate(HOSTILE):
        row = prediction_row(product, number, now, "1") | {"entity": text, "client": text}
        rows.append(row | {"features": {name: text}, "imputed": [text], "out_of_range": [text]})
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
    for row in csv_rows(console.get("/predictions.csv")):
        for cell in (row["entity"], row["client"], row[f"features.{name}"], row["imputed"]):
            assert cell[:1] in {"'", "<"}
            assert cell.removeprefix("'") in HOSTILE
    assert "<script>" not in text_of(console, "/predictions")
    assert "<script>" not in text_of(console, "/predictions/p00000007")
    table = parquet.read_table(io.BytesIO(console.get("/predictions.parquet").body))
    assert set(table["entity"].to_pylist()) == set(HOSTILE)
    assert table[f"features.{name}"].to_pylist() == [None] * len(HOSTILE), "text is no number"


def test_the_results_of_a_drift_run_are_a_file(console: Service, engine: Engine, product: Product) -> None:
    period = add_drift(engine, product, 2, datetime.now(UTC), high_drift(product))
    rows = csv_rows(console.get(f"/drift/{period}/results.csv"))
    table = parquet.read_table(io.BytesIO(console.get(f"/drift/{period}/results.parquet").body))
    assert len(rows) == table.num_rows == 3 * (len(product.features) + 2)
    assert {row["period"] for row in rows} == {period}
    assert next(row["feature"] for row in rows if row["confirmed"] == "true") in high_drift(product)
    assert table.column_names == list(rows[0])
    assert "There is no drift run" in text_of(console, "/drift/never/results.csv", 404)
    assert text_of(console, f"/drift/{period}/results.exe", 404)


def test_files_are_made_one_after_the_other(
    console: Service, engine: Engine, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes memory; who waits for too long is told to come again."""
    month(engine, product, 10)
    monkeypatch.setattr(answer, "WAIT_SECONDS", 0.1)
    with answer._one_at_a_time:
        assert "Other files are being made; try again." in text_of(console, "/predictions.csv", 503)
    assert len(csv_rows(console.get("/predictions.csv"))) == 10
