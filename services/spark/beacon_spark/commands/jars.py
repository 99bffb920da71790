"""Fetch the jars that Spark needs beside its own: `python -m beacon_spark.commands.jars` is `make spark-jars`."""

import subprocess
import sys

from beacon_core.platform.settings import SettingsError, load_settings
from beacon_spark.jars import fetch


def main() -> int:
    """Fetch them, and say where they are."""
    try:
        there = fetch(load_settings())
    except (SettingsError, ValueError, OSError, subprocess.TimeoutExpired) as error:
        print(f"spark-jars: {error}", file=sys.stderr)
        return 1
    print(f"{len(there)} jar(s) for Spark are in {there[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
