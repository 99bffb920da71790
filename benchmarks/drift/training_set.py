"""What the training set of a large log costs: predictions in the lake, joined with their actuals, as one table.

The log is that of `drift.hour`. What is timed is a process of the job's own environment from its start to its end: it
reads the labels as retraining's first stage does, and writes them to a file.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import process_cost

from beacon_core.data.prediction_log.reading import open_log
from beacon_core.platform.engine import open_engine
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings

ENVIRONMENTS = {"local": "retraining", "spark": "spark"}
LIMIT_MEGABYTES = 1024.0


def main() -> int:
    """Measure; exit 1 when the local engine needs more memory than it may."""
    parser = argparse.ArgumentParser(prog="make bench-training-set", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="predictions in the lake")
    parser.add_argument("--labelled", type=int, default=10, help="one in so many has an actual")
    parser.add_argument("--engines", default="local", help="some of local and spark, which needs Java")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        return _write(given.write)
    from drift.hour import filled, variables_of  # noqa: PLC0415 - the job's environment has not got it

    product = load_product(load_settings().product)
    print(f"{given.rows:,} predictions, one in {given.labelled} with an actual; product {product.name}.\n")
    print("| engine | rows | time | processor | memory |\n| --- | --- | --- | --- | --- |", flush=True)
    holds = True
    with filled("lake", product, given.rows, given.labelled) as log, tempfile.TemporaryDirectory() as folder:
        for engine in given.engines.split(","):
            out = Path(folder) / f"{engine}.parquet"
            python = ROOT / ".venvs" / ENVIRONMENTS[engine] / "bin" / "python"
            variables = variables_of(log, "lake", engine) | {"PYTHONPATH": str(ROOT / "benchmarks")}
            cost = process_cost.run([str(python), "-m", "drift.training_set", "--write", str(out)], variables)
            holds &= engine != "local" or cost.megabytes <= LIMIT_MEGABYTES
            figures = f"{cost.seconds:.1f} s | {cost.processor_seconds:.1f} s | {cost.megabytes:.0f} MB"
            print(f"| {engine} | {_rows_of(out):,} | {figures} |", flush=True)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")
    return int(not holds)


def _write(out: Path) -> int:
    from beacon_retraining.data.labels import read_labels  # noqa: PLC0415 - of the job's environment
    from beacon_retraining.files import write_table  # noqa: PLC0415

    settings = load_settings()
    with open_engine(settings, "bench") as jobs:
        write_table(out, read_labels(open_log(settings, jobs=jobs), load_product(settings.product)))
    return 0


def _rows_of(file: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415

    return int(pq.read_metadata(file).num_rows)


if __name__ == "__main__":
    sys.exit(main())
