"""Pages of the prediction log, on both databases: each prediction once, in one order, and what a filter lets pass."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from support.history import prediction_row
from support.stores import new_store

from beacon_core.data.prediction_log import log_pages
from beacon_core.data.prediction_log.log_pages import LogFilter, LogLine
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.product import Product

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = 90
ODD = "länge 100% (.m/s) [0]"


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, product: Product
) -> Iterator[Engine]:
    """Three moments of thirty rows each; every fifth has an actual by its id, and entity 7 one of its own."""
    with new_store(request.param, tmp_path_factory.mktemp("store")) as store:
        rows = [
            prediction_row(product, n, NOW - timedelta(hours=n // 30), "1" if n % 2 else "2") | {"entity": str(n % 8)}
            for n in range(ROWS)
        ]
        for n, row in enumerate(rows):
            row |= {"shadow_version": None, "shadow_prediction": None}
            if n % 4 == 0:
                row |= {"shadow_version": "3", "shadow_prediction": row["prediction"] + n}
            row["features"] |= {ODD: "x" if n % 3 else None}
        by_id = [
            {"prediction_id": row["id"], "value": row["prediction"] + n} for n, row in enumerate(rows) if n % 5 == 0
        ]
        told = {"observed_at": NOW, "received_at": NOW, "source": "test"}
        with store.begin() as connection:
            connection.execute(insert(predictions), rows)
            connection.execute(insert(actuals), [each | told for each in by_id])
            connection.execute(insert(actuals), [told | {"entity": "7", "value": 5.0}])
        yield store


def every(engine: Engine, wanted: LogFilter, size: int) -> list[LogLine]:
    lines: list[LogLine] = []
    after = None
    with engine.connect() as connection:
        for _ in range(ROWS + 1):
            page = log_pages.page_of(connection, wanted, after, size)
            assert len(page.lines) <= size
            lines += page.lines
            after = page.following
            if after is None:
                return lines
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("size", [1, 7, 30, 89, 90, 91])
def test_every_prediction_is_on_one_page(engine: Engine, size: int) -> None:
    lines = every(engine, LogFilter(), size)
    assert len({line.id for line in lines}) == len(lines) == ROWS
    assert [line.time for line in lines] == sorted((line.time for line in lines), reverse=True)


@pytest.mark.parametrize(
    ("wanted", "lets_pass"),
    [
        (LogFilter(version="1"), lambda line: line.model_version == "1"),
        (LogFilter(entity="7"), lambda line: line.entity == "7"),
        (LogFilter(entity="6", version="2"), lambda line: (line.entity, line.model_version) == ("6", "2")),
        (LogFilter(is_out_of_range=True), lambda line: line.out_of_range != []),
        (
            LogFilter(is_out_of_range=False, version="1"),
            lambda line: not line.out_of_range and line.model_version == "1",
        ),
        (LogFilter(has_actual=True), lambda line: line.actual is not None),
        (LogFilter(has_actual=False), lambda line: line.actual is None),
        (LogFilter(error_above=40.0), lambda line: line.error is not None and abs(line.error) > 40),
        (LogFilter(since=NOW - timedelta(hours=1)), lambda line: line.time >= NOW - timedelta(hours=1)),
        (LogFilter(until=NOW - timedelta(hours=1)), lambda line: line.time < NOW - timedelta(hours=1)),
    ],
)
@pytest.mark.parametrize("searched", [10, 20_000])
def test_a_filter_lets_pass_what_it_says(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    wanted: LogFilter,
    lets_pass: Callable[[LogLine], bool],
    searched: int,
) -> None:
    """However few rows a page looks at."""
    monkeypatch.setattr(log_pages, "MOST_SEARCHED", searched)
    monkeypatch.setattr(log_pages, "MOST_JOINED", searched)
    expected = [line for line in every(engine, LogFilter(), ROWS) if lets_pass(line)]
    assert 0 < len(expected) < ROWS
    assert every(engine, wanted, 4) == expected


def test_an_actual_of_the_entity_belongs_to_its_last_prediction(engine: Engine) -> None:
    lines = every(engine, LogFilter(entity="7"), ROWS)
    known = {line.id: line.actual for line in lines if line.actual is not None and int(line.id[1:]) % 5}
    assert set(known.values()) == {5.0}
    assert {line.time for line in lines if line.id in known} == {NOW}


@pytest.mark.parametrize("feature", [ODD, "no such feature"])
def test_the_newest_values_of_a_feature_of_any_name(engine: Engine, feature: str) -> None:
    with engine.connect() as connection:
        values = log_pages.newest_values(connection, feature, 60)
    assert len(values) == 60
    found: set[Any] = {each.value for each in values}
    assert found == ({"x", None} if feature == ODD else {None})


@pytest.mark.parametrize("most", [4, 1000])
def test_the_pairs_of_a_shadow(engine: Engine, most: int) -> None:
    """The newest first, with the actual of each."""
    with engine.connect() as connection:
        pairs = log_pages.shadow_pairs(connection, "2", "3", [ODD], most)
        assert log_pages.shadow_pairs(connection, "1", "3", [ODD], most) == []
    numbers = [int(pair.id[1:]) for pair in pairs]
    assert len(numbers) == min(most, len(range(0, ROWS, 4)))
    assert [pair.time for pair in pairs] == sorted((pair.time for pair in pairs), reverse=True)
    for n, pair in zip(numbers, pairs, strict=True):
        assert n % 4 == 0
        assert pair.shadow_prediction == pytest.approx(pair.prediction + n)
        assert pair.features == {ODD: "x" if n % 3 else None}
        assert (pair.actual is not None) == (n % 5 == 0)


def test_the_oldest_prediction(engine: Engine) -> None:
    with engine.connect() as connection:
        assert log_pages.oldest_time(connection) == NOW - timedelta(hours=2)
