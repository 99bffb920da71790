"""The console's pages, in process over a real store: what they say, and what they say when something is wrong."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select
from support.history import add_drift, add_job, add_predictions, add_promotion, high_drift, month, prediction_row
from support.products import SPEC
from support.service import METRICS_PORT, Service
from support.settings import Settings

from beacon_console.app import create
from beacon_console.overview import facts
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import actuals, drift_results, predictions
from beacon_core.domain.ids import new_id


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def console(tmp_path):
    with Service(create(Settings(home=tmp_path))) as running:
        yield running


def page(console, path, status=200):
    answer = console.get(path)
    assert answer.status == status, answer.body.decode()
    return answer.body.decode()


def headline(text):
    return re.search(r"<h1>(.*?)</h1>", text, re.DOTALL)[1]


def test_an_empty_store_says_plainly_that_there_is_nothing(console):
    text = page(console, "/")
    for words in (
        "Nothing has been predicted yet",
        "No predictions in the last 24 hours",
        "No drift run yet",
        "No realised error yet",
        "No job has run yet",
        "No verdict yet",
        "No promotion is recorded yet",
        "No retrain request yet",
        "No model waits for approval",
    ):
        assert words in text


def test_a_quiet_month_is_healthy(console, engine, product):
    month(engine, product)
    text = page(console, "/")
    assert headline(text) == "Beacon is healthy."
    assert "Model 2 serves; " in text
    assert "no drift confirmed" in text
    assert re.search(rf"mean absolute error [\d.\s]+{product.target.unit} over", text)
    for name in product.key_features:
        link = f'<th scope="row"><a href="/features/{name}">{name}</a><small>'
        assert link in text.split("<details>")[0], f"{name} is shown without a click"


def test_confirmed_drift_is_the_headline(console, engine, product):
    month(engine, product, high=high_drift(product))
    assert headline(page(console, "/")) == "Beacon is unhealthy: drift is confirmed in LSTAT and RM."


def test_drift_of_a_model_that_was_replaced_is_no_issue(console, engine, product):
    month(engine, product)
    with engine.begin() as connection:
        newest = connection.execute(select(drift_results).order_by(drift_results.c.id.desc()).limit(1)).mappings().one()
        old = dict(newest) | {"id": 0, "model_version": "1", "alarm": True, "confirmed": True}
        connection.execute(insert(drift_results).values(old))
    text = page(console, "/")
    assert headline(text) == "Beacon is healthy."
    assert "no drift confirmed" in text


def test_a_failed_job_and_a_late_one_are_unhealthy(console, engine, product):
    now = datetime.now(UTC)
    add_predictions(engine, product, 100, now)
    add_job(engine, "drift", now - timedelta(hours=7))
    add_job(engine, "retrain", now - timedelta(hours=9))
    add_job(engine, "retrain", now - timedelta(hours=1), "failed", "DataError: no rows")
    text = page(console, "/")
    assert headline(text) == "Beacon is unhealthy: drift is late: it last succeeded 7\u202fh ago."
    assert "The last run of retrain failed" in text
    assert "DataError: no rows" in page(console, "/jobs/3")


def test_slow_predictions_are_unhealthy(console, engine, product):
    now = datetime.now(UTC)
    rows = [prediction_row(product, n, now, "1") | {"latency_seconds": 0.5 if n < 5 else 0.01} for n in range(100)]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
    assert "only 95.0\u202f% of the predictions take less than 200\u202fms" in headline(page(console, "/"))


def test_since_when_the_newest_version_answers(console, engine, product):
    now = datetime.now(UTC)
    times = [("1", 9), ("2", 8), ("1", 6), ("1", 2)]  # back from version 2 to version 1
    rows = [prediction_row(product, n, now - timedelta(days=days), version) for n, (version, days) in enumerate(times)]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
    text = page(console, "/")
    assert "<dt>Serving for</dt><dd>6\u202fd</dd>" in text
    assert '<dt>Before</dt><dd><a href="/models/2">' in text


def test_a_window_shows_its_own_scores(console, engine, product):
    month(engine, product)
    assert '<a href="?window=30d#drift" aria-current="true">' in page(console, "/?window=30d")
    assert "window must be 1d or 7d or 30d." in page(console, "/?window=9d", 422)


def test_no_query_of_the_front_page_reads_the_whole_log(engine, product):
    month(engine, product, 300)
    asked = []
    event.listen(
        engine, "before_cursor_execute", lambda _c, _k, statement, values, *_: asked.append((statement, values))
    )
    with engine.connect() as connection:
        facts.gather(connection, product, datetime.now(UTC), None, inference_configured=False)
        about = [(statement, values) for statement, values in asked if "predictions" in statement]
        plans = [
            step[-1]
            for statement, values in about
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    assert len(about) == 5
    assert [step for step in plans if step.startswith("SCAN predictions")] == []


def test_a_drift_run_and_its_report(console, engine, product):
    period = add_drift(engine, product, 2, datetime.now(UTC), high_drift(product))
    assert period[:10] in page(console, "/drift")
    text = page(console, f"/drift/{period}")
    rows = re.findall(r'<tr><th scope="row">(?:<a [^>]*>)?(\w+)', text)
    assert rows[:2] == ["RM", "LSTAT"], "the worst first"
    report = console.get(f"/drift/{period}/report")
    assert report.body == b"<h1>Report</h1>"
    assert "sandbox" in report.headers["content-security-policy"]


def test_a_prediction_with_all_that_is_known_of_it(console, engine, product):
    month(engine, product)
    row = prediction_row(product, 2850, datetime.now(UTC), "2")
    text = page(console, f"/predictions/{row['id']}")
    assert row["trace_id"] in text
    assert "within the interval" in text
    assert re.search(r"RM</a><small>.*?imputed", text, re.DOTALL)
    assert f"tract {row['entity']}" in text
    assert "not known yet" in page(console, "/predictions/p00000007")
    assert "after the first drift run" not in text
    assert "<dt>Client</dt><dd>without an API key</dd>" in text


def test_a_prediction_before_the_first_drift_run_says_when_training_is_shown(console, engine, product):
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction_row(product, 0, datetime.now(UTC), "1")])
    text = page(console, "/predictions/p00000000")
    assert text.count("after the first drift run") + text.count(">missing<") == len(product.features)


def test_a_prediction_names_its_client(console, engine, product):
    now = datetime.now(UTC)
    names = ["web-shop", "<b>&shop", None]
    with engine.begin() as connection:
        rows = [prediction_row(product, n, now, "1") | {"client": name} for n, name in enumerate(names)]
        connection.execute(insert(predictions), rows)
    shown = ["web-shop", "&lt;b&gt;&amp;shop", "without an API key"]
    for number, name in enumerate(shown):
        assert f"<dt>Client</dt><dd>{name}</dd>" in page(console, f"/predictions/p{number:08d}")


def test_an_actual_of_the_entity_counts_until_its_next_prediction(console, engine, product):
    now = datetime.now(UTC)
    rows = [
        prediction_row(product, n, now - timedelta(hours=hours), "1") | {"entity": "7"}
        for n, hours in enumerate((9, 5, 1))
    ]
    common = {"entity": "7", "received_at": now, "source": "test"}
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
        connection.execute(insert(actuals), [common | {"value": 31.25, "observed_at": now - timedelta(hours=4)}])
    assert "not known yet" in page(console, "/predictions/p00000000")
    assert "31.2" in page(console, "/predictions/p00000001")
    assert "not known yet" in page(console, "/predictions/p00000002")


def test_a_lookup_leads_to_the_prediction(console, engine, product):
    month(engine, product, 300)
    answer = console.get("/predictions?id=%20p00000001%20")
    assert (answer.status, answer.headers["location"]) == (303, "/predictions/p00000001")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/predictions/nope", "No prediction in the log has the id nope."),
        ("/predictions/a/b", "No prediction in the log has the id a/b."),
        ("/jobs/7", "There is no job run 7."),
        ("/jobs/x", "There is no job run x."),
        ("/jobs/9999999999999999999999", "There is no job run 9999999999999999999999."),
        ("/jobs?job=nope", "No job named nope ever ran."),
        ("/drift/2026", "There is no drift run 2026."),
        ("/drift/2026/report", "There is no report of a drift run 2026"),
        ("/models/A%20B", "There is no model version"),
        ("/nothing", "There is no such page."),
        ("/static/0/console.css", "There is no such page."),
    ],
)
def test_what_does_not_exist_is_a_page_that_says_so(console, path, sentence):
    assert sentence in page(console, path, 404)


def test_what_a_reader_sends_is_never_markup(console):
    text = page(console, "/predictions/<script>alert(1)</script>", 404)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_wrong_method_is_refused(console):
    answer = console.post("/", b"")
    assert (answer.status, sorted(answer.headers["allow"].split(", "))) == (405, ["GET", "HEAD", "OPTIONS"])


@pytest.mark.parametrize("path", ["/", "/drift", "/jobs", "/predictions/p1"])
def test_a_store_that_is_down_is_a_page_that_says_so(tmp_path, path):
    (tmp_path / "beacon.db").write_bytes(b"this is no database" * 100)
    with Service(create(Settings(home=tmp_path, console_metrics_port=METRICS_PORT))) as console:
        answer = console.get(path)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "5"
        assert "The store does not answer" in answer.body.decode()
        assert "Traceback" not in answer.body.decode()
        assert console.metrics()["beacon_store_up"] == 0
        assert console.get("/livez").status == 200


def test_every_page_is_guarded_and_brings_everything_itself(console, engine, product):
    month(engine, product)
    for path in ("/", "/drift", "/jobs", "/models", "/predictions", "/nothing"):
        answer = console.get(path)
        text = answer.body.decode()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in text
        assert " style=" not in text
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', text)
        for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            assert "immutable" in console.get(file).headers["cache-control"]


def test_a_prediction_shows_where_its_values_lie(console, engine, product):
    month(engine, product)
    text = page(console, "/predictions/p00000100")
    feature = next(each for each in product.features if each.is_measured and each.name != product.key_features[0])
    lies = re.search(rf'aria-label="{feature.name} lies in ([^"]*), with ([^"]*) of training"', text)
    assert lies is not None
    assert f"<small>{lies[1]}: {lies[2]}</small>" in text
    assert ">missing</span>" in text, "one is imputed"
    assert "Model 2 answers now; the explanation is by model 1" in text
    assert re.search(r"not known yet, \d+\u202fd after the prediction", text)
    assert "answers now" not in page(console, "/predictions/p00002850")


def test_an_id_that_is_older_than_the_log_is_not_kept(console, engine, product):
    add_predictions(engine, product, 20, datetime.now(UTC))
    old, new = f"{int(datetime(2020, 5, 1, tzinfo=UTC).timestamp() * 1000):012x}{0:020x}", new_id()
    assert "It was made on 2020-05-01, and the log begins on" in page(console, f"/predictions/{old}", 404)
    assert "A new one comes into the log within seconds" in page(console, f"/predictions/{new}", 404)
    assert "A new one comes into the log within seconds" in page(console, "/predictions/nope", 404)


def test_commands_that_a_page_tells_name_the_product(console, engine, product):
    add_promotion(engine, product, datetime.now(UTC))
    shown = SPEC.parent.relative_to(Path.cwd())
    assert f'make rollback PRODUCT={shown} REASON="..."' in page(console, "/promotions").replace("&#34;", '"')
