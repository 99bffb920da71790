"""The gate: pure figures in, checks out; chance is told from change."""

import msgspec
import numpy as np
import pytest

from beacon_core.domain.product import Product
from beacon_core.domain.verdict import GateCheck
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.evaluation.gate import (
    Bootstrap,
    GateInputs,
    GateLimits,
    ModelPredictions,
    PackageMeasurements,
    conclude,
    judge,
)

ROWS = 800
GENERATOR = np.random.default_rng(0)
TARGET = 22 + 8 * GENERATOR.normal(size=ROWS)
NOISE = GENERATOR.normal(size=ROWS)
MEASUREMENTS = PackageMeasurements(latency_seconds=0.0001, parity=1e-6, steps={"RM": 2.0, "LSTAT": -3.0})


@pytest.fixture
def limits(product: Product) -> GateLimits:
    return GateLimits(product.policy.promotion, product.policy.quality.large_residual, 1e-4)


def predictions(error: Matrix, width: float = 5.0, gaps: float = 1.1) -> ModelPredictions:
    prediction = TARGET - error
    return ModelPredictions(prediction, prediction - width, prediction + width, TARGET - gaps * error)


def checks(
    limits: GateLimits,
    new: ModelPredictions,
    old: ModelPredictions | None,
    measurements: PackageMeasurements = MEASUREMENTS,
    **segments: Matrix,
) -> dict[str, GateCheck]:
    found, _ = judge(GateInputs(TARGET, new, old, segments, measurements, 0.0001), limits)
    return {check.name: check for check in found}


def outcome(found: dict[str, GateCheck]) -> str:
    return conclude(tuple(found.values()), first=False)[0]


OLD = predictions(2.5 * NOISE)


def test_a_better_model_passes_and_every_figure_stands_beside_its_limit(limits: GateLimits) -> None:
    found = checks(limits, predictions(2.0 * NOISE), OLD)
    assert outcome(found) == "pass"
    assert found["mae"].number == pytest.approx(0.8)
    assert (found["mae"].limit, found["mae"].rule) == (limits.promotion.max_mae_ratio, "below")
    assert found["mae"].challenger == pytest.approx(2 * np.abs(NOISE).mean())
    assert found["mae"].champion == pytest.approx(2.5 * np.abs(NOISE).mean())
    assert found["rmse"].number == pytest.approx(0.8)
    assert found["r2"].number == pytest.approx(1 - np.sum((2 * NOISE) ** 2) / np.sum((TARGET - TARGET.mean()) ** 2))
    assert found["coverage"].number == pytest.approx(np.mean(np.abs(2 * NOISE) <= 5))
    large = [np.mean(np.abs(scale * NOISE) > limits.large_residual) for scale in (2.0, 2.5)]
    assert found["large_residuals"].number == pytest.approx(large[0] - large[1])
    assert found["missing"].number == pytest.approx(1.1)


def test_a_worse_model_fails(limits: GateLimits) -> None:
    found = checks(limits, predictions(3.0 * NOISE), OLD)
    assert found["mae"].outcome == found["rmse"].outcome == "fail"
    assert outcome(found) == "fail"


def test_models_that_differ_by_chance_are_told_apart_from_better_ones(limits: GateLimits) -> None:
    other = np.random.default_rng(5).normal(size=ROWS)
    found = checks(limits, predictions(2.5 * other), OLD)
    assert found["mae"].outcome == "inconclusive"
    assert checks(limits, OLD, OLD)["mae"].outcome == "inconclusive"
    assert checks(limits, OLD, OLD)["mae"].note == "both models answer alike"


@pytest.mark.parametrize(
    ("name", "new", "measurements"),
    [
        ("coverage", predictions(2 * NOISE, width=1.0), MEASUREMENTS),
        ("missing", predictions(2 * NOISE, gaps=2.0), MEASUREMENTS),
        ("parity", predictions(2 * NOISE), msgspec.structs.replace(MEASUREMENTS, parity=0.1)),
        ("latency", predictions(2 * NOISE), msgspec.structs.replace(MEASUREMENTS, latency_seconds=0.5)),
        (
            "direction_RM",
            predictions(2 * NOISE),
            msgspec.structs.replace(MEASUREMENTS, steps={"RM": -0.1, "LSTAT": -1.0}),
        ),
        (
            "direction_LSTAT",
            predictions(2 * NOISE),
            msgspec.structs.replace(MEASUREMENTS, steps={"RM": 0.1, "LSTAT": 1.0}),
        ),
        ("r2", predictions(8 * NOISE), MEASUREMENTS),
        ("large_residuals", predictions(3.5 * NOISE), MEASUREMENTS),
        ("parity", predictions(2 * NOISE), msgspec.structs.replace(MEASUREMENTS, parity=float("nan"))),
    ],
)
def test_each_guard_fails_alone(
    limits: GateLimits, name: str, new: ModelPredictions, measurements: PackageMeasurements
) -> None:
    found = checks(limits, new, OLD, measurements)
    assert found[name].outcome == "fail"
    assert outcome(found) == "fail"


def test_a_better_model_that_harms_one_segment_fails_and_a_small_segment_is_not_judged(limits: GateLimits) -> None:
    river = np.arange(ROWS) < 100
    tiny = np.arange(ROWS) < limits.promotion.min_segment_rows - 1
    new = predictions(np.where(river, 4.0, 1.8) * NOISE)
    found = checks(limits, new, OLD, river=river, rest=~river)
    assert found["mae"].outcome == "pass"
    assert found["worst_segment"].outcome == "fail"
    assert "river" in found["worst_segment"].title
    assert found["worst_segment"].number == pytest.approx(1.6)
    assert "worst_segment" not in checks(limits, new, OLD, tiny=tiny)
    assert checks(limits, predictions(2 * NOISE), OLD, river=river, rest=~river)["worst_segment"].outcome == "pass"


