"""The log's process with the lake, for real: kill -9, each store away, and the lake alone on a laptop."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.flaky import Flaky
from support.lake_logs import SHIP_SECONDS, ask, failures, in_home, lake_ids, log_of, stop_whole, waiting
from support.load import PREDICT, under_load
from support.logged import logged_ids
from support.postgres import Postgres, postgres
from support.server import serving
from support.settings import Settings
from support.waiting import until

from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log.labels import labelled_predictions
from beacon_core.data.prediction_log.lake import LakePlace
from beacon_core.data.prediction_log.reading import open_log

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("log-process")]
KILLS = int(os.environ.get("BEACON_LAKE_KILLS", "10"))


@pytest.mark.parametrize("stores", ["sql,lake", "lake"])
def test_kill_9_under_load_loses_no_acknowledged_record_and_doubles_none_in_any_store(
    home: Path, row: dict[str, float], stores: str
) -> None:
    chance = random.Random(5)
    with serving(home, access_log="false", log_stores=stores, lake=home / "lake") as server:
        with under_load(server.address, row) as loads:
            for number in range(KILLS):
                loads.wait_for(20 + 13 * (number % 5))
                time.sleep(chance.uniform(0, 2.5))  # the lake's libraries take some of it
                log_of(server).kill()
                loads.wait_for(10)
                log_of(server).start()
            loads.wait_for(20)
        stop_whole(server, home)
    acknowledged = sorted(loads.acknowledged)
    assert (loads.total("failed"), loads.total("broken"), loads.total("unlogged")) == (0, 0, 0)
    found = lake_ids(in_home(home))
    print(f"kills {KILLS}, acknowledged {len(acknowledged)}, in the lake {len(found)}")
    assert found == acknowledged
    assert sorted(logged_ids(home / "beacon.db")) == (acknowledged if stores == "sql,lake" else [])


def test_while_s3_is_away_the_database_goes_on_and_the_lake_loses_nothing(
    home: Path, row: dict[str, float], home_on_s3: tuple[LakePlace, Flaky, dict[str, str]]
) -> None:
    place, state, variables = home_on_s3
    with serving(home, access_log="false", log_stores="sql,lake", lake=place.files, environment=variables) as server:
        ask(server, row, 5)
        until(lambda: waiting(server, "lake") == 0, "the lake has them", SHIP_SECONDS)
        state.refuses_each = 1
        ask(server, row, 7)
        until(lambda: failures(server, "lake") > 0, "it is told", SHIP_SECONDS)
        until(lambda: waiting(server, "sql") == 0, "the database has them all the same")
        assert waiting(server, "lake") == 7
        assert "the lake's files cannot be read or written" in log_of(server).log()
        state.refuses_each = 0
        until(lambda: waiting(server, "lake") == 0, "the lake gets the rest", SHIP_SECONDS)
        stop_whole(server, home)
    assert lake_ids(place) == sorted(logged_ids(home / "beacon.db"))
    assert len(lake_ids(place)) == 12


@pytest.fixture
def catalog() -> Iterator[Postgres]:
    with postgres() as cluster:
        yield cluster


def test_while_the_catalog_is_away_the_database_goes_on_and_the_lake_loses_nothing(
    home: Path, row: dict[str, float], catalog: Postgres
) -> None:
    place = LakePlace(str(home / "lake"), catalog.url)
    with serving(
        home, access_log="false", log_stores="sql,lake", lake=place.files, lake_catalog_url=place.catalog
    ) as server:
        ask(server, row, 3)
        until(lambda: waiting(server, "lake") == 0, "the lake has them", SHIP_SECONDS)
        catalog.kill()
        ask(server, row, 4)
        until(lambda: failures(server, "lake") > 0, "it is told", SHIP_SECONDS)
        until(lambda: waiting(server, "sql") == 0, "the database has them all the same")
        assert "the lake's catalog does not answer" in log_of(server).log()
        log_of(server).kill()  # nor does a new process lose what waits
        log_of(server).start()
        catalog.start()
        until(lambda: waiting(server, "lake") == 0, "the lake gets the rest", SHIP_SECONDS)
        stop_whole(server, home)
    assert lake_ids(place) == sorted(logged_ids(home / "beacon.db"))
    assert len(lake_ids(place)) == 7


def test_a_laptop_with_the_lake_alone(home: Path, row: dict[str, float]) -> None:
    """Predictions are found before and after they are in the lake, with their actuals, and become labels."""
    with serving(home, access_log="false", log_stores="lake", lake=home / "lake") as server:

        def get(path: str) -> httpx.Response:
            return httpx.get(f"{server.address}{path}", timeout=30)

        first, second = ask(server, row, 2)
        mine = {"features": row, "prediction_id": "order-1"}
        answered = httpx.post(f"{server.address}{PREDICT}", json=mine, timeout=30).json()
        assert get(f"/v1/predictions/{first}").status_code == 200
        until(lambda: waiting(server, "lake") == 0, "the lake has them", SHIP_SECONDS)
        log_of(server).kill()
        log_of(server).start()
        for name in (first, second, "order-1"):
            assert get(f"/v1/predictions/{name}").json()["prediction_id"] == name
        assert get("/v1/predictions/unknown").status_code == 404
        again = httpx.post(f"{server.address}{PREDICT}", json=mine, timeout=30)
        assert again.json()["prediction"] == answered["prediction"]
        changed = {"features": row | {next(iter(row)): 0.5}, "prediction_id": "order-1"}
        assert (
            httpx.post(f"{server.address}{PREDICT}", json=changed, timeout=30).json()["code"] == "idempotency_conflict"
        )
        told = {"prediction_id": "order-1", "value": 20.0}
        assert httpx.post(f"{server.address}/v1/actuals", json=told, timeout=30).status_code == 200
        unknown = {"prediction_id": "unknown", "value": 20.0}
        assert httpx.post(f"{server.address}/v1/actuals", json=unknown, timeout=30).status_code == 404
        assert get("/v1/predictions/order-1").json()["actual"]["value"] == 20.0
        stop_whole(server, home)
    assert logged_ids(home / "beacon.db") == []
    assert lake_ids(in_home(home)) == sorted([first, second, "order-1"])
    settings = Settings(home=home, log_stores=("lake",), lake=str(home / "lake"))
    engine = open_log(settings)
    with engine.connect() as connection:
        (label,) = [one for batch in labelled_predictions(connection, EVERYTHING) for one in batch]
    engine.dispose()
    assert (label.id, label.value) == ("order-1", 20.0)
    assert label.features == row
