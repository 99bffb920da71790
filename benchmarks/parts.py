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
from support.logged_inference import create  # noqa: E402
from support.packages import release_package  # noqa: E402
from support.service import Service  # noqa: E402

from beacon_core.domain.ids import new_id, new_ids  # noqa: E402
from beacon_core.domain.product import Product  # noqa: E402
from beacon_core.model_package.release import read_release  # noqa: E402
from beacon_core.observability import metrics  # noqa: E402
from beacon_core.platform.product_file import load_product  # noqa: E402
from beacon_core.platform.settings import Settings, load_settings  # noqa: E402
from beacon_core.spool.block import block_of  # noqa: E402
from beacon_core.spool.record import Record  # noqa: E402
from beacon_inference.matrix import Matrix  # noqa: E402
from beacon_inference.models.model import load_model  # noqa: E402
from beacon_prediction_log.database import Database  # noqa: E402

ROUNDS = 5
ROWS_A_ROUND = 10_000
ROWS_A_COMMIT = 300


def main() -> None:
    """Measure the parts and print them."""
    product = load_product(load_settings().product)
    models = make_models().compared
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
        for count in (1, 1000):
            took = insert(settings[PRODUCT], product, rows, count)
            print(f"  SQLite, {count:5} rows a request: {took:6.1f}")
        print("knowing a client, us")
        for cost in measure_access(Path(folder)):
            new = f", new: {cost.first:.1f}" if cost.first is not None else ""
            print(f"  {cost.what}: {cost.microseconds:.1f} (at most {cost.most:g}){new}")


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
        service.until(lambda: not service.app.log_metrics()[metrics.SPOOL_RECORDS.name], "all is shipped")
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


def insert(settings: Settings, product: Product, rows: Sequence[Row], count: int) -> float:
    """Microseconds a row of the database, with nothing else on the core: `ROWS_A_COMMIT`, or whole requests."""
    database = Database(f"sqlite:///{settings.home / 'alone.db'}", product.feature_names)
    took = []
    for _ in range(ROUNDS):
        matrix = np.array([[row[name] for name in product.feature_names] for row in rows])
        records = [_record(matrix, number % len(rows), count, product) for number in range(ROWS_A_ROUND // count)]
        at_once = max(1, ROWS_A_COMMIT // count)
        began = time.thread_time()
        for first in range(0, len(records), at_once):
            database.insert(records[first : first + at_once])
        took.append(time.thread_time() - began)
    database.close()
    return min(took) / ROWS_A_ROUND * 1e6


def _record(matrix: Matrix, first: int, count: int, product: Product) -> Record:
    some = matrix[first : first + count] if count == 1 else matrix[:count]
    features = some.tolist() if count == 1 else block_of(some, ())
    name, values = new_id(), [22.1] * count
    return Record(
        new_ids(count), time.time(), product.feature_names, features, values, [20.1] * count, [24.9] * count,
        "1", "a" * 64, 1e-4, name, name,
    )  # fmt: skip


if __name__ == "__main__":
    main()
