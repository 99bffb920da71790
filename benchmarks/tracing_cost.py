"""What traces cost a prediction: `python benchmarks/tracing_cost.py` prints CPU time a request, in microseconds.

The real application in one process, without sockets. The event loop's thread alone is timed: the sender has one of its
own. Off, unsampled and sampled take turns; the least of the rounds is told, as other work only adds.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.packages import release_package, row_of  # noqa: E402
from support.service import Service  # noqa: E402

from beacon_core.platform.product_file import load_product  # noqa: E402
from beacon_core.platform.settings import Settings  # noqa: E402
from beacon_inference.app import create  # noqa: E402

REQUESTS, ROUNDS = 1500, 9
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def main() -> None:
    """Measure the three and print them."""
    product = load_product(ROOT / "feature_repo" / "product.yaml")
    body = {"features": dict(zip(product.feature_names, row_of(product), strict=True))}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        release_package(home, product)
        os.environ.pop(ENDPOINT, None)
        with Service(create(Settings(home=home, spool=home / "a"))) as off:
            os.environ |= {ENDPOINT: "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
            with Service(create(Settings(home=home, spool=home / "b"))) as on:
                ways = {"off": (off, "01"), "on, unsampled": (on, "00"), "on, sampled": (on, "01")}
                least = dict.fromkeys(ways, float("inf"))
                for _ in range(ROUNDS):
                    for name, (service, flags) in ways.items():
                        headers = [("traceparent", PARENT + flags)]
                        began = time.thread_time()
                        for _ in range(REQUESTS):
                            service.post("/v1/predict", body, headers)
                        least[name] = min(least[name], (time.thread_time() - began) / REQUESTS * 1e6)
    for name, microseconds in least.items():
        print(f"{name:<14} {microseconds:7.1f} us")


if __name__ == "__main__":
    main()
