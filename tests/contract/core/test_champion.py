"""Who serves is read from rows that are only appended, whatever MLflow's alias and tags say."""

from datetime import UTC, datetime

from sqlalchemy import insert

from beacon_core.data import ledger, verdicts
from beacon_core.data.champion import champion
from beacon_core.data.tables import verdicts as table
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin

NAME = "shop"
ONE, TWO, THREE = (Pin(NAME, str(number), str(number) * 64) for number in (1, 2, 3))


def judged(engine, pin, outcome="pass", against=None, product=NAME):
    row = {"product": product, "version": pin.version, "sha256": pin.sha256, "champion_version": against}
    row |= {"moment": datetime.now(UTC), "outcome": outcome, "data_fingerprint": "", "verdict": {}}
    with engine.begin() as connection:
        connection.execute(insert(table).values(row))


def test_before_any_promotion_the_first_model_that_did_not_fail_serves(engine):
    assert champion(engine, NAME) is None
    judged(engine, ONE, product="another")
    judged(engine, ONE, "fail")
    assert champion(engine, NAME) is None
    judged(engine, TWO, "inconclusive")
    assert champion(engine, NAME) == TWO
    judged(engine, THREE, against="2")
    judged(engine, THREE)  # judged alone, since the champion's package was lost: it waits for promotion
    assert champion(engine, NAME) == TWO
    with engine.connect() as connection:
        assert verdicts.pins(connection, NAME) == [ONE, TWO, THREE]


def test_from_the_first_promotion_on_the_ledger_says_it(engine):
    judged(engine, ONE)
    entry = Entry(
        key="run/1", run="run", moment=datetime.now(UTC), product=NAME, target="laptop", actor="the gate",
        action="promote", step="release", outcome="pass", before=ONE, after=TWO, serving=(TWO,),
    )  # fmt: skip
    with engine.begin() as connection:
        ledger.append(connection, entry)
    assert champion(engine, NAME) == TWO
