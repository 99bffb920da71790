"""A whole retraining of a large table, as a user runs it: seconds and memory of each stage, all processes together.

The table is drawn (large_table.py), `beacon new` makes the product, and `make retrain`'s command does the rest.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from any_table.proposed import propose
from any_table.tables import Table
from support.ports import free_port

from beacon_core.platform.settings import PREFIX, ROOT
from retrain_size.large_table import KEY, TARGET, TIME, write_large_table
from retrain_size.process_tree import ProcessTree

ROWS = 1_000_000
STAGE = re.compile(r"\b(fetch|validate|features|train|package|evaluate|register)\b +(.*) \((\d+\.\d) s\)")


class StageCost(NamedTuple):
    """What a stage said of itself, and what all processes took meanwhile: seconds of processors, GiB at most."""

    name: str
    note: str
    seconds: float
    processor_seconds: float
    gibibytes: float


def main() -> None:
    """Measure one size and print a row of a table for each stage."""
    parser = argparse.ArgumentParser(prog="make retrain-size", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--key", action="store_true", help="each row is an entity: Feast and its stores take part")
    parser.add_argument("--folder", type=Path, help="keep the table, the product and the state here")
    parser.add_argument("--options", default="", help="of `make retrain`, such as '--budget-seconds 60'")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = (given.folder or Path(own)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        costs = _retrain(folder, given.rows, given.options.split(), key=given.key)
    print("| stage | seconds | of processors | GiB at most | |\n| --- | --- | --- | --- | --- |")
    for cost in costs:
        print(
            f"| {cost.name} | {cost.seconds:.0f} | {cost.processor_seconds:.0f} | {cost.gibibytes:.2f} | {cost.note} |"
        )
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores.")


def _retrain(folder: Path, rows: int, options: list[str], *, key: bool) -> list[StageCost]:
    file = folder / "large.parquet"
    if not file.is_file():
        write_large_table(file, rows, key=key)
    begun = time.monotonic()
    product = propose(Table("large", file, TARGET, KEY if key else "", TIME), folder)
    print(f"beacon new: {time.monotonic() - begun:.0f} s", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        f"{PREFIX}PRODUCT": str(product.file),
        f"{PREFIX}HOME": str(folder / "home"),
        f"{PREFIX}MLFLOW_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "beacon_laptop.retrain", *options]
    begun = time.monotonic()
    with (
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
        ProcessTree(process.pid) as tree,
    ):
        costs = []
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{time.monotonic() - begun:7.1f} s  {line.rstrip()}", flush=True)
            if found := STAGE.search(line):
                name, note, seconds = found[1], found[2], float(found[3])
                now = time.monotonic()
                gibibytes, used = tree.between(now - seconds, now)
                costs.append(StageCost(name, note, seconds, used, gibibytes))
        if process.wait():
            raise SystemExit(f"the retraining ended with status {process.returncode}")
        ended = time.monotonic()
        gibibytes, used = tree.between(begun, ended)
    return [*costs, StageCost("all", f"{rows:,} rows", ended - begun, used, gibibytes)]


if __name__ == "__main__":
    main()
