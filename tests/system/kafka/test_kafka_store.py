"""The log's process and a broker, for real: away, back, with TLS and a password, and with settings that are wrong."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certificates import Authority
from support.kafka import PASSWORD, Broker, broker
from support.lake_logs import SHIP_SECONDS, ask, log_of
from support.load import PREDICT
from support.log_process import PYTHON
from support.logged import logged_ids
from support.server import Server, serving
from support.waiting import until

from beacon_core.domain.log_message import decode_message
from beacon_core.domain.product import Product

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka-store")]


def figure(server: Server, name: str, store: str) -> float:
    return log_of(server).metrics()[f"beacon_prediction_log_store_{name}{{store={store}}}"]


def sent(kafka: Broker, topic: str) -> list[str]:
    return sorted(decode_message(message.value).id for message in kafka.messages(topic))


def test_while_the_broker_is_away_the_database_goes_on_and_the_topic_loses_nothing(
    home: Path, row: dict[str, float]
) -> None:
    with broker() as kafka:
        topic = kafka.create_topic("log")
        given: dict[str, Any] = {"kafka_brokers": kafka.address, "kafka_topic": topic}
        with serving(home, access_log="false", log_stores="sql,kafka", **given) as server:
            first = ask(server, row, 5)
            until(lambda: figure(server, "waiting", "kafka") == 0, "the topic has them", SHIP_SECONDS)
            kafka.kill()
            rest = ask(server, row, 7)
            until(lambda: figure(server, "waiting", "sql") == 0, "the database has them all the same", SHIP_SECONDS)
            until(lambda: figure(server, "failures_total", "kafka") > 0, "it is told", SHIP_SECONDS)
            assert figure(server, "waiting", "kafka") == 7
            assert "Kafka does not acknowledge" in log_of(server).log()
            assert re.search("Connection refused|brokers are down", log_of(server).log())
            log_of(server).kill()  # nor does a new process lose what waits
            log_of(server).start()
            kafka.start()
            until(lambda: figure(server, "waiting", "kafka") == 0, "the topic gets the rest", SHIP_SECONDS)
            assert server.stop() == 0
        assert set(sent(kafka, topic)) == {*first, *rest}
        assert sorted(logged_ids(home / "beacon.db")) == sorted([*first, *rest])


def test_what_the_topic_has_alone_is_found_while_it_is_in_the_spool(
    home: Path, row: dict[str, float], kafka: Broker
) -> None:
    """The lake gets it later: an id must not be unknown meanwhile, as long as the segment is there."""
    topic = kafka.create_topic("alone")
    given: dict[str, Any] = {"kafka_brokers": kafka.address, "kafka_topic": topic, "log_read": "lake"}
    with serving(home, access_log="false", log_stores="kafka", lake=home / "lake", **given) as server:
        (name,) = ask(server, row, 1)
        until(lambda: sent(kafka, topic) == [name], "the topic has it", SHIP_SECONDS)
        assert httpx.get(f"{server.address}/v1/predictions/{name}", timeout=30).status_code == 200
        assert server.stop() == 0


def test_the_messages_of_an_entity_are_in_one_partition_in_their_order(
    home: Path, row: dict[str, float], kafka: Broker, product: Product
) -> None:
    topic = kafka.create_topic("order", partitions=4)
    (key,) = product.keys
    given: dict[str, Any] = {"kafka_brokers": kafka.address, "kafka_topic": topic}
    names: dict[int, list[str]] = {1: [], 2: [], 30: []}
    with serving(home, access_log="false", log_stores="sql,kafka", **given) as server:
        for _ in range(8):
            for entity, own in names.items():
                body = {"features": row, "entity": {key: entity}}
                answer = httpx.post(f"{server.address}{PREDICT}", json=body, timeout=30)
                assert answer.status_code == 200, answer.text
                own.append(answer.json()["prediction_id"])
        until(lambda: len(kafka.messages(topic)) == 24, "the topic has them", SHIP_SECONDS)
        assert server.stop() == 0
    for entity, own in names.items():
        found = [message for message in kafka.messages(topic) if message.key == str(entity).encode()]
        assert len({message.partition for message in found}) == 1
        assert [decode_message(message.value).id for message in found] == own


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Path]]:
    """A broker that asks for TLS and a password, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder, "brokers")
    own = authority.certificate("127.0.0.1")
    whole = folder / "broker.pem"
    whole.write_bytes(own.key.read_bytes() + own.certificate.read_bytes())
    with broker(secure=str(whole)) as found:
        yield found, authority.file


