"""The gate: pure figures in, checks out; chance is told from change."""

import msgspec
import numpy as np
import pytest

from beacon_core.domain.product import Product
from beacon_core.domain.verdict import GateCheck
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.evaluation.gate import Answers, Evidence, Facts, Resampled, Rules, conclude, judge

ROWS = 800
GENERATOR = np.random.default_rng(0)
TARGET = 22 + 8 * GENERATOR.normal(size=ROWS)
NOISE = GENERATOR.normal(size=ROWS)
FACTS = Facts(latency_seconds=0.0001, parity=1e-6, steps={"RM": 2.0, "LSTAT": -3.0})


@pytest.fixture
def rules(product: Product) -> Rules:
    return Rules(product.policy.promotion, product.policy.quality.large_residual, 1e-4)


def answers(error: Matrix, width: float = 5.0, gaps: float = 1.1) -> Answers:
    prediction = TARGET - error
    return Answers(prediction, prediction - width, prediction + width, TARGET - gaps * error)


def checks(
    rules: Rules, new: Answers, old: Answers | None, facts: Facts = FACTS, **segments: Matrix
) -> dict[str, GateCheck]:
    found, _ = judge(Evidence(TARGET, new, old, segments, facts, 0.0001), rules)
    return {check.name: check for check in found}


def outcome(found: dict[str, GateCheck]) -> str:
    return conclude(tuple(found.values()), first=False)[0]


OLD = answers(2.5 * NOISE)


def test_a_better_model_passes_and_every_figure_stands_beside_its_limit(rules: Rules) -> None:
    found = checks(rules, answers(2.0 * NOISE), OLD)
    assert outcome(found) == "pass"
    assert found["mae"].number == pytest.approx(0.8)
    assert (found["mae"].limit, found["mae"].rule) == (rules.promotion.max_mae_ratio, "below")
    assert found["mae"].challenger == pytest.approx(2 * np.abs(NOISE).mean())
    assert found["mae"].champion == pytest.approx(2.5 * np.abs(NOISE).mean())
    assert found["rmse"].number == pytest.approx(0.8)
    assert found["r2"].number == pytest.approx(1 - np.sum((2 * NOISE) ** 2) / np.sum((TARGET - TARGET.mean()) ** 2))
    assert found["coverage"].number == pytest.approx(np.mean(np.abs(2 * NOISE) <= 5))
    large = [np.mean(np.abs(scale * NOISE) > rules.large_residual) for scale in (2.0, 2.5)]
    assert found["large_residuals"].number == pytest.approx(large[0] - large[1])
    assert found["missing"].number == pytest.approx(1.1)


def test_a_worse_model_fails(rules: Rules) -> None:
    found = checks(rules, answers(3.0 * NOISE), OLD)
    assert found["mae"].outcome == found["rmse"].outcome == "fail"
    assert outcome(found) == "fail"


def test_models_that_differ_by_chance_are_told_apart_from_better_ones(rules: Rules) -> None:
    other = np.random.default_rng(5).normal(size=ROWS)
    found = checks(rules, answers(2.5 * other), OLD)
    assert found["mae"].outcome == "inconclusive"
    assert checks(rules, OLD, OLD)["mae"].outcome == "inconclusive"
    assert checks(rules, OLD, OLD)["mae"].note == "both models answer alike"


@pytest.mark.parametrize(
    ("name", "new", "facts"),
    [
        ("coverage", answers(2 * NOISE, width=1.0), FACTS),
        ("missing", answers(2 * NOISE, gaps=2.0), FACTS),
        ("parity", answers(2 * NOISE), msgspec.structs.replace(FACTS, parity=0.1)),
        ("latency", answers(2 * NOISE), msgspec.structs.replace(FACTS, latency_seconds=0.5)),
        ("direction_RM", answers(2 * NOISE), msgspec.structs.replace(FACTS, steps={"RM": -0.1, "LSTAT": -1.0})),
        ("direction_LSTAT", answers(2 * NOISE), msgspec.structs.replace(FACTS, steps={"RM": 0.1, "LSTAT": 1.0})),
        ("r2", answers(8 * NOISE), FACTS),
        ("large_residuals", answers(3.5 * NOISE), FACTS),
        ("parity", answers(2 * NOISE), msgspec.structs.replace(FACTS, parity=float("nan"))),
    ],
)
def test_each_guard_fails_alone(rules: Rules, name: str, new: Answers, facts: Facts) -> None:
    found = checks(rules, new, OLD, facts)
    assert found[name].outcome == "fail"
    assert outcome(found) == "fail"


