"""Where the time of a prediction goes: `make bench-parts` prints processor time by part, in microseconds a row.

The real application in one process, without sockets: with the models of `make bench`, and with a linear one, which
costs next to nothing; its access log is off. Its event loop is this thread, which answers; the others ship, until
nothing waits. The least of the rounds is told, as other work only adds.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = map(str, (ROOT, ROOT / "benchmarks", ROOT / "tests"))

import numpy as np  # noqa: E402
from access_cost import measure_access  # noqa: E402
from harness.model import PRODUCT, make_models  # noqa: E402
from harness.servers import Row  # noqa: E402
from support.packages import release_package  # noqa: E402
from support.service import Service  # noqa: E402

from beacon_core.domain.ids import new_id, new_ids  # noqa: E402
from beacon_core.domain.product import Product  # noqa: E402
from beacon_core.model_package.release import read_release  # noqa: E402
from beacon_core.observability import metrics  # noqa: E402
from beacon_core.platform.product_file import load_product  # noqa: E402
from beacon_core.platform.settings import Settings, load_settings  # noqa: E402
from beacon_inference.app import create  # noqa: E402
from beacon_inference.models.model import load_model  # noqa: E402
from beacon_inference.prediction_log.database import Database  # noqa: E402
from beacon_inference.prediction_log.record import Record  # noqa: E402

ROUNDS = 5
ROWS_A_ROUND = 10_000
ROWS_A_COMMIT = 300


def main() -> None:
    """Measure the parts and print them."""
    product = load_product(load_settings().product)
    models = make_models()
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Path(folder) / name for name in (*models, "a linear model")}
        for name, model in models.items():
            shutil.copytree(model.home, homes[name])
        release_package(homes["a linear model"], product)
        rows = models[PRODUCT].rows
        settings = {name: Settings(home=home, product=product.file, access_log=False) for name, home in homes.items()}
        for name, own in settings.items():
            print(models[name].title if name in models else name)
            with Service(create(own)) as service:
                for count in (1, 100, 1000):
                    answering, shipping = serve(service, rows[:count])
                    print(f"  {count:5} rows a request: {answering:6.1f} to answer, {shipping:5.1f} to ship")
        print("alone")
        for name, model in models.items():
            print(f"  the model, 1,000 rows, {model.title}: {predict(settings[name], product, rows):6.1f}")
        print(f"  SQLite, {ROWS_A_COMMIT} rows a commit: {insert(settings[PRODUCT], product, rows):6.1f}")
        measure_access(Path(folder))


def serve(service: Service, rows: Sequence[Row]) -> tuple[float, float]:
    """Microseconds a row: of the event loop, and of the threads that ship what it answered."""
    path, body = "/v1/predict/batch", json.dumps({"rows": [{"features": row} for row in rows]}).encode()
    if len(rows) == 1:
        path, body = "/v1/predict", json.dumps({"features": rows[0]}).encode()
    requests = ROWS_A_ROUND // len(rows)
    answering, shipping = [], []
    for _ in range(ROUNDS):
        thread, process = time.thread_time(), time.process_time()
        for _ in range(requests):
            assert service.post(path, body).status == 200
        answering.append((time.thread_time() - thread) / ROWS_A_ROUND * 1e6)
        service.until(lambda: not service.metrics()[metrics.SPOOL_RECORDS.name], "all is shipped")
        others = (time.process_time() - process) - (time.thread_time() - thread)
        shipping.append(others / ROWS_A_ROUND * 1e6)
    return min(answering), min(shipping)


def predict(settings: Settings, product: Product, rows: Sequence[Row]) -> float:
    """Microseconds a row of the model, asked for all rows at once."""
    model = load_model(settings.models_dir, read_release(settings.release_file).model, product)
    matrix = np.array([[row[name] for name in product.feature_names] for row in rows])
    took = []
    for _ in range(ROUNDS * 10):
        began = time.thread_time()
        model.predict(matrix)
        took.append(time.thread_time() - began)
    return min(took) / len(rows) * 1e6


def insert(settings: Settings, product: Product, rows: Sequence[Row]) -> float:
    """Microseconds a row of the database, with nothing else on the core."""
    database = Database(f"sqlite:///{settings.home / 'alone.db'}", product.feature_names)
    took = []
    for _ in range(ROUNDS):
        records = [_record(rows[number % len(rows)], product) for number in range(ROWS_A_ROUND)]
        began = time.thread_time()
        for first in range(0, ROWS_A_ROUND, ROWS_A_COMMIT):
            database.insert(records[first : first + ROWS_A_COMMIT])
        took.append(time.thread_time() - began)
    database.close()
    return min(took) / ROWS_A_ROUND * 1e6


def _record(row: Row, product: Product) -> Record:
    names = product.feature_names
    features = [[row[name] for name in names]]
    name = new_id()
    return Record(new_ids(1), time.time(), names, features, [22.1], [20.1], [24.9], "1", "a" * 64, 1e-4, name, name)


if __name__ == "__main__":
    main()
