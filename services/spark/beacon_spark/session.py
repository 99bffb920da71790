"""A session of Spark: on this machine's cores, or on a cluster that is there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform.settings import Settings
from beacon_spark.java import find_java
from beacon_spark.options import LOOPBACK, PYTHON, options_of


class SparkUnavailableError(Exception):
    """Spark does not start, or its master does not answer."""

    exit_status = TRY_AGAIN


@contextmanager
def open_session(settings: Settings, name: str, jars: Sequence[Path] = ()) -> Iterator[SparkSession]:
    """Give a session under a name that Spark's pages show, with these jars; it ends with the block.

    Raises `SettingsError` without a Java, and `SparkUnavailableError`.
    """
    # Before Spark starts: it says the same as a stack trace.
    os.environ["JAVA_HOME"] = str(find_java(settings).parents[1])
    options = options_of(settings)
    os.environ["PYSPARK_PYTHON"] = options[PYTHON]  # the option counts for programs that spark-submit starts
    if options["spark.master"].startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
    if jars:
        given = options.get("spark.jars", "")
        options["spark.jars"] = ",".join([*([given] if given else []), *map(str, jars)])
    builder = SparkSession.builder.appName(f"beacon-{name}")
    for option, value in options.items():
        builder = builder.config(option, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise SparkUnavailableError(f"Spark at {settings.spark_master} does not start: {message_of(error)}") from error
    try:
        yield session
    finally:
        session.stop()
