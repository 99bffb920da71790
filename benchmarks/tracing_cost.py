"""What traces cost a prediction: `python benchmarks/tracing_cost.py` prints CPU time per request, and requests/s.

The real application in one process, without sockets. The event loop's thread alone is timed: the sender has one of its
own. The ways take turns; the best of the rounds is told, as other work only adds. "All by the SDK" starts and ends the
span of each stage with the times that it had (decision 15).
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from opentelemetry import trace as otel
from opentelemetry.context import Context

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.packages import release_package, row_of  # noqa: E402
from support.service import Service  # noqa: E402

from beacon_core.observability import spans  # noqa: E402
from beacon_core.platform.product_file import load_product  # noqa: E402
from beacon_core.platform.settings import Settings, load_settings  # noqa: E402
from beacon_inference.app import create  # noqa: E402

REQUESTS, ROUNDS = 1500, 9
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Ids(spans.TraceIdGenerator):
    """Chooses also the id of a call's span, which the callee was told."""

    def __init__(self) -> None:
        super().__init__()
        self.next_span = 0

    def generate_span_id(self) -> int:
        chosen, self.next_span = self.next_span, 0
        return chosen or super().generate_span_id()


def add_by_sdk(self, parent, name, begin, end, call_id=0, **attributes):
    """`Tracer.add` by the SDK's own start and end."""
    self._ids.next_span = call_id
    kind = otel.SpanKind.CLIENT if call_id else otel.SpanKind.INTERNAL
    above = otel.set_span_in_context(parent, Context())
    self._tracer.start_span(name, above, kind, attributes, start_time=begin).end(end)


def main() -> None:
    """Measure the ways and print them."""
    product = load_product(load_settings().product)
    body = {"features": dict(zip(product.feature_names, row_of(product), strict=True))}
    own = spans.Tracer.add
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(spans, "ChosenIds", Ids):
        home = Path(folder)
        release_package(home, product)
        os.environ.pop(ENDPOINT, None)
        with Service(create(Settings(home=home, product=product.file, spool=home / "a"))) as off:
            os.environ |= {ENDPOINT: "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
            with Service(create(Settings(home=home, product=product.file, spool=home / "b"))) as on:
                ways = {
                    "off": (off, "01", own),
                    "on, unsampled": (on, "00", own),
                    "on, sampled": (on, "01", own),
                    "on, sampled, all by the SDK": (on, "01", add_by_sdk),
                }
                cpu = dict.fromkeys(ways, float("inf"))
                wall = dict.fromkeys(ways, float("inf"))
                for _ in range(ROUNDS):
                    for name, (service, flags, add) in ways.items():
                        headers = [("traceparent", PARENT + flags)]
                        with mock.patch.object(spans.Tracer, "add", add):
                            began, at = time.thread_time(), time.perf_counter()
                            for _ in range(REQUESTS):
                                service.post("/v1/predict", body, headers)
                        cpu[name] = min(cpu[name], (time.thread_time() - began) / REQUESTS)
                        wall[name] = min(wall[name], (time.perf_counter() - at) / REQUESTS)
    for name in ways:
        print(f"{name:<28} {cpu[name] * 1e6:7.1f} us {1 / wall[name]:7.0f} requests/s")


if __name__ == "__main__":
    main()
