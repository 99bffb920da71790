"""The jobs' results as metrics: out of the store, anew at every scrape."""

from datetime import UTC, datetime, timedelta

import pytest
from support.history import add_job, high_drift, month
from support.service import METRICS_PORT, Service
from support.settings import Settings

from beacon_console.app import create
from beacon_console.overview import inference
from beacon_core.data.database import migrate, open_store


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def console(tmp_path):
    with Service(create(Settings(home=tmp_path, console_metrics_port=METRICS_PORT))) as running:
        yield running


def scraped(console):
    return console.metrics()


def test_an_empty_store_is_up_and_has_no_results(console):
    found = scraped(console)
    assert found["beacon_store_up"] == 1
    assert found["beacon_database_bytes"] > 10_000
    assert not [
        name
        for name in found
        if name.startswith(("beacon_drift_profiling", "beacon_model_error", "beacon_job_last", "beacon_actual"))
    ]


def test_the_newest_results_are_exported(console, engine, product):
    now = month(engine, product, high=high_drift(product))
    found = scraped(console)
    place = "{effect=hellinger,feature=RM,kind=data,window=7d}"
    assert found[f"beacon_drift_score{place}"] == pytest.approx(0.33)
    assert found[f"beacon_drift_threshold{place}"] == 0.15
    assert found[f"beacon_drift_confirmed{place}"] == 1
    assert found["beacon_drift_confirmed{effect=hellinger,feature=NOX,kind=data,window=7d}"] == 0
    assert found["beacon_drift_rows{window=7d}"] == 4000
    assert found["beacon_model_error{metric=mae,segment=river=1,window=30d}"] > 2
    assert found["beacon_model_error_rows{metric=mae,segment=,window=7d}"] == 900
    ended = (now - timedelta(minutes=12)).timestamp()
    assert found["beacon_job_last_success_timestamp_seconds{job=drift}"] == pytest.approx(ended, abs=1)
    assert found["beacon_job_duration_seconds{job=drift}"] == pytest.approx(12)
    assert found["beacon_job_stage_seconds{job=drift,stage=run}"] == pytest.approx(12)
    assert found["beacon_job_failures_total{job=drift}"] == 0
    assert found["beacon_gate_verdict{check=mae}"] == 1
    assert [found[f"beacon_gate_outcome{{outcome={name}}}"] for name in ("pass", "inconclusive", "fail")] == [1, 0, 0]
    assert found["beacon_actual_last_timestamp_seconds"] > (now - timedelta(days=40)).timestamp()
    assert found["beacon_job_period_seconds{job=drift}"] == 3600
    assert found["beacon_retrain_requests{state=waiting}"] == 1


def test_a_failure_is_seen_at_the_next_scrape_and_the_last_success_stays(console, engine):
    now = datetime.now(UTC)
    add_job(engine, "drift", now - timedelta(hours=2))
    before = scraped(console)
    add_job(engine, "drift", now, "failed", "killed")
    after = scraped(console)
    name = "beacon_job_last_success_timestamp_seconds{job=drift}"
    assert after[name] == before[name]
    assert [found["beacon_job_failures_total{job=drift}"] for found in (before, after)] == [0, 1]


def test_inferences_own_metrics_are_understood(service, row):
    service.post("/v1/predict", {"features": row})
    service.post("/v1/predict", b"{")
    text = service.run(service.ask("GET", "/metrics", b"", port=9090)).body.decode()
    status = inference.parse(text)
    assert (status.version, status.shadow, status.requests, status.failures, status.dropped) == ("1", None, 2, 0, 0)
