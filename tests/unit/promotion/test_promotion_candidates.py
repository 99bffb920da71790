"""Which model is promoted: the gate's word, people's word, and what came of it before."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import insert
from support.settings import Settings

from beacon_core.data import ledger
from beacon_core.data.approvals import APPROVED, REJECTED, decide
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import approvals, verdicts
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.domain.policy import Approvals
from beacon_core.platform.product_file import load_product
from beacon_promotion.controller.candidates import NoCandidateError, rejected, select_candidate

AUTO = load_product(Settings().product)
BY_HAND = msgspec.structs.replace(AUTO.policy.promotion, mode="manual")
MANUAL = msgspec.structs.replace(AUTO, policy=msgspec.structs.replace(AUTO.policy, promotion=BY_HAND))
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD, NEW = (Pin(AUTO.name, version, version * 64) for version in ("1", "2"))


@pytest.fixture
def connection(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def judged(connection, pin=NEW, outcome="pass", champion="1", minutes=0, checks=()):
    row = {"moment": NOON + timedelta(minutes=minutes), "product": pin.name, "version": pin.version}
    row |= {"sha256": pin.sha256, "champion_version": champion, "outcome": outcome}
    verdict = {"reason": "so it is", "checks": [{"name": name, "outcome": found} for name, found in checks]}
    connection.execute(insert(verdicts).values(row | {"data_fingerprint": "0", "verdict": verdict}))


def decided(connection, decision, pin=NEW, minutes=1):
    row = {"decided_at": NOON + timedelta(minutes=minutes), "product": pin.name, "version": pin.version}
    row |= {"sha256": pin.sha256, "decision": decision, "person": "ada", "reason": "a good reason"}
    connection.execute(insert(approvals).values(row))


def ended(connection, outcome, reason=None, minutes=2, action="promote", before=OLD, after=NEW):
    key = f"{outcome}/{reason}/{minutes}"
    fields = {"key": key, "run": key, "moment": NOON + timedelta(minutes=minutes), "product": AUTO.name}
    fields |= {"target": "laptop", "actor": "the gate", "action": action, "step": "end", "outcome": outcome}
    ledger.append(connection, Entry(**fields, reason=reason, message="as told", before=before, after=after))


def why_not(connection, product=AUTO, serving=OLD, version=""):
    with pytest.raises(NoCandidateError) as caught:
        select_candidate(connection, product, serving, version)
    return str(caught.value)


def test_the_newest_verdict_that_passed_is_promoted(connection):
    assert why_not(connection) == "there is no verdict yet"
    judged(connection)
    found = select_candidate(connection, AUTO, OLD)
    assert (found.pin, found.verdict, found.reason, found.approved_by) == (NEW, 1, "so it is", None)


def test_an_older_verdict_is_overtaken(connection):
    judged(connection)
    judged(connection, Pin(AUTO.name, "3", "3" * 64), outcome="fail", minutes=5)
    assert "version 3 has the verdict fail" in why_not(connection)


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
@pytest.mark.parametrize("version", ["", "2"])
def test_nobody_gets_past_the_gate(connection, outcome, version):
    judged(connection, outcome=outcome)
    decided(connection, APPROVED)
    assert f"has the verdict {outcome}" in why_not(connection, version=version)


def test_what_serves_is_not_promoted_again(connection):
    judged(connection)
    assert "serves already" in why_not(connection, serving=NEW)


def test_a_verdict_against_another_champion_is_stale(connection):
    judged(connection, champion="7")
    assert "was judged against version 7, and version 1 serves" in why_not(connection, version="2")
    judged(connection, champion=None, minutes=1)
    assert select_candidate(connection, AUTO, OLD).pin == NEW


def test_where_a_person_has_the_last_word_it_is_waited_for(connection):
    judged(connection)
    assert "waits for a person (make approve VERSION=2" in why_not(connection, MANUAL)
    assert "waits for a person" in why_not(connection, MANUAL, version="2")
    decided(connection, APPROVED)
    assert select_candidate(connection, MANUAL, OLD).approved_by == "ada"


@pytest.mark.parametrize("version", ["", "2"])
def test_a_rejection_holds_whatever_the_mode(connection, version):
    judged(connection)
    decided(connection, REJECTED)
    assert "was rejected by ada: a good reason" in why_not(connection, version=version)
    assert rejected(connection, NEW) == ("ada", "a good reason")
    decided(connection, APPROVED, minutes=2)
    assert select_candidate(connection, AUTO, OLD, version).pin == NEW
    assert rejected(connection, NEW) is None


@pytest.mark.parametrize(
    ("outcome", "reason"), [("refused", "output_shift"), ("rolled_back", "golden_mismatch"), ("kept", "by_hand")]
)
def test_what_failed_is_not_tried_again_by_itself(connection, outcome, reason):
    judged(connection)
    ended(connection, outcome, reason)
    assert f"was tried before, and {outcome}: as told" in why_not(connection)
    assert select_candidate(connection, AUTO, OLD, "2").pin == NEW  # a person may
    judged(connection, minutes=5)
    assert select_candidate(connection, AUTO, OLD).verdict == 2  # so may a newer verdict


def test_an_approval_after_a_failure_tries_again(connection):
    judged(connection)
    ended(connection, "refused", "latency")
    decided(connection, APPROVED, minutes=5)
    assert select_candidate(connection, AUTO, OLD).approved_by == "ada"


@pytest.mark.parametrize("action", ["watch", "roll_back"])
def test_what_was_rolled_back_later_is_not_tried_again(connection, action):
    judged(connection)
    ended(connection, "promoted")
    ended(connection, "rolled_back", "realised_error", 10, action, before=NEW, after=OLD)
    assert "was tried before, and rolled_back" in why_not(connection)


def test_the_model_that_is_gone_back_to_is_not_blamed(connection):
    judged(connection, OLD, champion="2")
    ended(connection, "rolled_back", "realised_error", 10, "watch", before=NEW, after=OLD)
    assert select_candidate(connection, AUTO, NEW).pin == OLD


@pytest.mark.parametrize("reason", ["interrupted", "target_down", "package_missing", "not_signed"])
def test_what_says_nothing_of_the_model_is_tried_again(connection, reason):
    judged(connection)
    for minutes in range(2, 9):
        ended(connection, "kept", reason, minutes)
    assert select_candidate(connection, AUTO, OLD).pin == NEW


def test_an_inconclusive_try_is_repeated_so_many_times(connection):
    judged(connection)
    for number in range(AUTO.policy.rollout.tries):
        assert select_candidate(connection, AUTO, OLD).pin == NEW
        ended(connection, "kept", "too_few_samples", number + 2)
    assert f"was inconclusive {AUTO.policy.rollout.tries} times" in why_not(connection)


BREAKING = (("schema", "inconclusive"), ("rows", "inconclusive"))


@pytest.mark.parametrize("product", [AUTO, MANUAL])
def test_a_breaking_change_of_the_schema_waits_for_a_person_in_every_mode(connection, product):
    judged(connection, outcome="inconclusive", checks=BREAKING)
    why = why_not(connection, product)
    assert (
        why
        == "version 2 has a breaking change of the schema and waits for a person (make approve VERSION=2 REASON=...)"
    )
    assert decide(connection, AUTO.name, "2", APPROVED, "ada", "the unit is EUR from now on")
    assert select_candidate(connection, product, OLD).approved_by == "ada"


def test_only_a_breaking_change_without_a_failed_check_can_be_approved(connection):
    for number, checks in enumerate([(("rows", "inconclusive"),), (*BREAKING, ("parity", "fail"))]):
        judged(connection, outcome="inconclusive", checks=checks, minutes=number)
        with pytest.raises(BeaconError, match="has the verdict inconclusive; only pass can be approved"):
            decide(connection, AUTO.name, "2", APPROVED, "ada", "a good reason")


def test_a_model_that_two_people_have_to_approve_waits_for_the_second(connection):
    policy = msgspec.structs.replace(MANUAL.policy, approvals=Approvals(people=2))
    product = msgspec.structs.replace(MANUAL, policy=policy)
    judged(connection)
    assert decide(connection, product.name, "2", APPROVED, "ada", "good", people=2)
    assert "passed and waits for a second person than ada" in why_not(connection, product)
    assert decide(connection, product.name, "2", APPROVED, "bob", "good", people=2)
    assert select_candidate(connection, product, OLD).approved_by == "ada and bob"
