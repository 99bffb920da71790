"""Approve and reject: only with the token, only from the page itself, only what the gate let pass."""

import shutil
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from sqlalchemy import select
from support.history import SHA, add_verdict
from support.products import SPEC
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import approvals

TOKEN = "a token"
FORM = {"token": TOKEN, "decision": "approved", "sha256": SHA["3"], "person": "Ada", "reason": "it is better"}
PATH = "/models/3/decision"


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path):
    """A product that asks for an approval."""
    folder = tmp_path / "repo"
    shutil.copytree(SPEC.parent, folder)
    file = folder / "policy.yaml"
    text = file.read_text()
    assert "mode: auto" in text
    file.write_text(text.replace("mode: auto", "mode: manual"))
    return Settings(home=tmp_path, product=folder / "product.yaml", console_token=TOKEN)


@pytest.fixture
def console(settings):
    with Service(create(settings)) as running:
        yield running


def send(console, form, headers=(), path=PATH):
    kind = [("Content-Type", "application/x-www-form-urlencoded")]
    return console.post(path, urlencode(form).encode(), [*kind, *headers])


def kept(engine):
    with engine.connect() as connection:
        rows = connection.execute(select(approvals)).mappings()
        return [(row["version"], row["sha256"], row["decision"], row["person"], row["reason"]) for row in rows]


def test_a_decision_is_kept_and_no_longer_waits(console, engine, product):
    add_verdict(engine, product, datetime.now(UTC))
    assert "1 model waits for approval" in console.get("/").body.decode()
    answer = send(console, FORM, [("Sec-Fetch-Site", "same-origin")])
    assert (answer.status, answer.headers["location"]) == (303, "/models/3#verdict")
    assert kept(engine) == [("3", SHA["3"], "approved", "Ada", "it is better")]
    assert "1 model waits for approval" not in console.get("/").body.decode()


def test_a_second_click_changes_nothing_and_a_changed_mind_does(console, engine, product):
    add_verdict(engine, product, datetime.now(UTC))
    for decision in ("approved", "approved", "rejected"):
        assert send(console, FORM | {"decision": decision}).status == 303
    assert [row[2] for row in kept(engine)] == ["approved", "rejected"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": "another"}, 401),
        ({"token": ""}, 401),
        ({"token": "é"}, 401),
        ({"decision": "maybe"}, 400),
        ({"person": ""}, 400),
        ({"person": "x" * 65}, 400),
        ({"reason": "two\nlines"}, 400),
        ({"sha256": SHA["2"]}, 422),
    ],
)
def test_a_bad_form_decides_nothing(console, engine, product, change, status):
    add_verdict(engine, product, datetime.now(UTC))
    assert send(console, FORM | change).status == status
    assert kept(engine) == []


def test_another_sites_form_decides_nothing(console, engine, product):
    add_verdict(engine, product, datetime.now(UTC))
    for site in ("cross-site", "same-site"):
        assert send(console, FORM, [("Sec-Fetch-Site", site)]).status == 401
    assert console.post(PATH, FORM).status == 415
    assert kept(engine) == []


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_what_the_gate_did_not_let_pass_cannot_be_approved(console, engine, product, outcome):
    add_verdict(engine, product, datetime.now(UTC), outcome=outcome)
    answer = send(console, FORM)
    assert answer.status == 409
    assert f"has the verdict {outcome}; only pass can be approved" in answer.body.decode()
    assert kept(engine) == []


def test_without_a_token_nobody_can_decide(tmp_path, engine, product):
    add_verdict(engine, product, datetime.now(UTC))
    with Service(create(Settings(home=tmp_path))) as console:
        assert send(console, FORM | {"token": ""}).status == 404
    assert kept(engine) == []


def test_where_promotion_is_automatic_nothing_waits(tmp_path, engine, product):
    assert product.policy.promotion.mode == "auto"
    add_verdict(engine, product, datetime.now(UTC))
    with Service(create(Settings(home=tmp_path))) as console:
        assert "No model waits for approval" in console.get("/").body.decode()
