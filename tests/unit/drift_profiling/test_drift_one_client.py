"""Drift that one client alone shows is told, and starts nothing; drift of all requests a retraining."""

from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select
from support.traffic import EPOCH, World

from beacon_core.data import drift_results, profiles, retrain_requests
from beacon_core.data.drift_results import DriftResult
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.tables import profiles as profile_table
from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.policy import Evidence
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_drift_profiling.assessment.results import worst_first
from beacon_drift_profiling.comparison.compare import DISTANCE, OUT_OF_RANGE
from beacon_drift_profiling.profiling.client_rows import MOST_CLIENTS
from beacon_drift_profiling.run import Outcome

SHIFTED = "area"
DAY = 24


@pytest.fixture(scope="module")
def mixed() -> Product:
    return load_product(ROOT / "tests" / "products" / "mixed" / "product.yaml")


@pytest.fixture
def world(tmp_path: Path, mixed: Product) -> World:
    made = World(tmp_path / "home", mixed)
    made.release()
    return made


def odd(world: World, count: int) -> np.ndarray:
    """Rows far outside training's range in one feature."""
    rows = world.draw(count)
    rows[:, world.population.columns.index(SHIFTED)] *= 100
    return rows


def two_runs(world: World, **sent: tuple[int, bool]) -> Outcome:
    """Two runs, so that an alarm is confirmed: before each, clients send so many rows, odd ones or not."""
    for hour in (0, 1):
        for client, (count, is_odd) in sent.items():
            rows = odd(world, count) if is_odd else world.draw(count)
            world.log_rows(rows, hour, client=None if client == ANONYMOUS else client)
        outcome = world.run(hour)
    return outcome


def of(outcome: Outcome, effect: str, window: str = "1d") -> DriftResult:
    return next(
        one
        for one in outcome.run.results
        if (one.feature, one.effect, one.window) == (SHIFTED, effect, window) and one.kind == "data"
    )


def requests(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return retrain_requests.open_causes(connection)


@pytest.mark.parametrize("client", ["gate", ANONYMOUS])
def test_a_flood_of_one_client_is_told_and_starts_nothing(world: World, client: str) -> None:
    outcome = two_runs(world, shop=(150, False), depot=(150, False), **{client: (200, True)})
    assert outcome.run.state == drift_results.DRIFT
    for effect in (DISTANCE, OUT_OF_RANGE):
        found = of(outcome, effect)
        assert found.confirmed, effect
        assert found.details["client"] == client, effect
    assert {alarm.about: alarm.client for alarm in outcome.run.alarms} == {f"drift:{SHIFTED}": client}
    assert f"Only rows of the client {client} show it." in outcome.run.messages[0]
    assert outcome.request.why == f"only rows of one client show it: {client}"
    assert requests(world) == []


@pytest.mark.parametrize(
    "sent",
    [
        {"shop": (150, True), "depot": (150, True), "gate": (200, True)},
        {"shop": (500, True)},
        {ANONYMOUS: (500, True)},
        {"shop": (500, True), "gate": (5, False)},
    ],
    ids=["of all clients", "of the only client", "without any key", "beside too few others"],
)
def test_drift_that_is_the_traffics_requests_a_retraining(world: World, sent: dict[str, tuple[int, bool]]) -> None:
    outcome = two_runs(world, **sent)
    assert outcome.request.why == "requested"
    assert "client" not in of(outcome, OUT_OF_RANGE).details
    assert len(requests(world)) == 1


def test_where_a_day_has_too_few_rows_of_others_a_longer_window_tells(world: World) -> None:
    """Of days that are rolled up, too."""
    for day in (-3, -2, -1):
        world.log_rows(world.draw(100), day * DAY, client="shop")
    outcome = two_runs(world, shop=(10, False), gate=(300, True))
    assert of(outcome, OUT_OF_RANGE).details["client"] == "gate"
    assert requests(world) == []


def test_an_alarm_of_one_client_hides_none_of_all(world: World) -> None:
    """A flood of last week is the larger drift, in a longer window; today's is smaller, and of all."""
    world.log_rows(odd(world, 12000), -10 * DAY, client="gate")
    world.log_rows(world.draw(12000), -10 * DAY, client="shop")
    for hour in (0, 1):
        for client in ("shop", "depot"):
            world.log_rows(world.population.shift(world.draw(100), SHIFTED, 0.7), hour, client=client)
        outcome = world.run(hour)
    worst = next(one for one in worst_first(outcome.run.results) if one.feature == SHIFTED)
    assert (worst.window, worst.details["client"], "client" in of(outcome, DISTANCE).details) == ("30d", "gate", False)
    assert len(requests(world)) == 1


@pytest.mark.parametrize(("others", "asks"), [(150, False), (40, True)])
def test_an_error_that_one_clients_actuals_show_starts_nothing(world: World, others: int, asks: bool) -> None:
    for hour in (0, 1):
        for client, count, off in (("shop", others, 0.0), ("gate", 150, 60.0)):
            rows = world.draw(count)
            ids = world.log_rows(rows, hour, client=client)
            world.report_actuals(ids, rows[:, -1] + off, hour=hour + 0.9)
        outcome = world.run(hour)
    assert outcome.run.state == drift_results.ERROR
    assert [alarm.client for alarm in outcome.run.alarms if alarm.about == "error:mae"] == [None if asks else "gate"]
    assert bool(requests(world)) == asks


def test_a_change_of_the_rule_profiles_the_log_anew(world: World) -> None:
    world.log_rows(world.draw(300), client="shop")
    world.log_rows(world.draw(200))
    world.log_rows(world.draw(100), -2 * DAY)
    assert world.run().run.rows == 600
    policy = msgspec.structs.replace(world.product.policy, evidence=Evidence(clients="keyed"))
    everyone, world.product = world.product, msgspec.structs.replace(world.product, policy=policy)
    assert world.run().run.rows == 300
    world.product = everyone
    assert world.run().run.rows == 600


def test_an_hour_keeps_the_clients_with_the_most_rows(world: World) -> None:
    for number in range(MOST_CLIENTS + 5):
        world.log_rows(world.draw(30 - number), client=f"c{number:02d}")
    world.run()
    with world.engine.connect() as connection:
        _, content = profiles.get(connection, Partition(EPOCH, "1"))
    assert list(content.clients) == [f"c{number:02d}" for number in range(MOST_CLIENTS)]
    assert [rows.sums["rows"] for rows in content.clients.values()] == list(range(30, 30 - MOST_CLIENTS, -1))
    assert sum(content.clients["c00"].bins[SHIFTED]) == 30


def test_profiles_from_before_clients_were_told_apart_are_judged_whole(world: World) -> None:
    outcome = None
    for hour in (0, 1):
        world.log_rows(world.draw(300), hour, client="shop")
        world.log_rows(odd(world, 200), hour, client="gate")
        with world.engine.begin() as connection:
            found = connection.execute(select(profile_table.c.id, profile_table.c.sums)).all()
            for number, sums in found:
                old = {name: value for name, value in sums.items() if name != "clients"}
                connection.execute(profile_table.update().where(profile_table.c.id == number).values(sums=old))
        outcome = world.run(hour)
    assert outcome is not None
    assert of(outcome, OUT_OF_RANGE).confirmed
    assert EPOCH + timedelta(hours=1) in {key[1] for key in world.profiles()}
