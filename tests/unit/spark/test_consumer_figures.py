"""The figures of the topic's consumer: what probes are told, and what the alert goes by."""

from pathlib import Path

import pytest
from support.settings import Settings

from beacon_spark.streaming import figures as module
from beacon_spark.streaming.figures import ConsumerFigures, lag_of


@pytest.fixture
def figures(tmp_path: Path) -> ConsumerFigures:
    return ConsumerFigures(Settings(home=tmp_path))


def value(figures: ConsumerFigures, name: str) -> float | None:
    return figures.registry.get_sample_value(name)


def told(figures: ConsumerFigures) -> tuple[bool, bool]:
    """Whether it is alive, and ready."""
    return figures.checks["/livez"](), figures.checks["/readyz"]()


def test_it_is_ready_once_its_query_is_at_work_and_not_alive_once_it_hangs(
    figures: ConsumerFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    assert told(figures) == (True, False)
    figures.beat()
    assert told(figures) == (True, True)
    now += module.STILL_SECONDS - 1
    assert told(figures) == (True, True)
    now += 1
    assert told(figures) == (False, False)


def test_the_lake_is_current_once_nothing_is_left(figures: ConsumerFigures) -> None:
    current = "beacon_topic_current_timestamp_seconds"
    figures.committed(5, 2, 1)
    figures.left(7)
    assert value(figures, "beacon_topic_lag") == 7
    assert value(figures, current) == 0
    figures.committed(7, 0, 0)
    figures.left(0)
    names = ("rows", "repeated", "skipped")
    assert [value(figures, f"beacon_topic_{name}_total") for name in names] == [12, 2, 1]
    assert value(figures, "beacon_topic_lag") == 0
    at = value(figures, current)
    assert at is not None
    assert at >= (value(figures, "beacon_topic_committed_timestamp_seconds") or 0) > 0
    figures.left(3)
    assert value(figures, current) == at


@pytest.mark.parametrize(
    ("latest", "end", "lag"),
    [
        ('{"log":{"0":10,"1":7}}', '{"log":{"0":10,"1":7}}', 0),
        ('{"log":{"0":10,"1":7}}', '{"log":{"0":4,"1":7}}', 6),
        ('{"log":{"0":10,"1":7,"2":5}}', '{"log":{"0":10,"1":6}}', 6),
        (None, '{"log":{"0":10}}', 0),
    ],
)
def test_the_lag_is_what_lies_between_two_places(latest: str | None, end: str, lag: int) -> None:
    assert lag_of(latest, end) == lag
