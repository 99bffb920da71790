"""Two models row by row: the pairs of the shadow, their errors, and what the gate said of the two."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, insert
from support.history import add_drift, add_verdict, prediction_row
from support.products import MIXED
from support.service import Service
from support.settings import Settings
from support.stores import new_store

from beacon_console.app import create
from beacon_console.comparison.pairs import read_pairs, story_of
from beacon_core.data.prediction_log import log_pages
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks, segments_of
from beacon_core.platform.product_file import load_product

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = 60


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with new_store("sqlite", tmp_path) as engine:
        yield engine


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Service]:
    with Service(create(Settings(home=tmp_path))) as running:
        yield running


def fill(engine: Engine, product: Product) -> None:
    """Model 3 in shadow of 2 on even rows, 2 in shadow of 3 on every fifth odd one; 3 is always `n` above 2.

    The actual of a third of the rows is the answer of 3.
    """
    rows, known = [], []
    for n in range(ROWS):
        row = prediction_row(product, n, NOW - timedelta(minutes=n), "2")
        two, three = float(n), 2.0 * n
        if n % 2 == 0:
            row |= {"prediction": two, "shadow_version": "3", "shadow_prediction": three}
        elif n % 5 == 0:
            row |= {"prediction": three, "model_version": "3", "shadow_version": "2", "shadow_prediction": two}
        rows.append({"shadow_version": None, "shadow_prediction": None} | row)
        if n % 3 == 0:
            told = {"observed_at": NOW, "received_at": NOW, "source": "test"}
            known.append(told | {"prediction_id": row["id"], "value": three})
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
        connection.execute(insert(actuals), known)


def text_of(console: Service, path: str, status: int = 200) -> str:
    answer = console.get(path)
    assert answer.status == status, answer.body.decode()
    return answer.body.decode()


def test_the_pairs_are_those_that_both_answered(engine: Engine, product: Product) -> None:
    fill(engine, product)
    paired = [n for n in range(ROWS) if n % 2 == 0 or n % 5 == 0]
    with engine.connect() as connection:
        pairs = read_pairs(connection, product, "2", "3")
        turned = read_pairs(connection, product, "3", "2")
        assert read_pairs(connection, product, "1", "3") == []
    assert [pair.row.id for pair in pairs] == [f"p{n:08d}" for n in paired]
    assert [(pair.first, pair.second) for pair in pairs] == [(float(n), 2.0 * n) for n in paired]
    assert [(pair.second, pair.first) for pair in turned] == [(float(n), 2.0 * n) for n in paired]
    story = story_of(pairs)
    labelled = [n for n in paired if n % 3 == 0]
    assert story.whole.rows == len(paired)
    assert story.whole.mean_difference == pytest.approx(np.mean(paired))
    assert (story.whole.labelled, story.whole.second_error) == (len(labelled), 0.0)
    assert story.whole.first_error == pytest.approx(np.mean(labelled))
    assert [pair.row.id for pair in story.most_different[:2]] == ["p00000058", "p00000056"]
    for name in product.segments:
        assert sum(each.rows for each in story.segments if each.name.startswith(f"{name}=")) == len(paired)


def test_the_page_tells_it(console: Service, engine: Engine, product: Product) -> None:
    fill(engine, product)
    add_verdict(engine, product, NOW)
    add_drift(engine, product, 1, NOW)
    text = text_of(console, "/compare?first=2&second=3")
    assert "<h1>Models 2 and 3</h1>" in text
    assert re.search(r'<th scope="row"><a href="/predictions/p00000058">', text)
    assert "river=" in text
    assert "Model 3 against 2: clearly better, and within every limit." in text
    assert "<small>900 rows</small>" in text


def test_nothing_chosen_yet_is_a_form(console: Service, engine: Engine, product: Product) -> None:
    fill(engine, product)
    text = text_of(console, "/compare")
    assert '<option value="2">' in text
    assert "On the same rows</h2>" not in text


def test_two_without_a_common_row_say_so(console: Service, engine: Engine, product: Product) -> None:
    add_verdict(engine, product, NOW)
    text = text_of(console, "/compare?first=2&second=3")
    assert "No row of the log has an answer of both" in text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("first=2&second=9", 404),
        ("first=2&second=2", 422),
        ("first=%3Cscript%3E&second=2", 422),
        ("first=%00&second=2", 422),
        ("first=" + "9" * 999 + "&second=2", 422),
        ("first=..%2F&second=2", 422),
    ],
)
def test_what_is_no_version_is_refused(
    console: Service, engine: Engine, product: Product, query: str, status: int
) -> None:
    fill(engine, product)
    assert "<script>" not in text_of(console, f"/compare?{query}", status)


def test_the_search_for_pairs_is_bounded(engine: Engine, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(engine, product)
    monkeypatch.setattr(log_pages, "MOST_SEARCHED", 10)
    with engine.connect() as connection:
        found = log_pages.shadow_pairs(connection, "2", "3", [], 1000)
    assert [row.id for row in found] == [f"p{n:08d}" for n in range(0, 12, 2)][: len(found)]
    assert 0 < len(found) < 10


@pytest.mark.parametrize("file", ["boston", "mixed"])
def test_the_segments_of_a_row_are_those_of_the_masks(product: Product, file: str) -> None:
    """Rows of missing values, of levels, of values at the ends of bands."""
    of = product if file == "boston" else load_product(MIXED)
    rows = []
    for seed in range(40):
        row = {feature.name: feature.example for feature in of.features}
        for place, segment in enumerate(of.segments.values()):
            if segment.of in row:
                feature = of.features[of.feature_names.index(segment.of)]
                choices = [*feature.known_levels, *segment.bounds, None] if feature.type != "bool" else [True, None]
                row[segment.of] = choices[(seed + place) % len(choices)]
        rows.append(row)
    answers = np.array([5.0 + seed for seed in range(40)])
    matrix = np.array([[feature.to_number(row[feature.name]) for feature in of.features] for row in rows])
    masks = segment_masks(of, matrix, answers)
    for at, row in enumerate(rows):
        wanted = {name for name, mask in masks.items() if mask[at]}
        assert set(segments_of(of, row, float(answers[at]))) == wanted
        assert len(wanted) == len(of.segments)
