"""Requests of one row, beside a product of numbers alone: processor time of the event loop, without sockets.

The model is linear and costs next to nothing, so that what text costs is not hidden behind it.
"""

import time
from pathlib import Path

from support.packages import release_package, row_of
from support.service import Service

from any_table.proposed import propose
from any_table.tables import NUMBERS, TEXTS, Table, drawn
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.app import create

ROWS, ROUNDS, REQUESTS = 2000, 7, 1500


def measure(folder: Path) -> str:
    """Requests per second of both, and their ratio; of all rounds the best, as other work only adds."""
    texts = _service(drawn(folder, "texts", ROWS), folder)
    numbers = _service(drawn(folder, "numbers", ROWS, NUMBERS + TEXTS, 0), folder)
    with texts[0] as one, numbers[0] as other:
        rounds = [(_seconds(one, texts[1]), _seconds(other, numbers[1])) for _ in range(ROUNDS)]
    of_texts, of_numbers = (REQUESTS / min(times) for times in zip(*rounds, strict=True))
    return f"{of_texts:.0f} and {of_numbers:.0f} requests/s: {of_texts / of_numbers:.0%}"


def _service(table: Table, folder: Path) -> tuple[Service, Product]:
    product = propose(table, folder)
    settings = Settings(home=folder / f"home-{table.name}", product=product.file, access_log=False)
    release_package(settings.home, product)
    return Service(create(settings)), product


def _seconds(service: Service, product: Product) -> float:
    row = {"features": dict(zip(product.feature_names, row_of(product), strict=True))}
    began = time.thread_time()
    for _ in range(REQUESTS):
        assert service.post("/v1/predict", row).status == 200
    return time.thread_time() - began
