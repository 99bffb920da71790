"""Write docs/reference/metrics.md from the table of metrics: `python -m tools.metrics_page`."""

import re
from collections import defaultdict
from pathlib import Path

from beacon_core.observability import metrics
from tools.generated import table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
HOME = Path(metrics.__file__)
SHARED = "shared"
HEAD = """# Metrics

`python -m tools.metrics_page` writes this page from `beacon_core/observability/metrics.py`.
Inference exports its metrics on port 9090, feature serving on 9091, the console on its own port, for Prometheus.
The prediction log's process has port 9094, and the consumer of Kafka's topic (of `spark`) 9095.
What is shared is exported by each of them that has what it measures.
The labels of a metric take their values from closed sets, so the number of series is bounded.
[Alerts](alerts.md) are computed from them, and [dashboards](traces.md) show them.
Python's and the process's own metrics (`python_*`, `process_*`) are those of prometheus_client.

"""


def exporters() -> dict[str, list[str]]:
    """The services whose code names a metric, by the metric's name; core's are shared."""
    names = {key: value.name for key, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    found: dict[str, set[str]] = defaultdict(set)
    for package in sorted(ROOT.glob("services/*/beacon_*")):
        service = SHARED if package.name == "beacon_core" else package.parent.name
        for file in package.rglob("*.py"):
            if file != HOME:
                words = set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
                for key in names.keys() & words:
                    found[names[key]].add(service)
    return {name: [SHARED] if SHARED in of else sorted(of) for name, of in found.items()}


def current() -> str:
    """The page as it should be."""
    of = exporters()
    rows = []
    for metric in sorted(metrics.ALL, key=lambda metric: metric.name):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append((f"`{metric.name}`", metric.kind, labels, ", ".join(of[metric.name]), metric.help))
    return HEAD + table(("metric", "kind", "labels", "of", "meaning"), rows)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
