"""The prediction log on PostgreSQL: shipped, down, killed in the middle of a batch, and hung."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from msgspec import structs
from sqlalchemy import text
from support.load import PREDICT, start_loads, under_load
from support.postgres import Postgres, postgres_with_roles
from support.server import Server, serving
from support.settings import Settings
from support.waiting import until

from beacon_core.data.database import open_store
from beacon_core.platform.product_file import load_product
from beacon_core.spool.record import Record
from beacon_prediction_log.database import Database

ROLE = "beacon_prediction_log"
HUNG_SECONDS = 8.0
# For sixty thousand records.
LONG_SECONDS = 200.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres_with_roles() as running:
        yield running


@pytest.fixture
def database(cluster: Postgres) -> Postgres:
    """The cluster, with empty tables."""
    if not cluster.running:
        cluster.start()
    cluster.query("DELETE FROM predictions")
    cluster.query("DELETE FROM actuals")
    cluster.query("DELETE FROM traffic")
    return cluster


@pytest.fixture
def server(home: Path, database: Postgres) -> Iterator[Server]:
    with serving(home, access_log="false", database_url=database.url_of(ROLE)) as running:
        yield running


def log_metrics(server: Server) -> dict[str, float]:
    assert server.log_process is not None
    found = server.log_process.metrics()
    start = "beacon_prediction_log_"
    return {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}


def shipped(server: Server) -> bool:
    return log_metrics(server)["spool_records"] == 0


def recorded(database: Postgres) -> list[str]:
    return [name for (name,) in database.query("SELECT id FROM predictions")]


def counted(database: Postgres) -> int:
    """How many predictions the console will say there are."""
    return int(database.query("SELECT coalesce(sum(predictions), 0) FROM traffic")[0][0])


def predict(server: Server, row: dict[str, float], **more: str) -> httpx.Response:
    return httpx.post(f"{server.address}{PREDICT}", json={"features": row, **more}, timeout=30)


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.address}{path}", timeout=30)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_prediction_and_its_actual_come_back_out_of_postgres(
    server: Server, database: Postgres, row: dict[str, float]
) -> None:
    some = {name: value for name, value in row.items() if name != "RM"}
    predict(server, some | {"LSTAT": 99.0}, prediction_id="k")
    before = get(server, "/v1/predictions/k").json()
    until(lambda: shipped(server), "the record is in the database")
    after = get(server, "/v1/predictions/k").json()
    assert after == before
    assert (after["imputed"], after["out_of_range"]) == (["RM"], ["LSTAT"])
    assert recorded(database) == ["k"]
    assert predict(server, some | {"LSTAT": 99.0}, prediction_id="k").json()["prediction_id"] == "k"
    assert code(predict(server, row, prediction_id="k")) == (422, "idempotency_conflict")

    actual = {"prediction_id": "k", "value": 21.5, "observed_at": datetime.now(UTC).isoformat()}
    for value, outcome in ((21.5, "accepted"), (21.5, "duplicate"), (22, "corrected")):
        kept = httpx.post(f"{server.address}/v1/actuals", json=actual | {"value": value})
        assert kept.json()["outcomes"] == [outcome]
    assert get(server, "/v1/predictions/k").json()["actual"]["value"] == 22
    assert server.stop() == 0


def test_a_record_with_every_column_survives_the_table(database: Postgres) -> None:
    names = load_product(Settings().product).feature_names
    odd = Record(
        ids=["quote'\"\\", "plain"],
        time=1_700_000_000.123456,
        names=names,
        features=[[0.1 + 0.2, None, 4.0, *[2.0] * 9], [1e-7, *[3.5] * 11]],
        from_store={0: [2]},
        prediction=[21.50001, 0.1],
        low=[18.5, 0.0],
        high=[25.5, 1e300],
        version="1",
        sha256="a" * 64,
        latency=0.001,
        request_id="%s ° {}",
        trace_id="0" * 32,
        out_of_range={0: [0, 3]},
        entities=["17", None],
        shadow_version="2",
        shadow=[3.5, -1.0],
        input_digests=["b" * 64, None],
        client="web-shop",
    )
    ours = Database(database.url_of(ROLE), names)
    ours.insert([odd])
    ours.insert([odd])
    found = ours.find(odd.ids)
    ours.close()
    wanted = [odd.take([0]), odd.take([1])]
    assert found[odd.ids[0]] == wanted[0]
    # What says nothing of a row is not kept with it.
    assert found["plain"] == structs.replace(wanted[1], entities=None, input_digests=None)
    assert recorded(database) == odd.ids


def test_while_postgres_is_down_no_prediction_fails_and_none_is_lost(
    server: Server, database: Postgres, row: dict[str, float]
) -> None:
    predict(server, row, prediction_id="before")
    until(lambda: shipped(server), "the first record is in the database")
    with under_load(server.address, row) as loads:
        loads.wait_for(20)
        database.kill()
        predict(server, row, prediction_id="during")
        loads.wait_for(200)
        until(lambda: log_metrics(server)["ship_failures_total"] > 0, "the shipper has met it")
        assert get(server, "/readyz").status_code == 200
        assert get(server, "/v1/predictions/during").json()["prediction_id"] == "during"
        assert predict(server, row, prediction_id="during").status_code == 200
        for name in ("before", "nobody"):  # only the database could tell
            answer = get(server, f"/v1/predictions/{name}")
            assert code(answer) == (503, "prediction_log_unavailable")
            assert answer.headers["retry-after"] == "1"
        actual = {"prediction_id": "during", "value": 20}
        assert code(httpx.post(f"{server.address}/v1/actuals", json=actual)) == (503, "prediction_log_unavailable")
        database.start()
        loads.wait_for(20)
    ended = time.monotonic()
    until(lambda: shipped(server), "the spool is shipped once the database is back")
    drained = time.monotonic() - ended
    acknowledged = [*loads.acknowledged, "before", "during"]
    found = recorded(database)
    print(f"acknowledged {len(acknowledged)}, in PostgreSQL {len(found)}, drained {drained:.1f} s after the load")
    assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
    assert sorted(found) == sorted(acknowledged)
    assert counted(database) == len(found)
    assert httpx.post(f"{server.address}/v1/actuals", json=actual).status_code == 200


def test_a_server_starts_and_serves_without_its_database(home: Path, database: Postgres, row: dict[str, float]) -> None:
    database.kill()
    with serving(home, access_log="false", database_url=database.url_of(ROLE)) as server:
        for number in range(50):
            assert predict(server, row, prediction_id=f"k-{number}").headers["beacon-logged"] == "true"
        assert server.stop() == 0
        database.start()
        server.start()
        until(lambda: shipped(server), "the next process ships what the first one left")
    assert sorted(recorded(database)) == sorted(f"k-{number}" for number in range(50))


def test_postgres_killed_again_and_again_in_the_middle_of_a_batch(
    server: Server, database: Postgres, row: dict[str, float]
) -> None:
    database.kill()
    names = []
    for number in range(60):
        rows = [{"features": row, "prediction_id": f"k-{number}-{each}"} for each in range(1000)]
        answer = httpx.post(f"{server.address}/v1/predict/batch", json={"rows": rows}, timeout=60)
        assert answer.headers["beacon-logged"] == "true"
        names += [each["prediction_id"] for each in rows]
    kills = in_between = 0
    while not shipped(server) and kills < 4:
        before = log_metrics(server)["shipped_total"]
        database.start()
        until(lambda before=before: log_metrics(server)["shipped_total"] > before, "a batch is in")  # type: ignore[misc]
        database.kill()
        kills += 1
        in_between += log_metrics(server)["spool_records"] > 0
    database.start()
    until(lambda: shipped(server), "everything is shipped", LONG_SECONDS)
    found = recorded(database)
    print(f"kills {kills}, of them {in_between} before all was shipped; {len(found)} of {len(names)} records")
    assert in_between >= 1
    assert sorted(found) == sorted(names)
    assert counted(database) == len(names)


def test_a_postgres_that_hangs_holds_up_nothing_but_what_asks_it(
    server: Server, database: Postgres, row: dict[str, float]
) -> None:
    predict(server, row, prediction_id="before")
    until(lambda: shipped(server), "the first record is in the database")
    database.hang()
    try:
        # Readers of the log may have to wait; more of them than there are threads must not take health with them.
        readers = [httpx.Client(base_url=server.address, timeout=HUNG_SECONDS) for _ in range(30)]
        loads = start_loads(server.address, row)
        waiting = [_in_background(reader, "/v1/predictions/before") for reader in readers]
        loads.wait_for(20)
        assert get(server, "/readyz").status_code == 200
        assert get(server, "/livez").status_code == 200
        assert any(reader.is_alive() for reader in waiting), "health waited for the readers"
        loads.wait_for(20)
        loads.end()
        for thread in waiting:
            thread.join()
    finally:
        database.go_on()
    assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
    until(lambda: shipped(server), "the spool is shipped")
    assert sorted(recorded(database)) == sorted([*loads.acknowledged, "before"])


def test_writers_at_the_same_time_count_every_row_once(database: Postgres) -> None:
    statement = """
        INSERT INTO predictions (id, time, features, imputed, out_of_range, prediction, low, high, model_version,
            model_sha256, latency_seconds, request_id)
        SELECT 'p' || n, timestamptz '2026-03-02 12:59:59+00' + (n % 4) * interval '1 second', '{}', '[]', '[]',
            20, 17, 24, '1', 'x', 0.001, 'r'
        FROM generate_series(CAST(:first AS int), CAST(:first AS int) + 49) n ON CONFLICT (id) DO NOTHING"""
    engine = open_store(database.url)

    def write(place: int) -> None:
        for first in range(0, 2000, 50):  # every writer all rows, each at another place
            with engine.begin() as connection:
                connection.execute(text(statement), {"first": (first + place * 500) % 2000})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    engine.dispose()
    found = database.query("SELECT hour AT TIME ZONE 'UTC', sum(predictions) FROM traffic GROUP BY 1 ORDER BY 1")
    assert [(hour.hour, int(count)) for hour, count in found] == [(12, 500), (13, 1500)]


def _in_background(client: httpx.Client, path: str) -> threading.Thread:
    def ask() -> None:
        with contextlib.suppress(httpx.TransportError):
            client.get(path)
        client.close()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread
