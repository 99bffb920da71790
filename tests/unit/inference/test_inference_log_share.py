"""A share of the predictions is logged: the same ones everywhere, whole entities, and what is left out is told."""

import asyncio
import shutil

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from support.logged_inference import create
from support.products import SPEC
from support.service import Service

from beacon_core.domain.log_share import is_logged
from beacon_core.spool.record import Record, decode_records
from beacon_core.spool.segments import read
from beacon_inference.prediction_log.log import PredictionLog

NAMES = [f"order-{number}" for number in range(4000)]


def test_the_share_is_the_share_and_grows_with_it() -> None:
    taken = {share: {name for name in NAMES if is_logged(share, name, None)} for share in (0.1, 0.5, 1.0)}
    assert len(taken[0.1]) == pytest.approx(400, abs=80)
    assert len(taken[0.5]) == pytest.approx(2000, abs=150)
    assert taken[0.1] < taken[0.5] < taken[1.0] == set(NAMES)


def test_of_an_entity_all_predictions_are_logged_or_none() -> None:
    for entity in ("car-1", "car-2", "car-3"):
        assert len({is_logged(0.5, name, entity) for name in NAMES}) == 1


def test_what_is_left_out_is_told_and_counted(tmp_path) -> None:
    registry = CollectorRegistry()
    log = PredictionLog(tmp_path, 1 << 20, registry)
    logged, left = (next(name for name in NAMES if is_logged(0.5, name, None) is wanted) for wanted in (True, False))

    def record(*ids: str) -> Record:
        count = len(ids)
        return Record(
            ids=list(ids), time=1.0, names=("x",), features=[[1.0]] * count, prediction=[1.0] * count,
            low=[0.0] * count, high=[2.0] * count, version="1", sha256="a" * 64, latency=0.1, request_id="r",
            trace_id="",
        )  # fmt: skip

    assert asyncio.run(log.append(record(logged), 0.5)) == "true"
    assert asyncio.run(log.append(record(left), 0.5)) == "sampled"
    assert asyncio.run(log.append(record(logged, left), 0.5)) == "sampled"
    assert asyncio.run(log.append(record(left), 1.0)) == "true"
    log.close()
    found = decode_records(read(tmp_path, 1, 0, 1 << 20))
    assert [one.ids for one in found] == [[logged], [logged], [left]]
    assert registry.get_sample_value("beacon_prediction_log_left_out_total") == 2


def test_reads_and_actuals_of_what_may_be_left_out_name_the_share(settings, row, tmp_path) -> None:
    folder = tmp_path / "product"
    shutil.copytree(SPEC.parent, folder)
    with (folder / "policy.yaml").open("a", encoding="utf-8") as policy:
        policy.write("\nlogging: {share: 0.001}\n")
    with Service(create(msgspec.structs.replace(settings, product=folder / SPEC.name))) as service:
        answer = service.post("/v1/predict", {"features": row, "prediction_id": "k"})
        assert (answer.status, answer.headers["beacon-logged"]) == (200, "sampled")
        told = service.post("/v1/actuals", {"prediction_id": "k", "value": 20})
        for found in (service.get("/v1/predictions/k"), told):
            assert found.error()[:2] == (404, "unknown_prediction")
            assert "keeps a share of 0.001" in found.body.decode()
