"""What BEACON_SPOOL_FSYNC=group costs a prediction, on the disk below a folder of your choice.

The real server and the log's process, with a tiny model, so that the spool is most of what differs. Both ways take
turns; the median of the rounds is told. An fsync of the disk by itself stands beside them.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from harness.closedloop import Counted, wrk
from support.packages import release_package, row_of
from support.server import serving

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

CONNECTIONS = (1, 8, 64)
WAYS = ("never", "group")
SYNCS = 200
LINE_BYTES = 600


def main() -> None:
    """Measure both ways, and print a table."""
    parser = argparse.ArgumentParser(prog="make bench-fsync", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--folder", type=Path, help="folder on the disk in question; default: that of temporary files")
    given = parser.parse_args()
    product = load_product(load_settings().product)
    with tempfile.TemporaryDirectory(prefix="beacon-fsync-", dir=given.folder) as folder:
        home = Path(folder)
        print(f"An fdatasync of {LINE_BYTES} bytes: {_alone(home / 'file') * 1000:.2f} ms (median of {SYNCS}).\n")
        release_package(home, product)
        body = home / "body.json"
        body.write_text(json.dumps({"features": dict(zip(product.feature_names, row_of(product), strict=True))}) + "\n")
        runs: dict[tuple[str, int], list[Counted]] = {(way, count): [] for way in WAYS for count in CONNECTIONS}
        for _ in range(given.rounds):
            for way in WAYS:
                with serving(home, access_log="false", product=product.file, spool_fsync=way) as server:
                    wrk(server.port, "/v1/predict", body, CONNECTIONS[0], 1)
                    for count in CONNECTIONS:
                        runs[way, count].append(wrk(server.port, "/v1/predict", body, count, given.seconds))
                    server.stop()
    print("| connections | fsync | requests/s | p50 ms | p99 ms |\n| --- | --- | --- | --- | --- |")
    for count in CONNECTIONS:
        for way in WAYS:
            some = runs[way, count]
            rate = statistics.median(one.requests / one.seconds for one in some)
            half, most = (statistics.median(getattr(one, name) for one in some) for name in ("p50_ms", "p99_ms"))
            print(f"| {count} | {way} | {rate:,.0f} | {half:.2f} | {most:.2f} |")
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")


def _alone(file: Path) -> float:
    seconds = []
    with file.open("wb", buffering=0) as written:
        for _ in range(SYNCS):
            written.write(b"x" * LINE_BYTES)
            began = time.perf_counter()
            os.fdatasync(written.fileno())
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