def test_a_slice_that_was_found_is_judged_as_a_segment_is(limits: GateLimits) -> None:
    few = np.arange(ROWS) < 100
    harmful, harmless = predictions(np.where(few, 4.0, 1.8) * NOISE), predictions(2 * NOISE)
    for new, wanted in ((harmful, "fail"), (harmless, "pass")):
        inputs = GateInputs(TARGET, new, OLD, {}, MEASUREMENTS, 0.0001, found={"x over 3": few})
        made, slices = judge(inputs, limits)
        found = {check.name: check for check in made}
        assert found["worst_slice"].outcome == wanted
        assert "x over 3" in found["worst_slice"].title
        assert [part.name for part in slices] == ["x over 3"]
        assert outcome(found) == wanted


def test_a_model_that_pays_with_its_intervals_fails(limits: GateLimits) -> None:
    assert checks(limits, predictions(2 * NOISE, width=5.0), OLD)["interval_score"].outcome == "pass"
    for width in (20.0, 1.0):
        score = checks(limits, predictions(2 * NOISE, width=width), OLD)["interval_score"]
        assert (score.outcome, score.limit) == ("fail", limits.promotion.max_interval_score_ratio)
    widths = [np.mean(np.maximum(np.abs(scale * NOISE) - 5.0, 0)) * 20 + 10 for scale in (2.0, 2.5)]
    found = checks(limits, predictions(2 * NOISE), OLD)["interval_score"]
    assert (found.challenger, found.champion) == (pytest.approx(widths[0]), pytest.approx(widths[1]))


def test_a_limit_that_the_champion_breaks_as_badly_does_not_keep_the_champion(limits: GateLimits) -> None:
    narrow = predictions(2.5 * NOISE, width=1.0)
    found = checks(limits, predictions(2 * NOISE, width=1.0), narrow)
    assert found["coverage"].number < limits.promotion.min_coverage
    assert (found["coverage"].outcome, outcome(found)) == ("pass", "pass")
    assert found["coverage"].note == "over the limit, and no worse than the champion"
    assert checks(limits, predictions(2 * NOISE, width=0.5), narrow)["coverage"].outcome == "fail"
    fragile = checks(limits, predictions(2 * NOISE, gaps=2.0), predictions(2.5 * NOISE, gaps=1.7))
    assert (fragile["missing"].outcome, fragile["missing"].limit) == ("pass", limits.promotion.max_missing_ratio)
    assert (
        checks(limits, predictions(2 * NOISE, gaps=2.0), predictions(2.5 * NOISE, gaps=1.5))["missing"].outcome
        == "fail"
    )
    assert checks(limits, predictions(2 * NOISE, width=1.0), None)["coverage"].outcome == "fail"


@pytest.mark.parametrize(
    ("spread", "gaps", "expected"),
    [
        (0.4, 4.0, "pass"),  # R2 0.998 falls to 0.96
        (0.4, 7.0, "fail"),  # to 0.88
        (2.0, 1.7, "fail"),  # R2 0.94 falls to 0.82
    ],
)
def test_an_exact_model_may_lose_much_by_missing_values_while_it_keeps_nearly_all_of_its_r2(
    limits: GateLimits, spread: float, gaps: float, expected: str
) -> None:
    found = checks(limits, predictions(spread * NOISE, gaps=gaps), None)["missing"]
    assert (found.number, found.limit) == (pytest.approx(gaps), limits.promotion.max_missing_ratio)
    assert found.outcome == expected
    assert found.note == ("over the limit, and 90% of its R2 are kept" if expected == "pass" else "")


def test_too_few_rows_show_nothing(limits: GateLimits) -> None:
    few = slice(0, limits.promotion.min_rows - 1)

    def cut(given: ModelPredictions) -> ModelPredictions:
        return ModelPredictions(given.prediction[few], given.low[few], given.high[few], given.missing[few])

    inputs = GateInputs(TARGET[few], cut(predictions(1.5 * NOISE)), cut(OLD), {}, MEASUREMENTS)
    assert conclude(judge(inputs, limits)[0], first=False) == ("inconclusive", "not shown: rows evaluated")


def test_a_first_model_is_held_to_what_needs_no_champion(limits: GateLimits) -> None:
    found = checks(limits, predictions(2 * NOISE), None)
    assert outcome(found) == "pass"
    assert not {"mae", "rmse", "large_residuals", "worst_segment"} & set(found)
    assert outcome(checks(limits, predictions(9 * NOISE), None)) == "fail"


def test_the_bootstrap_has_the_spread_that_theory_gives() -> None:
    values = np.random.default_rng(1).exponential(size=2000)
    mean = Bootstrap({"one": np.ones(2000), "value": values}).estimate(lambda a, b: a / b, "value", "one")
    assert mean.value == pytest.approx(values.mean())
    assert mean.draws.std() == pytest.approx(values.std() / np.sqrt(2000), rel=0.06)
    low, high = mean.between(0.95)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2000), rel=0.08)


def test_equal_evidence_gives_equal_checks(limits: GateLimits) -> None:
    assert checks(limits, predictions(2 * NOISE), OLD) == checks(limits, predictions(2 * NOISE), OLD)
