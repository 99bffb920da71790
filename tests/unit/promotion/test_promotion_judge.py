"""The judgement: every kind of bad model as measures, named rightly; and what must not be held against a good one."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.settings import Settings

from beacon_core.domain.pins import Pin
from beacon_core.platform.product_file import load_product
from beacon_promotion.analysis.judge import judge
from beacon_promotion.analysis.measurements import GoldenResults, Labels, Measures, Side

PRODUCT = load_product(Settings().product)
LIMITS = PRODUCT.policy.rollout
SLO = PRODUCT.policy.serving.latency_slo_seconds
OLD, NEW = Pin("boston-housing", "1", "1" * 64), Pin("boston-housing", "2", "2" * 64)
OLD_SIDE = Side(
    pin=OLD, requests=800, p99=(0.004,) * 4, mean=22.0, spread=8.0, out_of_range=0.01, memory=120e6
)  # fmt: skip
NEW_SIDE = msgspec.structs.replace(OLD_SIDE, pin=NEW)
GOOD = Measures(
    new=NEW_SIDE, old=OLD_SIDE, golden=GoldenResults(20, 0), pairs=800, agreement=0.97, labels=Labels(200, 2.4, 2.5)
)  # fmt: skip


def seen(**changes):
    """The good model's measures, with the new side or the phase changed."""
    side = {name: changes.pop(name) for name in list(changes) if name in Side.__struct_fields__}
    return msgspec.structs.replace(GOOD, new=msgspec.structs.replace(NEW_SIDE, **side), **changes)


def outcome(measures, limits=LIMITS):
    found = judge(measures, limits, SLO)
    return found.outcome, found.reason


def test_a_good_model_passes():
    found = judge(GOOD, LIMITS, SLO)
    assert (found.outcome, found.reason) == ("pass", None)
    assert {check.outcome for check in found.checks} == {"pass"}
    assert found.sentence == "within every limit: 800 requests, beside version 1"


