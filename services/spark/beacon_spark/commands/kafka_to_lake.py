"""Bring the prediction log from its topic of Kafka into the lake. Exit 0 done, 1 refused, 75 try again."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from beacon_core.observability.metrics_port import MetricsPort
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.locks import exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, SettingsError, load_settings
from beacon_spark.jars import find_jars
from beacon_spark.session import open_session
from beacon_spark.streaming.figures import ConsumerFigures
from beacon_spark.streaming.query import BlockPace, TopicToLake, checkpoint_of
from beacon_spark.streaming.source import source_options

JOB = "kafka-to-lake"


@map_errors("the topic is refused", "the topic cannot be brought into the lake, try again", "left alone")
def main() -> int:
    """Run until SIGTERM, or with `--once` until all is there."""
    given = _parser().parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    if not settings.lake:
        raise SettingsError("BEACON_LAKE does not say where the lake is, into which the topic is to be brought")
    source_options(settings, given.most)  # what is wrong with them is told before Spark starts
    pace = BlockPace(given.most, None if given.once else given.every)
    checkpoint = checkpoint_of(settings, given.checkpoint)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    (settings.home / "run").mkdir(parents=True, exist_ok=True)
    with exclusive(settings.home / "run" / JOB, "another process brings the topic into the lake"):
        figures = ConsumerFigures(settings)
        with nullcontext() if given.once else serving_metrics(settings, figures):
            query = TopicToLake(settings, product.name, figures, skips=given.skip_unreadable)
            with open_session(settings, JOB, find_jars(settings)) as session:
                log.info("the topic %s is brought into the lake %s", settings.kafka_topic, settings.lake)
                query.run(session, checkpoint, pace, stopping)
    return 0


@contextmanager
def serving_metrics(settings: Settings, figures: ConsumerFigures) -> Iterator[None]:
    """Serve the metrics meanwhile; raises OSError for a port that cannot be had."""
    number = settings.kafka_to_lake_metrics_port
    try:
        port = MetricsPort(settings.host, number, figures.registry, figures.checks)
    except OSError as error:
        raise OSError(f"BEACON_KAFKA_TO_LAKE_METRICS_PORT: port {number} cannot be had: {error.strerror}") from error
    port.start()
    try:
        yield
    finally:
        port.stop()


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog=f"python -m beacon_spark.commands.{JOB.replace('-', '_')}", description=__doc__)
    parser.add_argument("--once", action="store_true", help="bring what is there now, and end")
    parser.add_argument("--every", type=float, default=30.0, help="seconds from one commit to the next (default: 30)")
    parser.add_argument("--most", type=int, default=500_000, help="most messages of a commit (default: 500000)")
    parser.add_argument("--checkpoint", default="", help="folder or URL where Spark notes how far it is")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out messages that are no predictions of this product"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run_job(JOB, main))
