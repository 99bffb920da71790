"""Fetch jars that are pinned by their digests: `python -m beacon_spark.commands.jars` is `make spark-jars`.

With a list and a folder it fetches others, such as a broker for tests: `make kafka-jars`.
"""

import subprocess
import sys
from pathlib import Path

from beacon_core.platform.settings import SettingsError, load_settings
from beacon_spark.jars import fetch, fetch_all, pinned
from beacon_spark.java import find_java


def main(arguments: list[str]) -> int:
    """Fetch Spark's, or those of a LIST into a FOLDER, and say where they are."""
    try:
        settings = load_settings()
        if arguments:
            listing, folder = map(Path, arguments)
            fetch_all(pinned(listing), folder, find_java(settings))
            there = [folder / jar.file_name for jar in pinned(listing)]
        else:
            there = fetch(settings)
    except (SettingsError, ValueError, OSError, subprocess.TimeoutExpired) as error:
        print(f"jars: {error}", file=sys.stderr)
        return 1
    print(f"{len(there)} jar(s) are in {there[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
