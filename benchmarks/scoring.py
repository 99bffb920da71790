"""What batch scoring costs: rows per second of a core, and memory, by the form of the table.

A model of the product is trained as the retraining job does it, once. The rows are those of the product's own table,
again and again. What is timed is the job as it is deployed, a process of its own environment.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import process_cost
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings
from beacon_core.sources.table import load_table, read_table

PYTHON = ROOT / ".venvs" / "retraining" / "bin" / "python"
TRAIN = "--train"
"""Begins this program as the process that trains, in retraining's environment."""
GROUP_ROWS = 1 << 20
LIMIT_ROWS, LIMIT_RATE, LIMIT_MEGABYTES = 10_000_000, 100_000, 1024.0


def main() -> int:
    """Measure; exit 1 when scoring is slower, or takes more memory, than it may."""
    if TRAIN in sys.argv:
        return _train()
    parser = argparse.ArgumentParser(prog="make bench-score", description=__doc__)
    parser.add_argument("--rows", type=int, default=LIMIT_ROWS, help="rows of the table")
    parser.add_argument("--forms", default="parquet,csv", help="of the table and of the predictions")
    given = parser.parse_args()
    product = load_product(load_settings().product)
    folder = Path(tempfile.mkdtemp(prefix="beacon-score-"))
    environment = os.environ | {"BEACON_HOME": str(folder / "home"), "BEACON_PRODUCT": str(product.file)}
    environment |= {"OMP_NUM_THREADS": "1", "FEAST_USAGE": "False"}
    holds = True
    try:
        subprocess.run([PYTHON, __file__, TRAIN], check=True, env=environment)
        print(f"{given.rows:,} rows of {len(product.features)} features, product {product.name}.\n")
        print("| table and predictions | time | rows/s of a core | memory |\n| --- | --- | --- | --- |")
        for form in given.forms.split(","):
            file, out = folder / f"rows.{form}", folder / f"predictions.{form}"
            _write(product, given.rows, file)
            job: list[str | Path] = [PYTHON, ROOT / "jobs" / "score.py", file, "--out", out, "--bad-rows", "mark"]
            cost = process_cost.run(job, environment)
            file.unlink()
            rate = given.rows / cost.processor_seconds
            holds &= rate >= LIMIT_RATE and cost.megabytes <= LIMIT_MEGABYTES
            print(f"| {form} | {cost.seconds:.0f} s | {rate:,.0f} | {cost.megabytes:.0f} MB |", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")
    return int(not holds)


def _write(product: Product, rows: int, file: Path) -> None:
    own = read_table(product, columns=product.feature_names)
    group = pa.concat_tables([own] * -(-min(rows, GROUP_ROWS) // len(own))).combine_chunks()
    writer: pq.ParquetWriter | pyarrow.csv.CSVWriter
    is_csv = file.suffix == ".csv"
    writer = pyarrow.csv.CSVWriter(file, group.schema) if is_csv else pq.ParquetWriter(file, group.schema)
    with writer:
        for part in _parts(group, rows):
            writer.write_table(part)


def _parts(group: pa.Table, rows: int) -> Iterator[pa.Table]:
    for first in range(0, rows, len(group)):
        yield group.slice(0, rows - first)


def _train() -> int:
    """Train the product's model into the state's folder, and release it."""
    from beacon_core.domain.pins import Pin  # noqa: PLC0415
    from beacon_core.feature_store import repo  # noqa: PLC0415
    from beacon_core.model_package.release import Release, write_release  # noqa: PLC0415
    from beacon_retraining.data.history import load_dataset  # noqa: PLC0415
    from beacon_retraining.data.offline import write_offline  # noqa: PLC0415
    from beacon_retraining.data.validate import validate_table  # noqa: PLC0415
    from beacon_retraining.packaging.package import PackageOrigin, write_package  # noqa: PLC0415
    from beacon_retraining.training.settings import TrainSettings  # noqa: PLC0415
    from beacon_retraining.training.train import train  # noqa: PLC0415

    settings = load_settings()
    product, now, how = load_product(settings.product), datetime.now(UTC), TrainSettings(repeats=1)
    write_offline(settings, product, validate_table(load_table(product).table, product), now)
    if product.entity is not None:
        repo.apply(settings, product)
    dataset = load_dataset(settings, product)
    trained = train(dataset, product, how)
    origin = PackageOrigin("1", "bench", settings.build_revision, now)
    package = write_package(settings.models_dir, product, dataset, trained, how, origin)
    write_release(settings.release_file, Release(model=Pin(product.name, "1", package.sha256)))
    print(f"The model is a {trained.algorithm}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
