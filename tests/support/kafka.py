"""A real broker of Apache Kafka on free loopback ports: one JVM, which is its own controller; it can be killed."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from support.ports import free_ports

from beacon_core.platform.settings import ROOT

JARS = ROOT / ".tools" / "kafka-jars"
CLUSTER = "QmVhY29uc1Rlc3RzS2Fma2E"
READY_SECONDS = 240
READ_SECONDS = 60
MEMORY = "-Xmx384m"


class Sent(NamedTuple):
    """A message as the topic has it."""

    partition: int
    offset: int
    key: bytes
    value: bytes


class Broker:
    """A broker on a folder of its own. A killed one is started again on the same ports and data."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        port, self._control, self.secure_port = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.secure_address = f"127.0.0.1:{self.secure_port}"
        own = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._control}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self._control}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
        } | dict(options or {})
        if "secure" in own:  # TLS and a password on a third port
            own |= _secure(self.secure_address, own)
        self._file = folder / "server.properties"
        self._file.write_text("".join(f"{name}={value}\n" for name, value in own.items() if name != "secure"))
        self._process: subprocess.Popen[bytes] | None = None
        self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._file)).check_returncode()

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*_java(), "kafka.Kafka", str(self._file)],
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.folder,
            )
        end = time.monotonic() + READY_SECONDS
        while True:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            with contextlib.suppress(KafkaException):
                if self._admin().list_topics(timeout=2).brokers:
                    return
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)

    def create_topic(self, name: str, partitions: int = 3, **options: str) -> str:
        """Make a topic, and wait until it is there; its name."""
        config = {key.replace("_", "."): value for key, value in options.items()}
        admin = self._admin()
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
        end = time.monotonic() + READY_SECONDS
        while admin.list_topics(name, timeout=10).topics[name].error is not None:
            assert time.monotonic() < end, self.log()
        return name

    def messages(self, topic: str) -> list[Sent]:
        """All messages that the topic has now, partition by partition."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "tests", "enable.auto.commit": False})
        try:
            found: list[Sent] = []
            for number in consumer.list_topics(topic, timeout=READ_SECONDS).topics[topic].partitions:
                place = TopicPartition(topic, number, 0)
                first, end = consumer.get_watermark_offsets(place, READ_SECONDS)
                consumer.assign([TopicPartition(topic, number, first)])
                at = first
                while at < end:
                    got = consumer.poll(READ_SECONDS)
                    assert got is not None, f"{topic} {number}: {at} of {end}"
                    assert got.error() is None, got.error()
                    at = (got.offset() or 0) + 1
                    found.append(Sent(number, at - 1, _bytes(got.key()), _bytes(got.value())))
            return found
        finally:
            consumer.close()

    def send(self, topic: str, value: bytes) -> None:
        """Send a message, as a program of others may."""
        producer = Producer({"bootstrap.servers": self.address})
        producer.produce(topic, value)
        assert producer.flush(READ_SECONDS) == 0

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "broker.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [*_java(), *arguments], capture_output=True, cwd=self.folder, timeout=READY_SECONDS, check=False
        )


def _java() -> list[str]:
    program = shutil.which("java")
    assert program, "the broker needs a Java: Debian's openjdk-17-jre-headless"
    assert any(JARS.glob("kafka_*.jar")), "`make kafka-jars` fetches the broker"
    return [program, MEMORY, "-XX:+UseSerialGC", "-cp", f"{JARS}/*"]


def _secure(address: str, options: Mapping[str, str]) -> dict[str, str]:
    """A third listener, with TLS by the PEM file that `secure` names, and for the user `beacon` with its password."""
    name = "listener.name.secure"
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    return {
        "listeners": f"{options['listeners']},SECURE://{address}",
        "advertised.listeners": f"{options['advertised.listeners']},SECURE://{address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        f"{name}.sasl.enabled.mechanisms": "PLAIN",
        f"{name}.plain.sasl.jaas.config": f'{login} user_beacon="{PASSWORD}";',
        f"{name}.ssl.keystore.type": "PEM",
        f"{name}.ssl.keystore.location": options["secure"],
    }


PASSWORD = "s-3cret"


def _bytes(given: Any) -> bytes:
    assert isinstance(given, bytes)
    return given


@contextlib.contextmanager
def broker(**options: str) -> Iterator[Broker]:
    """A broker that answers, and is gone afterwards with all that it has; names of options have _ for a dot."""
    folder = Path(tempfile.mkdtemp(prefix="beacon-kafka-"))
    found = None
    try:
        found = Broker(folder, {name.replace("_", "."): value for name, value in options.items()})
        found.start()
        yield found
    finally:
        if found is not None:
            found.kill()
        shutil.rmtree(folder, ignore_errors=True)
