"""What the log's process costs as it ships to its stores: rows per second of its core, seconds to start, and memory.

The real process, in its own environment, on a spool that is written for it; for kafka with a real broker beside it.
What is timed is the processor time of the process, from its first commit on: what it takes to start, libraries
included, is a figure of its own.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

from lake import FIGURE, LIMIT_ROWS, NOON, Draws
from support.kafka import Broker, broker

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings
from beacon_core.spool.record import encode_record
from beacon_core.spool.segments import SpoolWriter, segments

PYTHON = ROOT / ".venvs" / "prediction-log" / "bin" / "python"
LINES_BYTES = 1 << 18
MANY_BYTES = 1 << 40
PORT = 19094


def main() -> None:
    """Measure each choice of stores, with requests of one row and of many."""
    parser = argparse.ArgumentParser(prog="make bench-lake-shipping", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="rows that are shipped")
    parser.add_argument("--stores", nargs="+", default=["sql", "lake"], help="values of BEACON_LOG_STORES")
    given = parser.parse_args()
    settings = load_settings()
    draws = Draws(load_product(settings.product), noise=False)
    print("| figure | value |\n| --- | --- |")
    for stores in given.stores:
        with contextlib.ExitStack() as running:
            kafka = running.enter_context(broker()) if "kafka" in stores else None
            for rows in (1, 100, 1000):
                folder = Path(tempfile.mkdtemp(prefix="beacon-ship-"))
                try:
                    _ship(folder, draws, given.rows, rows, stores, settings.product, kafka)
                finally:
                    shutil.rmtree(folder)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")


def _ship(folder: Path, draws: Draws, count: int, rows: int, stores: str, product: Path, kafka: Broker | None) -> None:
    spool = folder / "spool"
    writer = SpoolWriter(spool, MANY_BYTES)
    number = iter(range(count))

    def line() -> bytes:
        return encode_record(draws.record(NOON + timedelta(milliseconds=next(number)), rows)) + b"\n"

    variables = {
        "PATH": os.environ["PATH"], "BEACON_HOME": str(folder), "BEACON_SPOOL": str(spool),
        "BEACON_PRODUCT": str(product), "BEACON_LOG_STORES": stores, "BEACON_LAKE": str(folder / "lake"),
        "BEACON_PREDICTION_LOG_METRICS_PORT": str(PORT),
    }  # fmt: skip
    if kafka is not None:
        topic = kafka.create_topic(f"log-{stores.replace(',', '-')}-{rows}")
        variables |= {"BEACON_KAFKA_BROKERS": kafka.address, "BEACON_KAFKA_TOPIC": topic}
        if stores.startswith("kafka"):
            variables |= {"BEACON_LOG_READ": "lake"}
    process = subprocess.Popen([PYTHON, "-m", "beacon_prediction_log"], env=variables, stderr=subprocess.PIPE)
    try:
        writer.append(line())
        _wait(process, rows)
        started = _cpu_seconds(process.pid)
        lines, taken = b"", rows
        while taken < count:
            lines += line()
            taken += rows
            if len(lines) >= LINES_BYTES or taken >= count:
                writer.append(lines)
                lines = b""
        _wait(process, taken)
        spent = _cpu_seconds(process.pid) - started
        memory = _peak(process.pid)
        process.terminate()
        writer.close()
        process.wait(60)
        assert not segments(spool), "everything was shipped"
    finally:
        process.kill()
    rate = (taken - rows) / spent
    verdict = "" if stores == "sql" else " (holds)" if rate >= LIMIT_ROWS else " (under the limit)"
    print(FIGURE.format(f"{stores}, {rows} rows a request", f"{rate:,.0f} rows/s per core{verdict}"))
    print(FIGURE.format("its start, first commit included", f"{started:.1f} s of a core"))
    print(FIGURE.format("peak memory", f"{memory / 1e6:.0f} MB"), flush=True)


def _wait(process: "subprocess.Popen[bytes]", rows: int) -> None:
    """Wait until each store has so many rows."""
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
                shown = answer.read().decode()
        except OSError:
            shown = ""
        values = [
            float(one.split()[-1])
            for one in shown.splitlines()
            if one.startswith("beacon_prediction_log_store_rows_total{")
        ]
        if values and min(values) >= rows:
            return
        time.sleep(0.25)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [one for one in status.splitlines() if one.startswith("VmHWM")]
    return float(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