def client_file(folder: Path, authority: Path, password: str) -> Path:
    file = folder / "kafka.properties"
    file.write_text(
        "# as librdkafka has them\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=beacon\n"
        f"sasl.password={password}\nssl.ca.location={authority}\n"
    )
    return file


@pytest.mark.parametrize("password", [PASSWORD, "wr-0ng-one"])
def test_tls_and_a_password_by_the_clients_own_settings(
    home: Path, row: dict[str, float], secure: tuple[Broker, Path], password: str
) -> None:
    kafka, authority = secure
    topic = kafka.create_topic(f"secure-{password}")
    given: dict[str, Any] = {"kafka_brokers": kafka.secure_address, "kafka_topic": topic}
    given |= {"kafka_file": client_file(home, authority, password)}
    with serving(home, access_log="false", log_stores="sql,kafka", **given) as server:
        (name,) = ask(server, row, 1)
        if password == PASSWORD:
            until(lambda: sent(kafka, topic) == [name], "the topic has it", SHIP_SECONDS)
        else:
            until(lambda: figure(server, "failures_total", "kafka") > 0, "it is told", SHIP_SECONDS)
            assert "uthentication failed" in log_of(server).log()
            assert sent(kafka, topic) == []
        assert password not in log_of(server).log()
        log_of(server).kill()


def refused(home: Path, **settings: object) -> str:
    """What the log's process says that does not start."""
    given = {f"BEACON_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [PYTHON, "-m", "beacon_prediction_log"],
        env={"PATH": "", "BEACON_HOME": str(home), **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


PLACE = {"log_stores": "sql,kafka", "kafka_brokers": "127.0.0.1:9092", "kafka_topic": "log"}


@pytest.mark.parametrize(
    ("settings", "lines", "told"),
    [
        ({"log_stores": "kafka"}, "", "BEACON_LOG_STORES: Kafka answers no questions"),
        ({"kafka_brokers": ""}, "", "BEACON_KAFKA_BROKERS is not set"),
        ({"kafka_brokers": "here"}, "", "BEACON_KAFKA_BROKERS: 'here' is not HOST:PORT"),
        ({"kafka_topic": "a b"}, "", "BEACON_KAFKA_TOPIC: a topic has 1 to 249"),
        ({}, "sasl.pasword=wr-0ng-one", "BEACON_KAFKA_FILE: the Kafka client refuses its settings: No such"),
        ({}, "security.protocol=wr-0ng-one", 'Invalid value "***" for configuration property "security.protocol"'),
        ({}, "wr-0ng-one", "kafka.properties: line 1 is not NAME=VALUE"),
        ({}, "acks=1", "line 1 sets acks, which Beacon sets itself"),
        ({}, "security.protocol=ssl\nssl.ca.location=/wr-0ng-one", "ssl.ca.location failed"),
    ],
)
def test_settings_that_break_a_rule_end_it_with_a_line(
    home: Path, settings: dict[str, str], lines: str, told: str
) -> None:
    file = home / "kafka.properties"
    file.write_text(lines)
    began = time.monotonic()
    said = refused(home, **(PLACE | settings), kafka_file=file)
    assert told.replace('"', '\\"') in said
    assert "wr-0ng-one" not in said
    assert "Traceback" not in said
    assert time.monotonic() - began < 60


def test_a_topic_that_is_not_there_is_told(home: Path, row: dict[str, float], kafka: Broker) -> None:
    given: dict[str, Any] = {"kafka_brokers": kafka.address, "kafka_topic": "nobodys"}
    with serving(home, access_log="false", log_stores="sql,kafka", **given) as server:
        ask(server, row, 1)
        until(lambda: figure(server, "failures_total", "kafka") > 0, "it is told", SHIP_SECONDS)
        assert "the topic cannot be used" in log_of(server).log()
        assert "Kafka refuses predictions for the topic nobodys: " in log_of(server).log()
        kafka.create_topic("nobodys")
        until(lambda: figure(server, "waiting", "kafka") == 0, "it gets what waited", SHIP_SECONDS)
        assert server.stop() == 0
