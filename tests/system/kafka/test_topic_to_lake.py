"""From a request to a row of the lake, for real: inference, the log's process, a broker, Spark; and kill -9 of each."""

import os
import random
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.dashboards import documents, faults, shown
from support.kafka import Broker, broker
from support.lake_logs import SHIP_SECONDS, failures, in_home, lake_ids, log_of, stop_whole
from support.lakes import opened
from support.load import PREDICT, under_load
from support.packages import release_package, row_of
from support.products import MIXED, SPEC
from support.prometheus import Prometheus
from support.server import serving
from support.topic_to_lake import END_SECONDS, TopicToLake, topic_to_lake
from support.waiting import until

from beacon_core.data.database import open_store
from beacon_core.data.prediction_log import lake, sql
from beacon_core.domain.log_message import decode_message
from beacon_core.platform.product_file import load_product
from tools.dashboards.serving import TOPIC_ROW

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("topic-to-lake")]
KILLS = int(os.environ.get("BEACON_KAFKA_KILLS", "20"))


def places(home: Path, topic: str, kafka: Broker, stores: str = "kafka", product: Path = SPEC) -> dict[str, Any]:
    """The settings of a log that goes by the topic into a lake, which is read."""
    return {
        "log_stores": stores,
        "log_read": "lake",
        "lake": home / "lake",
        "kafka_brokers": kafka.address,
        "kafka_topic": topic,
        "product": product,
    }


def test_what_is_acknowledged_is_in_the_lake_once_whoever_is_killed(home: Path, row: dict[str, float]) -> None:
    """The log's process many times amid shipping, the broker twice amid traffic, the consumer amid its commits."""
    chance = random.Random(7)
    with broker() as kafka:
        given = places(home, kafka.create_topic("log"), kafka)
        with topic_to_lake(home, **given) as consumer, serving(home, access_log="false", **given) as server:
            consumer.start("--every", "0.5")
            with under_load(server.address, row) as loads:
                for number in range(KILLS):
                    loads.wait_for(20 + 13 * (number % 5))
                    time.sleep(chance.uniform(0, 0.6))
                    log_of(server).kill()
                    if number in {KILLS // 3, 2 * KILLS // 3}:
                        kafka.kill()
                        loads.wait_for(30)
                        log_of(server).start()
                        until(lambda: failures(server, "kafka") > 0, "it is told", SHIP_SECONDS)
                        kafka.start()
                    else:
                        loads.wait_for(5)
                        log_of(server).start()
                    if number == KILLS // 2:
                        consumer.wait_for("is in the lake")
                        consumer.kill()
                        consumer.start("--every", "0.5")
                loads.wait_for(20)
            stop_whole(server, home)
            consumer.kill()  # wherever it is
            sent = [decode_message(message.value).id for message in kafka.messages(given["kafka_topic"])]
            assert consumer.once() == 0, consumer.log()
        acknowledged, found = sorted(loads.acknowledged), lake_ids(in_home(home))
        print(f"kills {KILLS}, acknowledged {len(acknowledged)}, sent {len(sent)}, in the lake {len(found)}")
        assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
        assert sorted(set(sent)) == acknowledged
        assert found == acknowledged


def test_another_product_with_every_type_comes_into_the_lake_as_into_the_database(
    tmp_path: Path, kafka: Broker
) -> None:
    """Nothing is lost on the way, not even a null, and nothing comes twice where the checkpoint is lost.

    A message that is no prediction of the product ends the consumer, unless a person lets it go.
    """
    product = load_product(MIXED)
    home = tmp_path / "mixed"
    release_package(home, product)
    given = places(home, kafka.create_topic("mixed", partitions=1), kafka, "sql,kafka", MIXED)
    whole = dict(zip(product.feature_names, row_of(product), strict=True))
    absent = next(feature.name for feature in product.features if feature.nullable)
    rows = [whole, whole | {absent: None}, whole]
    with topic_to_lake(home, **given) as consumer, serving(home, access_log="false", **given) as server:
        for number, features in enumerate(rows):
            body = {"features": features, **({} if number else {"prediction_id": "order-1"})}
            answer = httpx.post(f"{server.address}{PREDICT}", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
        until(lambda: len(kafka.messages(given["kafka_topic"])) == len(rows), "the topic has them", SHIP_SECONDS)
        check_figures(consumer, len(rows), tmp_path)
        found = httpx.get(f"{server.address}/v1/predictions/order-1", timeout=30)
        assert found.json()["prediction_id"] == "order-1", "what is read is the lake"
        assert server.stop() == 0
        check_as_in_the_database(home, len(rows))
        mine = kafka.messages(given["kafka_topic"])[0].value
        strange = [b"a password: s-3cret", mine.replace(product.name.encode(), b"another")]
        for value in strange:
            kafka.send(given["kafka_topic"], value)
        anew = ("--checkpoint", str(tmp_path / "anew"))  # the first one is lost
        assert consumer.once(*anew) == 1
        assert re.search(f"the topic {given['kafka_topic']}, partition [0-2], offset [0-4]: it is ", consumer.log())
        assert "s-3cret" not in consumer.log()
        assert consumer.once(*anew, "--skip-unreadable") == 0, consumer.log()
        assert '"rows":0,"repeated":3,"skipped":2' in consumer.log()
        assert "Listener" not in consumer.log().partition("skipped")[2], "what tells of figures has no fault"
        check_as_in_the_database(home, len(rows))


def check_figures(consumer: TopicToLake, count: int, folder: Path) -> None:
    """It runs on, says how far it is, block by block, to the dashboard too, and ends when it is asked to."""
    assert consumer.asked("/livez") == 0
    consumer.start("--every", "1", "--most", "1")
    until(lambda: consumer.asked("/livez") == 200, "it lives", END_SECONDS)
    lags = set()

    def has_all() -> bool:
        if consumer.asked("/readyz") != 200:
            return False
        told = consumer.metrics()
        lags.add(told["beacon_topic_lag"])
        return told["beacon_topic_rows_total"] == count and told["beacon_topic_current_timestamp_seconds"] > 0

    until(has_all, "all are in the lake", END_SECONDS)
    told = consumer.metrics()
    assert told["beacon_topic_lag"] == 0
    assert told["beacon_topic_repeated_total"] == told["beacon_topic_skipped_total"] == 0
    assert lags & {1, 2}, "a block of one message leaves others"
    before = told["beacon_topic_current_timestamp_seconds"]
    until(lambda: consumer.metrics()["beacon_topic_current_timestamp_seconds"] > before, "it looks again", END_SECONDS)
    panels = [query for query in shown(documents()["beacon-requests"]) if query.row == TOPIC_ROW]
    assert panels
    with Prometheus(folder, {"kafka-to-lake": consumer.metrics_port}, {}) as prometheus:
        until(lambda: not faults(prometheus, panels), "every panel of the topic has data", SHIP_SECONDS)
    assert consumer.stop() == 0, consumer.log()


def check_as_in_the_database(home: Path, count: int) -> None:
    """The lake has each of the predictions once, with all that the table has of it."""
    ids = lake_ids(in_home(home))
    assert len(ids) == count
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    place = opened(*in_home(home))
    with engine.connect() as connection, place as found, lake.begin(found) as handle:
        assert lake.find(handle, ids) == sql.find(connection, ids)
    engine.dispose()
