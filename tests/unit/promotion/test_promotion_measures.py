"""What is asked and what is measured: rows of the log and made-up ones, counts out of a service's own exposition."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from support.history import prediction_row
from support.logged_inference import create
from support.packages import build_package, row_of
from support.products import MIXED
from support.service import METRICS_PORT, Service
from support.settings import Settings

from beacon_core.data.database import open_store
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_promotion.analysis import scrape
from beacon_promotion.analysis.judge import judge
from beacon_promotion.analysis.measurements import Measures
from beacon_promotion.analysis.phases import correlation, p99_of
from beacon_promotion.analysis.sampled_requests import generate_requests, sample_requests

PRODUCT = load_product(Settings().product)
PIN = Pin("boston-housing", "1", "1" * 64)


@pytest.fixture
def manifest(tmp_path):
    pin = build_package(tmp_path / "models", PRODUCT)
    return read_package(package_folder(tmp_path / "models", pin), pin.sha256).manifest


def test_made_up_rows_are_valid_requests_and_always_the_same(manifest):
    rows = generate_requests(PRODUCT.schema, manifest, 500)
    assert rows == generate_requests(PRODUCT.schema, manifest, 500)
    facts = {feature.name: feature for feature in manifest.features}
    for row in rows:
        assert len(row.features) >= PRODUCT.min_features
        for feature in PRODUCT.features:
            if (value := row.features.get(feature.name)) is None:
                assert feature.nullable
            elif feature.is_category:
                assert value in feature.known_levels
            else:
                assert facts[feature.name].min <= value <= facts[feature.name].max
    missing = sum(len(PRODUCT.features) - len(row.features) for row in rows) / (500 * len(PRODUCT.features))
    assert 0.02 < missing < 0.08


def test_made_up_rows_hold_values_of_each_type_as_clients_send_them(tmp_path):
    mixed = load_product(MIXED)
    pin = build_package(tmp_path / "models", mixed)
    rows = generate_requests(
        mixed.schema, read_package(package_folder(tmp_path / "models", pin), pin.sha256).manifest, 200
    )
    kinds = {
        feature.name: {type(row.features[feature.name]) for row in rows if feature.name in row.features}
        for feature in mixed.features
    }
    for feature in mixed.features:
        assert all(feature.problem(row.features.get(feature.name)) is None for row in rows), feature.name
        assert kinds[feature.name] == {bool if feature.type == "bool" else str if feature.is_text else float}
    assert {row.features.get("pieces", 1.0).is_integer() for row in rows} == {True}
    assert len({row.features.get("insured") for row in rows}) == 3, "both, and missing"


def test_users_requests_come_first_and_those_with_a_known_truth_before_all(engine, manifest):
    now = datetime.now(UTC)
    logged = [prediction_row(PRODUCT, number, now - timedelta(minutes=number), "1") for number in range(30)]
    for number, row in enumerate(logged):
        row["features"] = row["features"] | {"CRIM": float(number)}
    known = [
        {"prediction_id": logged[0]["id"], "value": value, "observed_at": now, "received_at": now, "source": "test"}
        for value in (20.0, 21.5)
    ]
    with engine.begin() as connection:
        connection.execute(insert(predictions), logged)
        connection.execute(insert(actuals), known)
    rows = sample_requests(engine, EVERYTHING, PRODUCT.schema, manifest, 40)
    assert len(rows) == 40
    assert rows[0].actual == 21.5, "the newest correction counts"
    assert [row.actual for row in rows[1:]] == [None] * 39
    assert rows[31:] == generate_requests(PRODUCT.schema, manifest, 9)


def test_what_the_old_model_has_learnt_by_heart_is_no_truth_to_compare_on(engine, manifest):
    made = datetime.fromisoformat(manifest.created_at)
    rows = [prediction_row(PRODUCT, number, made + timedelta(hours=hours), "1") for number, hours in enumerate((-1, 1))]
    for number, row in enumerate(rows):
        row["features"] = row["features"] | {"CRIM": float(number)}
    known = [
        {"prediction_id": row["id"], "value": 21.0, "observed_at": made, "received_at": made, "source": "test"}
        for row in rows
    ]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
        connection.execute(insert(actuals), known)
    found = sample_requests(engine, EVERYTHING, PRODUCT.schema, manifest, 40)
    assert [row.features["CRIM"] for row in found if row.actual is not None] == [1.0]
    assert 0.0 in [row.features["CRIM"] for row in found[:3]], "it is asked all the same"


def test_a_request_that_users_repeat_is_asked_once(engine, manifest):
    now = datetime.now(UTC)
    one = prediction_row(PRODUCT, 1, now, "1")
    with engine.begin() as connection:
        connection.execute(insert(predictions), [one | {"id": f"again-{number}"} for number in range(50)])
    assert sample_requests(engine, EVERYTHING, PRODUCT.schema, manifest, 40)[1:] == generate_requests(
        PRODUCT.schema, manifest, 39
    )


def test_a_store_that_is_down_leaves_made_up_rows(tmp_path, manifest):
    engine = open_store(f"sqlite:///{tmp_path / 'empty.db'}")  # without tables
    assert sample_requests(engine, EVERYTHING, PRODUCT.schema, manifest, 25) == generate_requests(
        PRODUCT.schema, manifest, 25
    )
    engine.dispose()


def test_the_counts_are_those_of_the_service_itself(home):
    with Service(create(Settings(home=home))) as service:

        def counts():
            return scrape.parse(service.run(service.ask("GET", "/metrics", b"", port=METRICS_PORT)).body.decode())

        def ask(times):
            features = dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
            for _ in range(times):
                assert service.post("/v1/predict", {"features": features}).status == 200

        ask(3)
        before = counts()
        ask(20)
        assert service.post("/v1/predict", {"features": {"RM": "six"}}).status == 422
        news = scrape.since(counts(), before)
    assert (before.requests, news.requests, news.failures, news.predictions) == (3, 21, 0, 20)
    side = scrape.side(PIN, [news])
    assert side.mean == pytest.approx(20, abs=5)
    assert side.spread == 0.0, "all answers are in one bucket"
    assert 0 < side.p99[0] < 5
    assert side.memory is not None
    assert side.memory > 30e6


def test_an_instance_that_started_anew_counts_from_its_start():
    assert scrape.since(scrape.ScrapedCounts(requests=5), scrape.ScrapedCounts(requests=90)) == scrape.ScrapedCounts(
        requests=5
    )
    assert scrape.since(scrape.ScrapedCounts(requests=5), None) == scrape.ScrapedCounts(requests=5)


def test_a_window_of_few_requests_has_no_p99():
    few, enough = (values(*[20.0] * count) for count in (scrape.LEAST_WINDOW - 1, scrape.LEAST_WINDOW))
    assert len(scrape.side(PIN, [few, enough, few, enough]).p99) == 2


def test_nothing_counted_measures_nothing():
    side = scrape.side(PIN, [])
    assert (side.requests, side.p99, side.mean, side.spread, side.out_of_range) == (0, (), None, None, None)
    assert scrape.together([]) == scrape.ScrapedCounts()


@given(st.lists(st.floats(0.0006, 4.9), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, level):
    bounds = [0.0005, 0.001, 0.01, 0.1, 1.0, 5.0, math.inf]
    buckets = {bound: float(sum(value <= bound for value in values)) for bound in bounds}
    true = sorted(values)[max(0, math.ceil(level * len(values)) - 1)]
    above = next(bound for bound in bounds if true <= bound)
    below = max((bound for bound in bounds if bound < above), default=0.0)
    assert below <= scrape.quantile(buckets, level) <= above


def values(*answers):
    """Answers as an instance counts them: in buckets that follow the training quantiles."""
    bounds = [7.0, 10.0, 17.0, 21.0, 25.0, 43.0, 50.0, math.inf]
    buckets = {bound: float(sum(answer <= bound for answer in answers)) for bound in bounds}
    count = float(len(answers))
    return scrape.ScrapedCounts(
        requests=count, predictions=count, value_sum=sum(answers), values=buckets, latency={1.0: count, math.inf: count}
    )


@given(st.floats(1.0, 60.0), st.floats(-0.2, 0.2))
def test_equal_questions_show_no_collapse_wherever_the_answers_lie_in_their_buckets(about, off):
    """The old model's answers to one question lie about an edge, maybe; the new one's do not."""
    old = scrape.side(PIN, [values(*([about - 0.5] * 200), *([about + 0.5] * 200))])
    new = scrape.side(PIN, [values(*([about * (1 + off)] * 400))])
    assert judge(Measures(new=new, old=old), PRODUCT.policy.rollout, 0.25).outcome == "pass"


def test_a_collapse_is_seen_in_buckets_too():
    old = scrape.side(PIN, [values(*[8.0, 15.0, 20.0, 22.0, 30.0, 47.0] * 70)])
    assert 8 < old.spread < 13, "it is 12.4; no answer is nearer to the others than its bucket"
    found = judge(Measures(new=scrape.side(PIN, [values(*[22.0] * 420)]), old=old), PRODUCT.policy.rollout, 0.25)
    assert found.reason == "output_collapse"


def test_parts_that_are_too_small_have_no_p99():
    assert p99_of([0.1] * 11, 4) == ()
    assert p99_of([0.1] * 40 + [9.0] * 2 + [0.1] * 38, 4) == (0.1, 0.1, 9.0, 0.1)


def test_a_side_that_does_not_vary_has_no_correlation():
    assert correlation([(1.0, 2.0)]) is None
    assert correlation([(1.0, 2.0), (1.0, 3.0)]) is None
    assert correlation([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]) == pytest.approx(-1)
