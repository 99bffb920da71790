"""How long the console's pages take on a store with a million predictions; writes docs/how-to/scaling.md's tables.

Each store is filled in place (SQL, not the shipper): the predictions, and a month of hourly drift runs and jobs. Then
the real console is started and asked, one request after the other. PostgreSQL is asked as it was left, unvacuumed.
"""

import argparse
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, Integer, Interval, Text, bindparam, case, cast, func, insert, literal, select
from support.history import (
    ENTITIES,
    add_actuals,
    add_drift,
    add_job,
    add_request,
    add_verdict,
    high_drift,
    prediction_row,
)
from support.postgres import postgres
from support.server import CONSOLE, Server, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import UtcTime, predictions
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings

DOCUMENT = ROOT / "docs" / "how-to" / "scaling.md"
BEGIN, END = "<!-- front page -->", "<!-- end of front page -->"
ROWS = 1_000_000
SPANS = {"30 days": timedelta(days=30), "one day": timedelta(days=1), "the last half hour": timedelta(minutes=30)}
MAIN_SPAN = "one day"
"""The other pages are measured where the hours are full, too."""
ASKED_OTHERS = 10
PAGES = (
    "/predictions",
    "/predictions?version=1",
    "/predictions?version=2",
    "/predictions?version=2&out_of_range=yes",
    "/predictions?out_of_range=no",
    "/predictions?entity=7",
    "/predictions?actual=yes",
    "/predictions?actual=no&out_of_range=yes",
    "/predictions?error_above=1000000",
    "/predictions?until=2100-01-01&entity=7&version=1",
    "/predictions/p1000",
    "/compare?first=2&second=3",
    "/what-if?from=p1000",
)
"""With filters that an index finds, and with those for which rows are looked at until there are enough."""
SHADOW_SHARE = 5
"""Every fifth prediction has an answer of a shadow, too."""
DRIFT_RUNS = 30 * 24
ASKED = 50
PART = 50_000
LIMIT_SECONDS = 0.2


def main() -> int:
    """Measure; exit 1 when a page took longer than it may."""
    parser = argparse.ArgumentParser(prog="make console-speed", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--no-write", action="store_true", help="leave docs/how-to/scaling.md alone")
    options = parser.parse_args()
    product = load_product(load_settings().product)
    stores = {"SQLite": _sqlite, "PostgreSQL": _postgresql}
    lines, others_lines, slow = [], [], False
    for name, opened in stores.items():
        for span_name, span in SPANS.items():
            with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as url:
                _fill(url, product, options.rows, span)
                first, others, of_pages = _ask(Path(folder), url, product)
            slow |= max(others) > LIMIT_SECONDS or max(max(took) for took in of_pages.values()) > LIMIT_SECONDS
            if span_name == MAIN_SPAN:
                for path, took in of_pages.items():
                    median, slowest = _milliseconds(statistics.median(took)), _milliseconds(max(took))
                    others_lines.append([name, f"`{path}`", median, slowest])
                    print(" | ".join(others_lines[-1]), flush=True)
            figures = [first, statistics.median(others), max(others)]
            lines.append([name, f"{options.rows:,} in {span_name}".replace(",", " "), *map(_milliseconds, figures)])
            print(" | ".join(lines[-1]), flush=True)
    if not options.no_write:
        _publish(lines, others_lines)
    return int(slow)


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'beacon.db'}"


@contextmanager
def _postgresql(_: Path) -> Iterator[str]:
    with postgres() as cluster:
        yield cluster.url


def _fill(url: str, product: Product, rows: int, span: timedelta) -> None:
    engine = open_store(url)
    migrate(engine)
    now = datetime.now(UTC)
    _add_predictions(engine, product, rows, now - span, span / rows)
    add_actuals(engine, product, now, range(1000))
    add_drift(engine, product, DRIFT_RUNS, now, high_drift(product))
    for back in range(DRIFT_RUNS - 1, -1, -1):
        add_job(engine, "drift", now - timedelta(hours=back))
    add_job(engine, "materialize", now)
    add_verdict(engine, product, now)
    add_request(engine, product, now)
    engine.dispose()


def _add_predictions(engine: Engine, product: Product, rows: int, begin: datetime, step: timedelta) -> None:
    """Insert the rows, `step` apart, in the database itself: a million would take minutes from here."""
    counting = select(bindparam("first", type_=Integer).label("n")).cte("counting", recursive=True)
    following = select(counting.c.n + 1).where(counting.c.n < bindparam("last", type_=Integer))
    number = counting.union_all(following).c.n
    made: dict[str, Any] = {
        name: bindparam(name, value, type_=predictions.c[name].type)
        for name, value in prediction_row(product, 0, begin, "2").items()
    }
    made |= {"id": literal("p", Text).concat(cast(number, Text)), "entity": cast(number % ENTITIES + 1, Text)}
    made["time"] = _moment(engine, begin, number, step)
    made["logged_at"] = made["time"]
    made["shadow_version"] = literal("3", Text)
    made["shadow_prediction"] = case((number % SHADOW_SHARE == 0, literal(1.0)), else_=None)
    statement = insert(predictions).from_select(list(made), select(*made.values()))
    for first in range(0, rows, PART):
        with engine.begin() as connection:
            connection.execute(statement, {"first": first, "last": min(first + PART, rows) - 1})


def _moment(engine: Engine, begin: datetime, number: Any, step: timedelta) -> Any:
    if engine.dialect.name == "sqlite":
        seconds = begin.timestamp() + number * step.total_seconds()
        return func.strftime("%Y-%m-%d %H:%M:%f000", seconds, "unixepoch")
    return bindparam("begin", begin, type_=UtcTime) + number * bindparam("step", step, type_=Interval)


def _ask(folder: Path, url: str, product: Product) -> tuple[float, list[float], dict[str, list[float]]]:
    """Seconds of the front page's first answer, of each later one, and of each answer of the other pages by path."""
    with serving(folder, CONSOLE, product=product.file, database_url=url, inference_metrics_url="") as server:
        first, others = _page(server), [_page(server) for _ in range(ASKED)]
        paths = [*PAGES, f"/features/{quote(product.key_features[0], safe='')}"]
        return first, others, {path: [_page(server, path, b"</html>") for _ in range(ASKED_OTHERS)] for path in paths}


def _page(server: Server, path: str = "/", holds: bytes = b"drift is confirmed") -> float:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    page = response.read()
    took = time.perf_counter() - began
    connection.close()
    if response.status != http.client.OK or holds not in page:
        raise SystemExit(f"{path} is not what it should be: {response.status}")
    return took


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _publish(lines: list[list[str]], others: list[list[str]]) -> None:
    table = _table(["store", "predictions", "first page", "median", f"slowest of {ASKED}"], lines)
    table += f"\n\nThe other pages, with the million in {MAIN_SPAN}:\n\n"
    table += _table(["store", "page", "median", f"slowest of {ASKED_OTHERS}"], others)
    table += f"\n\nLoad average at the end: {os.getloadavg()[1]:.0f}, on {os.cpu_count()} cores."
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines])


if __name__ == "__main__":
    sys.exit(main())
