"""Spark's options: what Beacon needs, and the user's own file, which comes first."""

import re
import sys
from pathlib import Path

from beacon_core.platform.settings import Settings, SettingsError

NAME = "BEACON_SPARK_CONF"
PYTHON = "spark.pyspark.python"
"""The Python of executors."""
LOOPBACK = "127.0.0.1"
LINE = re.compile(r"(spark\.\S*?)(?:\s*[=:]\s*|\s+)(.*)")
"""As Spark reads its spark-defaults.conf: a name, and a value after blanks, = or :."""


def options_of(settings: Settings) -> dict[str, str]:
    """All options of a session by the settings; raises `SettingsError` for a file that is not as Spark reads it."""
    found = {
        "spark.master": settings.spark_master,
        # Executors need the environment of this room, where this process has it: as images and virtual machines do.
        PYTHON: sys.executable,
        "spark.log.level": "WARN",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        # A task that failed for its data fails again: four tries of an hour each are three too many.
        "spark.task.maxFailures": "2",
    }
    if settings.spark_master.startswith("local"):
        found |= {
            "spark.driver.host": LOOPBACK,
            "spark.driver.bindAddress": LOOPBACK,
            "spark.ui.enabled": "false",
        }
    return found | ({} if settings.spark_conf is None else read_options(settings.spark_conf))


def read_options(file: Path) -> dict[str, str]:
    """The options of a file as spark-defaults.conf; raises `SettingsError` naming the line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{NAME}: {file} cannot be read: {error}") from error
    found = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        told = LINE.fullmatch(line)
        if told is None:
            raise SettingsError(f"{NAME}: {file}, line {number}: is not `spark.NAME VALUE`")
        found[told[1]] = told[2]
    if "spark.master" in found:
        raise SettingsError(f"{NAME}: {file} sets spark.master, which BEACON_SPARK_MASTER says")
    return found