BAD = {
    "20 % errors": ({"failures": 160}, "error_rate"),
    "NaN for some": ({"failures": 40, "not_finite": 40}, "not_finite"),
    "5 times slower": ({"p99": (0.02,) * 4}, "latency"),
    "slow in three of four windows": ({"p99": (0.02, 0.004, 0.02, 0.02)}, "latency"),
    "constant": ({"spread": 0.0, "mean": 22.0, "agreement": None}, "output_collapse"),
    "nearly constant": ({"spread": 1.5, "agreement": 0.9}, "output_collapse"),
    "offset by 30 %": ({"mean": 22.0 * 1.3, "spread": 8.0 * 1.3, "labels": None}, "output_shift"),
    "offset by -30 %": ({"mean": 22.0 * 0.7, "spread": 8.0 * 0.7, "labels": Labels(200, 2.9, 2.5)}, "output_shift"),
    "offset, and few know the truth": ({"mean": 22.0 * 1.3, "labels": Labels(20, 2.4, 2.5)}, "output_shift"),
    "right on golden requests only": ({"agreement": -0.9}, "output_disagreement"),
    "far out of range": ({"mean": 220.0, "spread": 80.0, "out_of_range": 0.9}, "out_of_range"),
    "memory hungry": ({"memory": 1.2e9}, "memory"),
    "wrong golden answers": ({"golden": GoldenResults(20, 1, "24.1, not 23.1")}, "golden_mismatch"),
    "another version answers": ({"instances": (NEW, OLD)}, "version_skew"),
    "an instance without a model": ({"instances": (NEW, None)}, "version_skew"),
    "worse where the truth is known": ({"labels": Labels(200, 3.5, 2.5)}, "realised_error"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_model_fails_by_its_own_name(kind):
    changes, reason = BAD[kind]
    assert outcome(seen(**changes)) == ("fail", reason)


@pytest.mark.parametrize("kind", BAD)
def test_the_reason_is_the_one_check_that_is_named(kind):
    changes, reason = BAD[kind]
    found = judge(seen(**changes), LIMITS, SLO)
    first = next(check for check in found.checks if check.outcome == "fail")
    assert first.reason == reason
    assert f"{first.limit:.4g}" in found.sentence


FINE = {
    "a few failures are chance": {"failures": 2},
    "as many failures as the limit": {"failures": 4},
    "one busy moment": {"p99": (0.02, 0.004, 0.004, 0.02)},
    "twice as slow, and still a moment": {"p99": (0.0059,) * 4},
    "a little more memory": {"memory": 200e6},
    "a large model beside a small one": {"memory": 300e6},
    "prices have risen a little": {"mean": 26.0},
    "prices have fallen by a third, and it knows": {"mean": 14.7, "labels": Labels(200, 2.4, 6.1)},
    "few labels prove nothing": {"labels": Labels(LIMITS.min_labels - 1, 9.0, 2.5)},
    "all instances serve it": {"instances": (NEW, NEW)},
}


@pytest.mark.parametrize("kind", FINE)
def test_what_is_no_fault_of_the_model_is_not_held_against_it(kind):
    assert outcome(seen(**FINE[kind])) == ("pass", None)


def test_the_old_models_failures_are_not_the_new_ones():
    old = msgspec.structs.replace(OLD_SIDE, failures=160)
    assert outcome(seen(failures=160, old=old)) == ("pass", None)
    assert outcome(seen(failures=200, old=old)) == ("fail", "error_rate")


def test_equal_answers_to_equal_questions_are_no_collapse():
    old = msgspec.structs.replace(OLD_SIDE, spread=0.0)
    assert outcome(seen(spread=0.0, old=old)) == ("pass", None)


@pytest.mark.parametrize("side", ["new", "old"])
def test_too_few_requests_are_inconclusive(side):
    few = {side: msgspec.structs.replace(getattr(GOOD, side), requests=LIMITS.min_requests - 1)}
    assert outcome(msgspec.structs.replace(GOOD, **few)) == ("inconclusive", "too_few_samples")


def test_few_requests_that_all_fail_are_a_failure_all_the_same():
    assert outcome(seen(requests=20, failures=20, mean=None, spread=None, p99=())) == ("fail", "error_rate")
    assert outcome(seen(requests=20, failures=2, mean=None, spread=None, p99=())) == ("inconclusive", "too_few_samples")


FIRST = msgspec.structs.replace(GOOD, old=None, pairs=0, agreement=None, labels=None)


def test_a_first_model_has_nothing_beside_it():
    assert outcome(FIRST) == ("pass", None)
    for change, reason in (
        ({"spread": 0.0}, "output_collapse"),
        ({"failures": 100}, "error_rate"),
        ({"p99": (SLO * 1.1,) * 4}, "latency"),
    ):
        bad = msgspec.structs.replace(FIRST, new=msgspec.structs.replace(NEW_SIDE, **change))
        assert outcome(bad) == ("fail", reason)


def test_nothing_measured_is_inconclusive():
    assert outcome(Measures(new=Side(pin=NEW, requests=0))) == ("inconclusive", "too_few_samples")


counts = st.integers(0, 2000)
figures = st.none() | st.floats(-1e6, 1e6)
sides = st.builds(
    Side,
    pin=st.just(NEW),
    requests=counts,
    failures=counts,
    not_finite=counts,
    p99=st.lists(st.floats(0, 60), max_size=5).map(tuple),
    mean=figures,
    spread=st.none() | st.floats(0, 1e6),
    out_of_range=st.none() | st.floats(0, 1),
    memory=st.none() | st.floats(0, 1e12),
)
phases = st.builds(
    Measures,
    new=sides,
    old=st.none() | sides,
    golden=st.none() | st.builds(GoldenResults, asked=counts, wrong=counts, first=st.just("")),
    pairs=counts,
    agreement=st.none() | st.floats(-1, 1),
    labels=st.none() | st.builds(Labels, rows=counts, new=st.floats(0, 100), old=st.none() | st.floats(0, 100)),
    instances=st.lists(st.sampled_from([NEW, OLD, None]), max_size=3).map(tuple),
)


@given(phases)
def test_whatever_was_measured_there_is_one_clear_outcome(measures):
    found = judge(measures, LIMITS, SLO)
    outcomes = [check.outcome for check in found.checks]
    assert found.outcome == ("fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass")
    assert (found.reason is None) == (found.outcome == "pass")
    assert all(math.isfinite(check.number) and math.isfinite(check.limit) for check in found.checks)
    msgspec.json.encode(found)


@given(phases, st.integers(1, 2000))
def test_more_failures_never_help(measures, more):
    worse = msgspec.structs.replace(measures.new, failures=measures.new.failures + more)
    before, after = outcome(measures)[0], outcome(msgspec.structs.replace(measures, new=worse))[0]
    assert not (before == "fail" and after != "fail")


@given(phases)
def test_fewer_requests_than_needed_never_pass(measures):
    few = msgspec.structs.replace(measures.new, requests=LIMITS.min_requests - 1)
    assert outcome(msgspec.structs.replace(measures, new=few))[0] != "pass"
