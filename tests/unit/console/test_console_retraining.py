"""Requests to retrain by a person: only with the token, only one that is open, and the next retraining takes it."""

from urllib.parse import urlencode

import pytest
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data import retrain_requests
from beacon_core.data.database import migrate, open_store
from beacon_core.platform import clock

FORM = {"token": "a token", "person": "Ada", "reason": "new prices came in"}
KIND = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def console(tmp_path, engine):
    with Service(create(Settings(home=tmp_path, console_token=FORM["token"]))) as running:
        yield running


def send(console, form, *headers):
    return console.post("/retraining", urlencode(form).encode(), [KIND, *headers])


def kept(engine):
    with engine.connect() as connection:
        return [(item.requested_by, item.reason, item.state) for item in retrain_requests.newest(connection, 9)]


def test_a_request_waits_is_shown_and_can_be_taken(console, engine):
    assert "No retraining has been requested yet" in console.get("/jobs").body.decode()
    answer = send(console, FORM, ("Sec-Fetch-Site", "same-origin"))
    assert (answer.status, answer.headers["location"]) == (303, "/jobs#retraining")
    assert kept(engine) == [("Ada", "new prices came in", "waiting")]
    assert "new prices came in" in console.get("/jobs").body.decode()
    with engine.begin() as connection:
        causes = retrain_requests.open_causes(connection)
        retrain_requests.take(connection, causes, clock.now())
        retrain_requests.end(connection, causes, retrain_requests.DONE, "version 4: pass", clock.now())
    assert "version 4: pass" in console.get("/jobs").body.decode()


def test_one_request_is_open_at_a_time(console, engine, product):
    assert send(console, FORM).status == 303
    again = send(console, FORM | {"person": "Bob"})
    assert again.status == 409
    assert f"A retraining is requested already: {product.name}/Ada/" in again.body.decode()
    with engine.begin() as connection:
        causes = retrain_requests.open_causes(connection)
        retrain_requests.take(connection, causes, clock.now())
    assert send(console, FORM).status == 409, "the one at work answers it"
    with engine.begin() as connection:
        retrain_requests.end(connection, causes, retrain_requests.DONE, "version 4: pass", clock.now())
    assert send(console, FORM).status == 303


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": "another"}, 401),
        ({"token": ""}, 401),
        ({"person": ""}, 400),
        ({"person": "x" * 65}, 400),
        ({"reason": ""}, 400),
        ({"reason": "two\nlines"}, 400),
        ({"reason": "x" * 501}, 400),
    ],
)
def test_a_bad_form_requests_nothing(console, engine, change, status):
    assert send(console, FORM | change).status == status
    assert kept(engine) == []


def test_another_sites_form_requests_nothing(console, engine):
    for site in ("cross-site", "same-site"):
        assert send(console, FORM, ("Sec-Fetch-Site", site)).status == 401
    assert console.post("/retraining", FORM).status == 415
    assert kept(engine) == []


def test_without_a_token_nobody_can_request(tmp_path, engine):
    with Service(create(Settings(home=tmp_path))) as console:
        assert "switched off here" in console.get("/jobs").body.decode()
        assert send(console, FORM | {"token": ""}).status == 404
    assert kept(engine) == []
