"""A person who wants the last good model back while another one is on trial: what they get, and what they are told."""

import threading
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select
from support.packages import build_package
from support.settings import Settings
from unit.promotion.memory_target import MemoryTarget

from beacon_core.data import approvals, ledger
from beacon_core.data import tables as store
from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_promotion.analysis.measurements import GoldenResults, Measures, Side
from beacon_promotion.controller import aliases, reconcile, state_machine
from beacon_promotion.controller.candidates import Candidate
from beacon_promotion.controller.reconcile import Reconciler
from beacon_promotion.targets.base.target import ReleaseFailedError

PRODUCT = load_product(Settings().product)


@pytest.fixture
def place(tmp_path, engine, monkeypatch):
    """Version 1 serves; 2 and 3 can be promoted."""
    monkeypatch.setattr(aliases, "reconcile", lambda *_: None)
    monkeypatch.setattr(reconcile, "POLL_SECONDS", 0.01)
    pins = [build_package(tmp_path / "models", PRODUCT, version) for version in ("1", "2", "3")]
    packages = {pin: read_package(package_folder(tmp_path / "models", pin), pin.sha256) for pin in pins}
    judged = {"moment": datetime.now(UTC), "outcome": "pass", "data_fingerprint": "0" * 64, "verdict": {}}
    names = [{"product": pin.name, "version": pin.version, "sha256": pin.sha256} for pin in pins]
    with engine.begin() as connection:
        connection.execute(insert(store.verdicts), [judged | name for name in names])
    return MemoryTarget(packages, pins[0])


@pytest.fixture
def told():
    return []


@pytest.fixture
def job(place, engine, told, tmp_path):
    return Reconciler(Settings(home=tmp_path), PRODUCT, place, engine, told.append)


def pin(place, version) -> Pin:
    return next(pin for pin in place.packages if pin.version == version)


def fine(order):
    return Measures(new=Side(pin=order.new, requests=800), golden=GoldenResults(8, 0))


def promoted(job, place, version):
    with place.lock():
        job.promoter.recover()
        return job.promoter.promote(Candidate(pin(place, version), 1, "clearly better", None), "the gate")


class Trial:
    """A promotion of version 3 in a thread of its own, which stays in one phase until somebody wants the end."""

    def __init__(self, job, place, monkeypatch, phase):
        self.there = threading.Event()
        self.ended = []

        def wait(order):
            self.there.set()
            while not order.stop():
                time.sleep(0.01)
            return fine(order)

        phases = {"dark": fine, "canary": fine} | {phase: wait}
        monkeypatch.setattr(state_machine, "PHASES", tuple(phases.items()))
        self.thread = threading.Thread(target=lambda: self.ended.append(promoted(job, place, "3")))
        self.thread.start()
        assert self.there.wait(60)

    def over(self):
        self.thread.join(60)
        (ended,) = self.ended
        return ended


@pytest.fixture
def second(job, place, monkeypatch):
    """Version 2 serves, after version 1."""
    monkeypatch.setattr(state_machine, "PHASES", (("dark", fine),))
    assert promoted(job, place, "2").outcome == "promoted"


def decisions(engine):
    table = store.approvals.c
    with engine.connect() as connection:
        found = connection.execute(select(table.version, table.decision, table.person, table.reason))
        return {version: tuple(words) for version, *words in found}


def ends(engine):
    with engine.connect() as connection:
        found = ledger.history(connection, PRODUCT.name, 1000)[::-1]
    return [(row.action, row.outcome, row.reason, row.message) for row in found if row.step == "end"]


def test_while_no_user_saw_the_candidate_it_is_the_model_in_service_that_is_gone_back_from(
    job, place, engine, told, monkeypatch, second
):
    trial = Trial(job, place, monkeypatch, "dark")
    ended = job.roll_back("ada", "prices look odd")
    assert (trial.over().outcome, trial.over().reason) == ("kept", "by_hand")
    assert (ended.outcome, ended.message) == ("rolled_back", "version 1 serves again: prices look odd")
    assert place.released.model.version == "1"
    assert "the trial of version 3, which no user saw, was ended" in told
    assert ends(engine)[1:] == [
        ("promote", "kept", "by_hand", "ada requested a rollback meanwhile"),
        ("roll_back", "rolled_back", "by_hand", "prices look odd"),
    ]
    assert decisions(engine) == {"2": ("rejected", "ada", "prices look odd")}


def test_a_candidate_that_answers_users_is_the_one_that_is_gone_back_from(
    job, place, engine, told, monkeypatch, second
):
    place.splits = True
    trial = Trial(job, place, monkeypatch, "canary")
    ended = job.roll_back("ada", "prices look odd")
    assert (trial.over().outcome, trial.over().reason) == ("rolled_back", "by_hand")
    assert ended.message == (
        "version 3 answers nobody any more, version 2 serves; to roll that one back, too, repeat the command"
    )
    assert place.released.model.version == "2"
    assert decisions(engine) == {"3": ("rejected", "ada", "prices look odd")}
    assert job.roll_back("ada", "both are odd").message == "version 1 serves again: both are odd"
    assert place.released.model.version == "1"


def test_a_trial_without_a_way_back_is_ended_and_that_is_told(job, place, told, monkeypatch):
    monkeypatch.setattr(state_machine, "PHASES", ())
    trial = Trial(job, place, monkeypatch, "dark")
    with pytest.raises(ReleaseFailedError, match="no earlier good model"):
        job.roll_back("ada", "prices look odd")
    assert trial.over().outcome == "kept"
    assert "the trial of version 3, which no user saw, was ended" in told
    assert place.released.model.version == "1"


@pytest.mark.parametrize(("call", "left"), [("dark", "1"), ("release", "2")])
def test_the_same_holds_after_a_run_that_was_killed(job, place, monkeypatch, second, call, left):
    """Nobody holds the lock then; what the run had noted says whether users were answered."""

    def killed(*_):
        raise KeyboardInterrupt

    def phase(order):
        return killed() if call == "dark" else fine(order)

    monkeypatch.setattr(state_machine, "PHASES", (("dark", phase),))
    with monkeypatch.context() as patch:
        patch.setattr(place, "release", killed)
        with pytest.raises(KeyboardInterrupt):
            promoted(job, place, "3")
    job.roll_back("ada", "prices look odd")
    assert place.released.model.version == left


def test_a_model_that_is_decided_on_is_gone_back_from(job, place, monkeypatch, second):
    """The trial is over, and only its end is not written yet."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(state_machine, "PHASES", (("dark", fine),))
    with monkeypatch.context() as patch:
        patch.setattr(job.promoter, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            promoted(job, place, "3")
    assert job.roll_back("ada", "prices look odd").outcome == "rolled_back"
    assert place.released.model.version == "2"


def test_a_candidate_that_a_person_rejects_amid_its_trial_goes_no_further(job, place, engine, monkeypatch, second):
    def reject(order):
        with engine.begin() as connection:
            approvals.decide(connection, PRODUCT.name, "3", approvals.REJECTED, "ada", "its report looks odd")
        return fine(order)

    monkeypatch.setattr(state_machine, "PHASES", (("dark", reject), ("shadow", fine)))
    ended = promoted(job, place, "3")
    assert (ended.outcome, ended.reason) == ("kept", "by_hand")
    assert ended.message == "ada rejected it meanwhile: its report looks odd"
    assert place.released.model.version == "2"
