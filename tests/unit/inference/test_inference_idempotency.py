"""Retries: the same id gives the same answer and one record; other values under it are refused, never mixed up."""

import asyncio

import pytest
from sqlalchemy import func, select
from support.logged_inference import create
from support.packages import build_package
from support.service import Service

from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions
from beacon_core.model_package.release import Release, write_release

PREDICT, BATCH = "/v1/predict", "/v1/predict/batch"


def recorded(settings):
    """Ids in the database, once everything is there (the service has stopped)."""
    engine = open_store(settings.database)
    with engine.connect() as connection:
        found = connection.execute(select(predictions.c.id).order_by(predictions.c.id)).scalars().all()
    engine.dispose()
    return found


@pytest.fixture
def run(settings):
    """Starts the service; again and again on the same home, as after a restart."""
    return lambda: Service(create(settings))


def key(name):
    return [("Idempotency-Key", name)]


@pytest.mark.parametrize("how", ["header", "quoted header", "prediction_id"])
def test_a_retry_gets_the_same_answer_and_one_record(run, settings, row, how):
    body = {"features": row} | ({"prediction_id": "k-1"} if how == "prediction_id" else {})
    headers = {"header": key("k-1"), "quoted header": key('"k-1"'), "prediction_id": []}[how]
    with run() as service:
        first = service.post(PREDICT, body, headers)
        second = service.post(PREDICT, body, headers)
        assert first.status == second.status == 200
        assert first.body == second.body
        assert first.json()["prediction_id"] == "k-1"
        assert service.metrics()["model_predictions_total{model_version=1}"] == 1
    assert recorded(settings) == ["k-1"]


@pytest.mark.parametrize("restarts", [0, 1], ids=["spool", "database"])
def test_other_values_under_a_used_id_are_refused(run, row, restarts):
    other = row | {"RM": 7}
    with run() as service:
        assert service.post(PREDICT, {"features": row}, key("k")).status == 200
        if restarts == 0:
            assert service.post(PREDICT, {"features": other}, key("k")).error()[:2] == (422, "idempotency_conflict")
    with run() as service:
        assert service.post(PREDICT, {"features": other}, key("k")).error()[:2] == (422, "idempotency_conflict")
        fewer = {"features": {name: value for name, value in row.items() if name != "RM"}}
        assert service.post(PREDICT, fewer, key("k")).error()[:2] == (422, "idempotency_conflict")


def test_a_retry_after_a_restart_gets_the_same_answer(run, settings, row):
    with run() as service:
        first = service.post(PREDICT, {"features": row | {"RM": None, "TAX": 1}}, key("k"))
    with run() as service:
        second = service.post(PREDICT, {"features": row | {"RM": None, "TAX": 1}}, key("k"))
    assert first.body == second.body
    assert recorded(settings) == ["k"]


def test_a_retry_after_a_swap_gets_the_first_models_answer(run, settings, product, row):
    with run() as service:
        first = service.post(PREDICT, {"features": row}, key("k"))
    pin = build_package(settings.models_dir, product, version="2", bias=30.0)
    write_release(settings.release_file, Release(pin))
    with run() as service:
        assert service.get("/readyz").json()["model"]["version"] == "2"
        assert service.post(PREDICT, {"features": row}, key("k")).body == first.body
        assert service.post(PREDICT, {"features": row}).json()["model"]["version"] == "2"


@pytest.mark.parametrize("name", ["", '""', "a b", "a\tb", "-a", "a" * 65])
@pytest.mark.parametrize("more", [{}, {"prediction_id": "k-1"}], ids=["alone", "beside an id"])
def test_a_key_that_is_no_plain_word_is_refused(service, row, name, more):
    answer = service.post(PREDICT, {"features": row} | more, key(name))
    assert answer.error() == (422, "invalid_id", "Idempotency-Key")


def test_a_key_that_a_refused_request_used_is_still_free(service, row):
    assert service.post(PREDICT, {"features": row | {"RM": 99}}, key("k")).status == 422
    assert service.post(PREDICT, {"features": row}, key("k")).status == 200


def test_of_two_at_once_one_is_409(service, row):
    async def both():
        return await asyncio.gather(*[service.ask("POST", PREDICT, {"features": row}, key("k")) for _ in range(5)])

    answers = service.run(both())
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    waits = [answer.error() for answer in answers if answer.status == 409]
    assert waits[0][:2] == (409, "request_in_progress")
    assert service.post(PREDICT, {"features": row}, key("k")).status == 200, "afterwards the key is free again"


def test_other_keys_do_not_wait(service, row):
    async def all_of_them():
        asks = [service.ask("POST", PREDICT, {"features": row}, key(f"k-{number}")) for number in range(5)]
        return await asyncio.gather(*asks)

    assert {answer.status for answer in service.run(all_of_them())} == {200}


def batch(*rows, ids=None):
    ids = ids or [None] * len(rows)
    return {
        "rows": [{"features": each} | ({"prediction_id": i} if i else {}) for each, i in zip(rows, ids, strict=True)]
    }


def test_a_batch_under_one_key_is_retried_as_a_whole(run, settings, row):
    body = batch(row, row | {"RM": 7}, row | {"RM": 8})
    with run() as service:
        first = service.post(BATCH, body, key("b"))
        assert service.post(BATCH, body, key("b")).body == first.body
    with run() as service:
        assert service.post(BATCH, body, key("b")).body == first.body
    assert len(recorded(settings)) == 3


@pytest.mark.parametrize("restarts", [0, 1], ids=["spool", "database"])
def test_another_number_of_rows_under_a_used_key_is_refused(run, settings, row, restarts):
    two = batch(row, row | {"RM": 7})
    longer, shorter, one = batch(row, row | {"RM": 7}, row), batch(row), {"features": row}
    for _ in range(restarts):
        with run() as service:
            assert service.post(BATCH, two, key("b")).status == 200
    with run() as service:
        assert service.post(BATCH, two, key("b")).status == 200
        for path, body in ((BATCH, longer), (BATCH, shorter), (PREDICT, one)):
            assert service.post(path, body, key("b")).error()[:2] == (422, "idempotency_conflict")
    assert len(recorded(settings)) == 2


def test_one_used_id_among_new_ones_is_seen(run, settings, row):
    with run() as service:
        used = service.post(PREDICT, {"features": row, "prediction_id": "old"})
        other = batch(row | {"RM": 3}, row | {"RM": 7}, ids=["new", "old"])
        refused = service.post(BATCH, other)
        assert refused.error() == (422, "idempotency_conflict", "rows[1].prediction_id")
        without_id = batch(row | {"RM": 3}, row | {"RM": 7}, ids=[None, "old"])
        assert service.post(BATCH, without_id).error()[:2] == (422, "idempotency_conflict")
        same = service.post(BATCH, batch(row | {"RM": 3}, row, row, ids=["new", "old", None])).json()["predictions"]
        assert same[1] == used.json()
        assert same[0]["prediction_id"] == "new"
    assert len(recorded(settings)) == 3


def test_a_thousand_keys_three_times_each_leave_one_record_per_key(run, settings, row):
    names = [f"key-{number}" for number in range(1000)]
    answers = {}
    with run() as service:
        for _ in range(3):
            for name in names:
                answer = service.post(PREDICT, {"features": row}, key(name))
                assert answers.setdefault(name, answer.body) == answer.body
    assert recorded(settings) == sorted(names)
    engine = open_store(settings.database)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(predictions)).scalar() == 1000
    engine.dispose()
