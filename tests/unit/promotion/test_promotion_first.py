"""The first model of an installation: released without a trial where none serves, and only there."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from support.packages import build_package
from support.settings import Settings
from unit.promotion.memory_target import MemoryTarget

from beacon_core.data import ledger
from beacon_core.data import tables as store
from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import Release, package_folder
from beacon_core.platform.product_file import load_product
from beacon_promotion.controller import aliases
from beacon_promotion.controller.candidates import NoCandidateError
from beacon_promotion.controller.reconcile import Reconciler

PRODUCT = load_product(Settings().product)


@pytest.fixture
def pins(tmp_path):
    return [build_package(tmp_path / "models", PRODUCT, version) for version in ("1", "2")]


@pytest.fixture
def place(tmp_path, pins, monkeypatch):
    monkeypatch.setattr(aliases, "reconcile", lambda *_: None)
    packages = {pin: read_package(package_folder(tmp_path / "models", pin), pin.sha256) for pin in pins}
    target = MemoryTarget(packages, None)
    target.releases_first = True
    return target


@pytest.fixture
def job(place, engine, tmp_path):
    return Reconciler(Settings(home=tmp_path), PRODUCT, place, engine, lambda _: None)


def judged(engine, pin, outcome="pass"):
    row = {"moment": datetime.now(UTC), "outcome": outcome, "data_fingerprint": "0" * 64, "verdict": {}}
    with engine.begin() as connection:
        connection.execute(
            insert(store.verdicts), [row | {"product": pin.name, "version": pin.version, "sha256": pin.sha256}]
        )


def test_it_waits_for_a_model(job, place):
    with pytest.raises(NoCandidateError, match="there is no model yet"):
        job.release_first()
    assert place.serving() is None


def test_the_first_model_is_released_and_written_down(job, place, engine, pins):
    judged(engine, pins[0], "inconclusive")
    assert job.release_first() == "version 1 serves"
    assert place.serving() == Release(pins[0])
    assert job.promoter.good() == [pins[0]]
    with engine.connect() as connection:
        (entry,) = ledger.history(connection, PRODUCT.name, 10)
    assert (entry.action, entry.serving) == ("adopt", (pins[0],))


def test_what_serves_stays(job, place, engine, pins):
    place.released = Release(pins[1])
    judged(engine, pins[0])
    assert job.release_first() == "version 2 serves"
    assert place.serving() == Release(pins[1])


def test_a_model_that_was_lost_comes_back_from_the_good_ones(job, place, engine, pins):
    """A Deployment that somebody made anew has no annotation any more."""
    judged(engine, pins[0])
    job.release_first()
    place.released = Release(pins[1])
    with place.lock():
        job.promoter.recover()
    place.released = None
    assert job.release_first() == "version 2 serves"


@pytest.mark.parametrize("releases_first", [True, False])
def test_a_scheduled_run_does_the_same_where_the_target_waits_for_it(
    job, place, engine, pins, releases_first, monkeypatch
):
    tried = []
    monkeypatch.setattr(job.promoter, "promote", lambda candidate, _: tried.append(candidate.pin))
    place.releases_first = releases_first
    judged(engine, pins[0])
    if releases_first:
        with pytest.raises(NoCandidateError, match="serves already"):
            job.reconcile()
        assert (place.serving(), tried) == (Release(pins[0]), [])
    else:
        job.reconcile()
        assert (place.serving(), tried) == (None, [pins[0]])
