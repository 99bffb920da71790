"""A prober's request: answered as any other, and neither in the log nor among the model's figures."""

import msgspec
import pytest
from sqlalchemy import select
from support.logged_inference import create
from support.service import Service

from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions

PREDICT = "/v1/predict"
SYNTHETIC = [("Beacon-Synthetic", "true")]


def figures(service):
    return {
        name: value
        for name, value in service.metrics().items()
        if name.startswith(("model_", "beacon_prediction_log")) and not name.startswith("model_inference_latency")
    }


@pytest.mark.parametrize("path", [PREDICT, "/v1/predict/batch", "/invocations"])
def test_it_is_answered_and_leaves_no_trace_in_log_or_figures(settings, row, path):
    odd = row | {"TAX": 1}
    bodies = {
        PREDICT: {"features": odd},
        "/v1/predict/batch": {"rows": [{"features": odd}] * 2},
        "/invocations": {"dataframe_records": [odd]},
    }
    with Service(create(settings)) as service:
        before = figures(service)
        answer = service.post(path, bodies[path], SYNTHETIC)
        assert answer.status == 200
        assert answer.headers["beacon-logged"] == "false"
        assert figures(service) == before
        counted = service.metrics()[f"http_requests_total{{endpoint={path},method=POST,status=200}}"]
        assert counted == 1
        kept = service.post(PREDICT, {"features": row}).json()["prediction_id"]
    engine = open_store(settings.database)
    with engine.connect() as connection:
        assert connection.execute(select(predictions.c.id)).scalars().all() == [kept]
    engine.dispose()


def test_its_answer_is_that_of_any_other(service, row):
    one = service.post(PREDICT, {"features": row}).json()
    other = service.post(PREDICT, {"features": row}, SYNTHETIC).json()
    assert one | {"prediction_id": ""} == other | {"prediction_id": ""}


def test_no_client_hides_from_the_log_where_a_key_is_set(settings, row):
    body = {"features": row}
    with Service(create(msgspec.structs.replace(settings, api_key="open-sesame"))) as service:
        assert service.post(PREDICT, body, SYNTHETIC).error() == (401, "unauthorized", "X-API-Key")
        assert service.post(PREDICT, body, [*SYNTHETIC, ("X-API-Key", "wrong")]).status == 401
        kept = service.post(PREDICT, body, [*SYNTHETIC, ("X-API-Key", "open-sesame")])
        assert (kept.status, kept.headers["beacon-logged"]) == (200, "false")
        assert service.post(PREDICT, body).headers["beacon-logged"] == "true"


@pytest.mark.parametrize("value", ["false", "1", ""])
def test_a_header_that_says_something_else_is_refused(service, row, value):
    answer = service.post(PREDICT, {"features": row}, [("Beacon-Synthetic", value)])
    assert answer.error() == (400, "invalid_body", "Beacon-Synthetic")
