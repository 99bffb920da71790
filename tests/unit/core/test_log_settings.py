"""The settings of the log's stores: which go together, and the file of a Kafka client's own."""

import pytest

from beacon_core.platform.log_settings import check_kafka, client_settings
from beacon_core.platform.settings import SettingsError, load_settings

PLACES = {
    "BEACON_LAKE": "/lake",
    "BEACON_KAFKA_BROKERS": "one:9092,[::1]:9093",
    "BEACON_KAFKA_TOPIC": "beacon.log",
}


@pytest.mark.parametrize(
    ("stores", "read", "expected"),
    [
        ("", "", "sql"),
        ("lake,sql", "", "lake"),
        ("sql,lake", "lake", "lake"),
        ("sql,kafka", "", "sql"),
        ("sql,kafka", "lake", "lake"),
        ("lake,kafka", "", "lake"),
        ("kafka", "lake", "lake"),
        ("kafka,sql", "sql", "sql"),
    ],
)
def test_the_store_that_is_read(stores, read, expected):
    settings = load_settings(PLACES | {"BEACON_LOG_STORES": stores, "BEACON_LOG_READ": read})
    assert settings.read_store == expected
    assert settings.reads_lake == (expected == "lake")


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"BEACON_LOG_STORES": "kafka"}, "BEACON_LOG_STORES: Kafka answers no questions"),
        ({"BEACON_LOG_STORES": "kafka,sql"}, "BEACON_LOG_STORES: Kafka answers no questions"),
        ({"BEACON_LOG_STORES": "kafka", "BEACON_LOG_READ": "kafka"}, "BEACON_LOG_READ: .*kafka"),
        ({"BEACON_LOG_STORES": "kafka", "BEACON_LOG_READ": "sql"}, "nothing brings predictions into sql"),
        ({"BEACON_LOG_STORES": "sql", "BEACON_LOG_READ": "lake"}, "nothing brings predictions into lake"),
        (
            {"BEACON_LOG_STORES": "kafka", "BEACON_LOG_READ": "lake", "BEACON_LAKE": ""},
            "BEACON_LOG_READ names the lake",
        ),
        ({"BEACON_KAFKA_BROKERS": "one"}, "BEACON_KAFKA_BROKERS: 'one' is not HOST:PORT"),
        ({"BEACON_KAFKA_BROKERS": "one:70000"}, "BEACON_KAFKA_BROKERS: 'one:70000' is not HOST:PORT"),
        ({"BEACON_KAFKA_TOPIC": ".."}, "BEACON_KAFKA_TOPIC: a topic has"),
        ({"BEACON_KAFKA_TOPIC": "a" * 250}, "BEACON_KAFKA_TOPIC: a topic has"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(given, rule):
    with pytest.raises(SettingsError, match=rule):
        load_settings(PLACES | given)


@pytest.mark.parametrize("name", ["BROKERS", "TOPIC"])
def test_only_who_has_to_do_with_the_topic_needs_its_place(name):
    settings = load_settings(PLACES | {"BEACON_LOG_STORES": "sql,kafka", f"BEACON_KAFKA_{name}": ""})
    with pytest.raises(ValueError, match=f"^KAFKA_{name} is not set, and it is read"):
        check_kafka(settings, "it is read")


def test_the_clients_file(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("# ours\n\nsasl.password = a=b \nssl.ca.location=/ca\n", encoding="utf-8")
    assert client_settings(file, ()) == {"sasl.password": "a=b", "ssl.ca.location": "/ca"}
    assert client_settings(None, ()) == {}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("s-3cret", "line 1 is not NAME=VALUE"),
        ("\nsasl password=s-3cret", "line 2 is not NAME=VALUE"),
        ("acks=s-3cret", "line 1 sets acks, which Beacon sets itself"),
        ("a=s-3cret\na=s-3cret", "line 2 sets a again"),
    ],
)
def test_a_line_that_breaks_a_rule_is_named_and_not_quoted(tmp_path, text, rule):
    file = tmp_path / "kafka.properties"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rule) as caught:
        client_settings(file, ("acks",))
    assert "KAFKA_FILE" in str(caught.value)
    assert "s-3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="nobodys cannot be read: No such file"):
        client_settings(tmp_path / "nobodys", ())
