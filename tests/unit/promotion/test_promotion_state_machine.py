"""The state machine on a place in memory: killed at every step, refused at every step, and what the ledger says."""

import msgspec
import pytest
from support.packages import build_package
from support.settings import Settings
from unit.promotion.memory_target import Killed, MemoryTarget

from beacon_core.data import ledger
from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_promotion.analysis import phases
from beacon_promotion.analysis.judge import PhaseResult
from beacon_promotion.analysis.measurements import GoldenResults, Labels, Measures, Side
from beacon_promotion.controller import state_machine
from beacon_promotion.controller.aliases import Aliases
from beacon_promotion.controller.candidates import Candidate
from beacon_promotion.controller.state_machine import Promoter
from beacon_promotion.ledger.writer import LedgerWriter
from beacon_promotion.targets.base.target import ReleaseFailedError

PRODUCT = load_product(Settings().product)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Version 1 serves, version 2 is a candidate; its phases measure what a good model shows."""
    pins = [build_package(tmp_path / "models", PRODUCT, version) for version in ("1", "2", "3")]
    packages = {pin: read_package(package_folder(tmp_path / "models", pin), pin.sha256) for pin in pins}

    def fine(order):
        with order.target.dark([order.new]):
            sides = [Side(pin=pin, requests=800) for pin in (order.new, order.old) if pin is not None]
        return Measures(new=sides[0], old=sides[1] if len(sides) > 1 else None, golden=GoldenResults(8, 0))

    def shadow(order):
        if order.old is not None:
            order.target.shadow(order.new)
            order.target.shadow(None)

    monkeypatch.setattr(state_machine, "PHASES", (("dark", fine), ("shadow", shadow)))
    return MemoryTarget(packages, pins[0])


@pytest.fixture
def promoter(place, engine):
    return Promoter(place, LedgerWriter(engine, place.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)


def pins_of(place):
    return list(place.packages)


def candidate(place, version="2"):
    pin = next(pin for pin in place.packages if pin.version == version)
    return Candidate(pin, 1, "clearly better", None)


def rows(engine, **wanted):
    with engine.connect() as connection:
        found = ledger.history(connection, PRODUCT.name, 1000)
    return [row for row in found if all(getattr(row, name) == value for name, value in wanted.items())]


def serves(place):
    assert place.released is not None
    assert place.released.shadow is None
    return place.released.model.version


def outbox(place):
    return msgspec.json.decode(place.state["aliases"], type=Aliases)


def test_a_good_candidate_serves_and_the_ledger_tells_every_step(promoter, place, engine):
    promoter.recover()
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, serves(place)) == ("promoted", "2")
    steps = [(row.step, row.outcome, [pin.version for pin in row.serving]) for row in reversed(rows(engine))]
    assert steps == [
        ("adopt", "pass", ["1"]),
        ("begin", "begun", ["1"]),
        ("check", "pass", ["1"]),
        ("dark", "pass", ["1"]),
        ("release", "begun", ["1", "2"]),
        ("release", "pass", ["2"]),
        ("verify", "pass", ["2"]),
        ("end", "promoted", ["2"]),
    ]
    assert outbox(place) == Aliases(PRODUCT.name, "2", "1")
    assert [pin.version for pin in promoter.good()] == ["1", "2"]
    assert "intent" not in place.state


@pytest.mark.parametrize("call", ["package", "check", "dark", "shadow", "release"])
def test_whatever_does_not_work_the_old_model_serves_alone(promoter, place, engine, call):
    promoter.recover()
    place.fails = {call: "not_ready"}
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, ended.reason) == ("refused", "not_ready")
    place.fails = {}
    promoter.recover()
    assert serves(place) == "1"
    assert "intent" not in place.state
    (end,) = rows(engine, step="end")
    assert [pin.version for pin in end.serving] == ["1"]


def test_a_model_that_is_wrong_once_it_serves_is_rolled_back(promoter, place, engine, monkeypatch):
    monkeypatch.setattr(
        phases,
        "verify",
        lambda order: Measures(new=Side(pin=order.new, requests=8), golden=GoldenResults(8, 3, "wrong")),
    )
    promoter.recover()
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, ended.reason, serves(place)) == ("rolled_back", "golden_mismatch", "1")
    assert [pin.version for pin in promoter.good()] == ["1"]
    assert outbox(place).champion == "1"
    assert [row.outcome for row in rows(engine, step="end")] == ["rolled_back"]


def kill_at(promoter, place, step):
    """A promotion that ends at its n-th call; False when it was over before."""
    place.calls.clear()
    place.kill_at = step
    try:
        promoter.promote(candidate(place), "the gate")
    except Killed:
        return True
    finally:
        place.kill_at = -1
    return False


def test_killed_at_any_step_the_next_run_finds_or_makes_a_consistent_state(place, engine):
    """Serving, notes, aliases and ledger agree after the next run, and it can promote again."""
    outcomes = set()
    for step in range(200):
        fresh = MemoryTarget(place.packages, pins_of(place)[0])
        promoter = Promoter(fresh, LedgerWriter(engine, fresh.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)
        promoter.recover()
        if not kill_at(promoter, fresh, step):
            break
        intent = msgspec.json.decode(fresh.state["intent"]) if "intent" in fresh.state else {}
        promoter.recover()
        version = serves(fresh)
        # What was verified is kept, what was not is rolled back.
        assert version == {"trying": "1", "keeping": "2"}.get(intent.get("stage"), version), step
        outcomes.add(version)
        assert "intent" not in fresh.state, step
        assert promoter.good()[-1].version == version, step
        assert outbox(fresh).champion == version, step
        assert "ledger" not in fresh.state, step
        with engine.connect() as connection:
            newest = ledger.history(connection, PRODUCT.name, 1)[0]
        assert [pin.version for pin in newest.serving] == [version], step
        assert promoter.promote(candidate(fresh, "3"), "the gate").outcome == "promoted"
        assert serves(fresh) == "3"
    else:
        pytest.fail("it never came to its end")
    assert step > 25
    assert outcomes == {"1", "2"}


def test_a_recovery_that_is_killed_is_recovered_from(place, engine):
    for step in range(200):
        fresh = MemoryTarget(place.packages, pins_of(place)[0])
        promoter = Promoter(fresh, LedgerWriter(engine, fresh.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)
        promoter.recover()
        _killed_after_release(promoter, fresh)
        fresh.calls.clear()
        fresh.kill_at = step
        try:
            promoter.recover()
            done = True
        except Killed:
            done = False
        fresh.kill_at = -1
        promoter.recover()
        assert serves(fresh) == "1"
        assert "intent" not in fresh.state
        if done:
            assert step > 3
            return
    pytest.fail("the recovery never came to its end")


def _killed_after_release(promoter, place):
    original, place.release = place.release, None

    def release(pin):
        original(pin)
        raise Killed("just after the release")

    place.release = release
    with pytest.raises(Killed):
        promoter.promote(candidate(place), "the gate")
    place.release = original


def test_a_rollback_restores_the_last_good_model_and_is_told(promoter, place, engine):
    promoter.recover()
    promoter.promote(candidate(place), "the gate")
    promoter.promote(candidate(place, "3"), "the gate")
    ended = promoter.roll_back("ada", "by_hand", "prices look odd")
    assert (ended.outcome, serves(place)) == ("rolled_back", "2")
    assert outbox(place) == Aliases(PRODUCT.name, "2", "1")
    # Once more goes further back, and never to the model that was rolled back.
    assert promoter.roll_back("ada", "by_hand", "still odd").outcome == "rolled_back"
    assert (serves(place), outbox(place)) == ("1", Aliases(PRODUCT.name, "1", None))
    with pytest.raises(ReleaseFailedError, match="no earlier good model"):
        promoter.roll_back("ada", "by_hand", "and again")
    assert serves(place) == "1"


def test_ten_promotions_can_be_gone_back_from_one_by_one(tmp_path, place, engine):
    pins = [build_package(tmp_path / "more", PRODUCT, str(version)) for version in range(10, 20)]
    place.packages |= {pin: read_package(package_folder(tmp_path / "more", pin), pin.sha256) for pin in pins}
    promoter = Promoter(place, LedgerWriter(engine, place.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)
    promoter.recover()
    for pin in pins:
        assert promoter.promote(candidate(place, pin.version), "the gate").outcome == "promoted"
    found = []
    for _ in pins:
        promoter.roll_back("ada", "by_hand", "prices look odd")
        found.append(serves(place))
    assert found == [*(pin.version for pin in reversed(pins[:-1])), "1"]


def test_a_rollback_that_was_killed_is_brought_to_its_end(place, engine):
    for step in range(100):
        fresh = MemoryTarget(place.packages, pins_of(place)[0])
        promoter = Promoter(fresh, LedgerWriter(engine, fresh.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)
        promoter.recover()
        promoter.promote(candidate(fresh), "the gate")
        fresh.calls.clear()
        fresh.kill_at = step
        try:
            promoter.roll_back("ada", "by_hand", "prices look odd")
            killed = False
        except Killed:
            killed = True
        fresh.kill_at = -1
        begun = "intent" in fresh.state
        promoter.recover()
        assert serves(fresh) == ("1" if begun or not killed or "restored" in fresh.calls else "2"), step
        assert promoter.good()[-1].version == serves(fresh), step
        if not killed:
            return
    pytest.fail("the rollback never came to its end")


def test_a_release_by_somebody_else_is_noted(promoter, place, engine):
    promoter.recover()
    place.released = msgspec.structs.replace(place.released, model=pins_of(place)[2])
    promoter.recover()
    newest = rows(engine)[0]
    assert (newest.step, newest.actor, newest.before.version, newest.after.version) == (
        "adopt",
        "somebody else",
        "1",
        "3",
    )
    assert promoter.good()[-1].version == "3"


def test_a_first_model_has_nothing_to_go_back_to(place, engine):
    fresh = MemoryTarget(place.packages, None)
    promoter = Promoter(fresh, LedgerWriter(engine, fresh.state, PRODUCT.name, "memory", lambda _: None), PRODUCT)
    promoter.recover()
    assert promoter.promote(candidate(fresh), "the gate").outcome == "promoted"
    assert serves(fresh) == "2"
    assert outbox(fresh) == Aliases(PRODUCT.name, "2", None)


def test_somebody_who_wants_the_end_gets_it_before_the_release(promoter, place, engine, monkeypatch):
    promoter.recover()

    def wait(order):
        place.state["stop"] = b"ada"
        return Measures(new=Side(pin=order.new, requests=800))

    monkeypatch.setattr(state_machine, "PHASES", (("dark", wait),))
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, ended.reason, serves(place)) == ("kept", "by_hand", "1")
    assert "release" not in place.calls


def test_the_ledgers_rows_wait_for_the_store(promoter, place, engine, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def down(*_):
        raise OperationalError("INSERT", {}, Exception("the store is down"))

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", down)
        promoter.recover()
        assert promoter.promote(candidate(place), "the gate").outcome == "promoted"
        assert promoter.roll_back("ada", "by_hand", "prices look odd").outcome == "rolled_back"
    assert rows(engine) == []
    promoter.recover()
    found = rows(engine)
    assert [row.outcome for row in found if row.step == "end"] == ["rolled_back", "promoted"]
    assert found == sorted(found, key=lambda row: row.moment, reverse=True)


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_only_what_is_proven_in_the_dark_goes_on(promoter, place, engine, monkeypatch, outcome):
    reason = "output_shift" if outcome == "fail" else "too_few_samples"
    monkeypatch.setattr(state_machine, "judge", lambda *_: PhaseResult(outcome, reason, "so it is", ()))
    promoter.recover()
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, ended.reason) == ("refused" if outcome == "fail" else "kept", reason)
    assert serves(place) == "1"


@pytest.mark.parametrize(("labels", "outcome"), [(Labels(200, 2.0, 6.0), "promoted"), (None, "refused")])
def test_a_shift_that_the_truth_has_excused_in_the_dark_is_excused_before_users(
    promoter, place, monkeypatch, labels, outcome
):
    """Prices fell, and the new model knows it: so it answers otherwise, in the dark and beside the old one."""

    def measures(order, **known):
        new, old = (Side(pin=pin, requests=800, mean=mean) for pin, mean in ((order.new, 15.0), (order.old, 22.0)))
        return Measures(new=new, old=old, **known)

    phases = (
        ("dark", lambda order: measures(order, labels=Labels(200, 2.0, 6.0))),
        ("shadow", measures),
    )
    monkeypatch.setattr(state_machine, "PHASES", phases if labels else phases[1:])
    promoter.recover()
    ended = promoter.promote(candidate(place), "the gate")
    assert (ended.outcome, ended.reason) == (outcome, None if labels else "output_shift")
    # Of the next candidate nothing is known yet.
    monkeypatch.setattr(state_machine, "PHASES", phases[1:])
    assert promoter.promote(candidate(place, "3"), "the gate").reason == "output_shift"


def test_a_damaged_release_is_restored_from_the_good_models(promoter, place):
    promoter.recover()
    promoter.promote(candidate(place), "the gate")
    place.damaged = True
    promoter.recover()
    assert serves(place) == "2"
    assert not place.damaged


def test_a_damaged_release_without_a_good_model_has_no_way_back(promoter, place):
    place.damaged = True
    with pytest.raises(ReleaseFailedError, match="no good model is known") as refused:
        promoter.recover()
    assert refused.value.reason == "no_way_back"


def _other_unit(place, version):
    """The product after the unit of its target changed, and the package of a model of it."""
    target = msgspec.structs.replace(PRODUCT.target, unit="something else")
    changed = msgspec.structs.replace(PRODUCT, target=target, schema_version=PRODUCT.schema_version + 1)
    pin = next(pin for pin in place.packages if pin.version == version)
    package = place.packages[pin]
    manifest = msgspec.structs.replace(package.manifest, schema=changed.schema)
    place.packages[pin] = msgspec.structs.replace(package, manifest=manifest)
    return changed


def test_a_breaking_change_is_promoted_and_rolled_back_and_the_ledger_says_what_was_not_compared(place, engine):
    changed = _other_unit(place, "2")
    promoter = Promoter(place, LedgerWriter(engine, place.state, PRODUCT.name, "memory", lambda _: None), changed)
    promoter.recover()
    assert promoter.promote(candidate(place), "ada").outcome == "promoted"
    (row,) = [row for row in rows(engine, step="dark") if row.outcome == "begun"]
    assert "their answers and errors are not compared" in row.message
    assert promoter.roll_back("ada", "by_hand", "too early").outcome == "rolled_back"
    assert serves(place) == "1"


def test_a_model_of_an_earlier_schema_is_refused_and_the_one_in_service_stays(place, engine):
    changed = _other_unit(place, "2")
    promoter = Promoter(place, LedgerWriter(engine, place.state, PRODUCT.name, "memory", lambda _: None), changed)
    promoter.recover()
    ended = promoter.promote(candidate(place, "3"), "the gate")
    assert (ended.outcome, ended.reason, serves(place)) == ("refused", "schema_mismatch", "1")


def test_a_wider_range_and_a_new_feature_need_nobody(place, engine):
    wider = msgspec.structs.replace(PRODUCT.features[0], valid=None)
    new = msgspec.structs.replace(PRODUCT.features[1], name="NEW")
    changed = msgspec.structs.replace(PRODUCT, features=(wider, *PRODUCT.features[1:], new))
    promoter = Promoter(place, LedgerWriter(engine, place.state, PRODUCT.name, "memory", lambda _: None), changed)
    promoter.recover()
    assert promoter.promote(candidate(place), "the gate").outcome == "promoted"
    assert [row.outcome for row in rows(engine, step="dark")] == ["pass"]
