"""Figures, times and pictures as people read them."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from beacon_console import charts, formats, pictures
from beacon_console.charts import Axis, ChartPoint

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.0, "0"),
        (12, "12"),
        (12345, f"12{THIN}345"),
        (0.01234, "0.0123"),
        (4.567, "4.57"),
    ]
    + [(99.96, "100.0"), (1234.5, f"1{THIN}234"), (-0.5, "-0.500"), (float("nan"), "nan"), (float("inf"), "inf")],
)
def test_numbers(value, words):
    assert formats.number(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "\N{EN DASH}"),
        (0.0021, "2.1 ms"),
        (0.2, "200 ms"),
        (4.21, "4.2 s"),
        (12, "12 s"),
        (89, "89 s"),
        (100, "2 min"),
    ]
    + [(7200, "2 h"), (86400 * 3, "3 d")],
)
def test_durations(seconds, words):
    assert formats.duration(seconds) == words.replace(" ", THIN)


def test_times_ago():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert formats.ago(now - timedelta(seconds=20), now) == "just now"
    assert formats.ago(now - timedelta(hours=3), now) == f"3{THIN}h ago"
    assert formats.ago(now + timedelta(hours=3), now) == f"in 3{THIN}h"


def test_words_are_joined():
    assert [formats.join_words(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def shapes(markup, name):
    root = ET.fromstring(str(markup))  # it must be well-formed
    return [element for element in root.iter() if element.tag == name]


@pytest.mark.parametrize("values", [[], [None], [1.0], [None, 2.0, None, 3.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_a_line_of_any_values_can_be_drawn(values):
    points = [ChartPoint(index / 4, value, f"<{value}>") for index, value in enumerate(values)]
    drawn = charts.line(points, charts.axis_of(points, 2.5), 'a "name" <&>', 2.5)
    assert len(shapes(drawn, "line")) == 1, "the limit"
    assert "nan" not in "".join(element.get("points", "") for element in shapes(drawn, "polyline"))


def test_columns_are_as_high_as_their_values():
    points = [ChartPoint(0, 5.0, "five"), ChartPoint(0.5, 10.0, "ten"), ChartPoint(1, 0.0, "none")]
    drawn = charts.columns(points, charts.axis_of(points), "counts", 100)
    heights = [float(shape.get("height")) for shape in shapes(drawn, "rect") if shape.get("class") == "column"]
    assert heights == [50, 100, 0]
    assert [title.text for title in shapes(drawn, "title")] == ["five", "ten", "none"]


@pytest.mark.parametrize(("value", "width"), [(0.0, 0), (0.1, 80), (0.05, 40), (9.0, 200), (float("inf"), 0)])
def test_a_score_is_drawn_against_its_threshold(value, width):
    drawn = pictures.score(value, 0.1, "RM", bad=False)
    assert float(shapes(drawn, "rect")[1].get("width")) == pytest.approx(width)


def test_an_axis_holds_the_limit_and_the_band():
    assert charts.axis_of([ChartPoint(0, 2.0, "", 1.0, 3.0)], 4.0) == Axis(0.0, 4.0)
    assert charts.axis_of([]) == Axis(0.0, 1.0)
    assert Axis(0, 10).height(20) == 1
