"""What inference's ScaledObject has KEDA ask for, of a real Prometheus that scrapes a real inference."""

import json
from pathlib import Path

from support.inference import Inference
from support.packages import release_package, row_of
from support.products import SPEC
from support.prometheus import Prometheus
from support.rendering import documents_of, helm, template
from support.waiting import until

from beacon_core.platform.product_file import load_product

SCALING = ("enabled=true", 'by="keda"', "cpuPercent=0", "requestsPerSecond=50", "requestsInFlight=2.5")
REQUESTS = 20


def queries() -> list[str]:
    """Those of the triggers: requests per second and requests in flight."""
    assert helm("dependency", "update", "charts/inference").returncode == 0
    values = "--values=charts/inference/ci/default-values.yaml"
    done = template("inference", values, *(f"--set-json=autoscaling.{each}" for each in SCALING))
    assert done.returncode == 0, done.stderr
    (found,) = [each for each in documents_of(done.stdout) if each["kind"] == "ScaledObject"]
    return [each["metadata"]["query"] for each in found["spec"]["triggers"]]


def test_prometheus_answers_with_the_requests_of_clients_alone(tmp_path: Path) -> None:
    product = load_product(SPEC)
    release_package(tmp_path / "home", product)
    features = dict(zip(product.feature_names, row_of(product), strict=True))
    body = json.dumps({"features": features}).encode()
    json_headers = {"Content-Type": "application/json"}
    asked = queries()
    assert len(asked) == 2
    with Inference(tmp_path / "home", tmp_path) as inference:
        targets = {"inference": inference.metrics_port}
        with Prometheus(tmp_path, targets, {}, installation="beacon") as prometheus:

            def read() -> list[float]:
                return [float(each["value"][1]) for query in asked for each in prometheus.query(query)]

            def scraped() -> float:
                (found,) = prometheus.query('sum(rate(http_requests_total{endpoint="/readyz"}[1m])) or vector(0)')
                return float(found["value"][1])

            def probed() -> bool:
                inference.ask("GET", "/readyz")
                return scraped() > 0

            until(probed, "probes are counted")
            assert sum(read()) == 0, "a probe is no client"

            def predicted() -> bool:
                for _ in range(REQUESTS):
                    assert inference.ask("POST", "/v1/predict", body, json_headers).status == 200
                found = read()
                return len(found) == 2 and min(found) > 0

            until(predicted, "requests per second and in flight")
            of_another = [query.replace('installation="beacon"', 'installation="other"') for query in asked]
            assert [prometheus.query(query) for query in of_another] == [[], []]