def test_a_better_model_that_harms_one_segment_fails_and_a_small_segment_is_not_judged(rules: Rules) -> None:
    river = np.arange(ROWS) < 100
    tiny = np.arange(ROWS) < rules.promotion.min_segment_rows - 1
    new = answers(np.where(river, 4.0, 1.8) * NOISE)
    found = checks(rules, new, OLD, river=river, rest=~river)
    assert found["mae"].outcome == "pass"
    assert found["worst_segment"].outcome == "fail"
    assert "river" in found["worst_segment"].title
    assert found["worst_segment"].number == pytest.approx(1.6)
    assert "worst_segment" not in checks(rules, new, OLD, tiny=tiny)
    assert checks(rules, answers(2 * NOISE), OLD, river=river, rest=~river)["worst_segment"].outcome == "pass"


def test_a_limit_that_the_champion_breaks_as_badly_does_not_keep_the_champion(rules: Rules) -> None:
    narrow = answers(2.5 * NOISE, width=1.0)
    found = checks(rules, answers(2 * NOISE, width=1.0), narrow)
    assert found["coverage"].number < rules.promotion.min_coverage
    assert (found["coverage"].outcome, outcome(found)) == ("pass", "pass")
    assert found["coverage"].note == "over the limit, and no worse than the champion"
    assert checks(rules, answers(2 * NOISE, width=0.5), narrow)["coverage"].outcome == "fail"
    fragile = checks(rules, answers(2 * NOISE, gaps=2.0), answers(2.5 * NOISE, gaps=1.7))
    assert (fragile["missing"].outcome, fragile["missing"].limit) == ("pass", rules.promotion.max_missing_ratio)
    assert checks(rules, answers(2 * NOISE, gaps=2.0), answers(2.5 * NOISE, gaps=1.5))["missing"].outcome == "fail"
    assert checks(rules, answers(2 * NOISE, width=1.0), None)["coverage"].outcome == "fail"


def test_too_few_rows_show_nothing(rules: Rules) -> None:
    few = slice(0, rules.promotion.min_rows - 1)

    def cut(given: Answers) -> Answers:
        return Answers(given.prediction[few], given.low[few], given.high[few], given.missing[few])

    evidence = Evidence(TARGET[few], cut(answers(1.5 * NOISE)), cut(OLD), {}, FACTS)
    assert conclude(judge(evidence, rules)[0], first=False) == ("inconclusive", "not shown: rows evaluated")


def test_a_first_model_is_held_to_what_needs_no_champion(rules: Rules) -> None:
    found = checks(rules, answers(2 * NOISE), None)
    assert outcome(found) == "pass"
    assert not {"mae", "rmse", "large_residuals", "worst_segment"} & set(found)
    assert outcome(checks(rules, answers(9 * NOISE), None)) == "fail"


def test_the_bootstrap_has_the_spread_that_theory_gives() -> None:
    values = np.random.default_rng(1).exponential(size=2000)
    mean = Resampled({"one": np.ones(2000), "value": values}).estimate(lambda a, b: a / b, "value", "one")
    assert mean.value == pytest.approx(values.mean())
    assert mean.draws.std() == pytest.approx(values.std() / np.sqrt(2000), rel=0.06)
    low, high = mean.between(0.95)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2000), rel=0.08)


def test_equal_evidence_gives_equal_checks(rules: Rules) -> None:
    assert checks(rules, answers(2 * NOISE), OLD) == checks(rules, answers(2 * NOISE), OLD)
