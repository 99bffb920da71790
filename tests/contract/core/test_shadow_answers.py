"""What promotion reads of a shadow: the database's sums are the figures of the answers themselves."""

import statistics
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from beacon_core.data import predictions
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log.promotion_evidence import shadow_answers
from beacon_core.data.predictions import PredictionRow

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def log(engine: Engine, pairs: list[tuple[float | None, float]], moment: datetime = NOON, version: str = "2") -> None:
    rows = [
        PredictionRow(
            id=f"{moment.timestamp()}-{version}-{number}", time=moment.strftime("%Y-%m-%d %H:%M:%S.%f"), entity=None,
            features="{}", from_store=None, imputed="[]", out_of_range="[]", prediction=old, low=old, high=old,
            model_version="1", model_sha256="0" * 64, shadow_version=version, shadow_prediction=new,
            latency_seconds=0.001, request_id="r", trace_id=None, input_digest=None, client=None,
        )
        for number, (new, old) in enumerate(pairs)
    ]  # fmt: skip
    with engine.begin() as connection:
        predictions.insert(connection, rows)


@pytest.mark.parametrize("level", [0.0, 1e9, -1e-6])
def test_the_sums_are_the_figures_of_the_answers(engine: Engine, level: float) -> None:
    step = max(abs(level), 1.0) * 1e-6  # far smaller than the level: squares alone would have no digit left
    pairs = [(level + step * (number % 7), level + step * (number % 5)) for number in range(200)]
    log(engine, pairs)
    found = shadow_answers(engine, EVERYTHING, "2", NOON)
    new, old = zip(*pairs, strict=True)
    assert found is not None
    assert found.rows == 200
    assert found.new_mean == pytest.approx(statistics.fmean(new), rel=1e-12)
    assert found.old_mean == pytest.approx(statistics.fmean(old), rel=1e-12)
    assert found.new_spread == pytest.approx(statistics.pstdev(new), rel=1e-6)
    assert found.old_spread == pytest.approx(statistics.pstdev(old), rel=1e-6)
    assert found.correlation == pytest.approx(statistics.correlation(new, old), abs=1e-6)


def test_only_this_shadow_since_then_counts(engine: Engine) -> None:
    assert shadow_answers(engine, EVERYTHING, "2", NOON) is None
    log(engine, [(1.0, 2.0), (None, 5.0)])
    log(engine, [(100.0, 200.0)], NOON - timedelta(seconds=1))
    log(engine, [(100.0, 200.0)], version="3")
    found = shadow_answers(engine, EVERYTHING, "2", NOON)
    assert found is not None
    assert (found.rows, found.new_mean, found.old_mean) == (1, 1.0, 2.0)


def test_a_side_that_does_not_vary_has_no_correlation(engine: Engine) -> None:
    log(engine, [(0.1, float(number)) for number in range(30)])
    found = shadow_answers(engine, EVERYTHING, "2", NOON)
    assert found is not None
    assert (found.new_spread, found.correlation) == (0.0, None)
