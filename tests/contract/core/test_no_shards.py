"""A store that several processes of drift profiling shared, before one engine did their work: what they left goes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text
from support.traffic import EPOCH, HOUR, World

from beacon_core.data import watermarks as marks
from beacon_core.data.database import migrate
from beacon_core.data.tables import profiles, watermarks
from beacon_core.domain.product import Product

HOURS = 4
SHARDS = 2
ALL = "profile"


@pytest.fixture
def world(engine: Engine, tmp_path: Path, product: Product) -> Iterator[World]:
    made = World(tmp_path / "home", product, database_url=engine.url.render_as_string(hide_password=False))
    made.release()
    for hour in range(HOURS):
        made.log_rows(made.draw(50), hour)
    made.run(HOURS)
    yield made
    made.engine.dispose()


def leave_shards(world: World, slices: list[int]) -> None:
    """What shards leave: their watermarks, and of these hours slices that a killed run did not join."""
    with world.engine.begin() as connection:
        mark = marks.read(connection, ALL)
        for index in range(SHARDS):
            marks.write(connection, f"{ALL}/{index}/{SHARDS}", mark)
        for hour in (EPOCH + number * HOUR for number in slices):
            connection.execute(delete(profiles).where(profiles.c.hour == hour))
            row = {"model_version": "1", "hour": hour, "rows": 25, "bytes": b"", "sums": {}, "profiled_at": hour}
            names = [f"slice/2026030216/{number}/2" for number in range(2)]
            connection.execute(insert(profiles), [row | {"segment": name} for name in names])
        connection.execute(text("UPDATE alembic_version SET version_num = '0003_schema_support'"))


def jobs(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(select(watermarks.c.job)).scalars())


def test_slices_that_were_not_joined_go_and_their_hours_are_profiled_anew(world: World) -> None:
    whole = world.profiles()
    leave_shards(world, slices=[2, 3])
    migrate(world.engine)
    left = world.profiles()
    assert left.items() <= whole.items()
    assert len(left) == HOURS - 2
    assert jobs(world) == [ALL]
    after = world.run(HOURS).profiled
    assert (after.profiles, after.rows) == (2, 100)  # no hour before them is read again
    assert world.profiles() == whole
    with world.engine.connect() as connection:
        assert connection.scalar(select(func.count()).where(profiles.c.segment.startswith("slice/"))) == 0


def test_without_slices_the_watermark_of_all_shards_stays(world: World) -> None:
    leave_shards(world, slices=[])
    with world.engine.connect() as connection:
        before = marks.read(connection, ALL)
    migrate(world.engine)
    with world.engine.connect() as connection:
        assert marks.read(connection, ALL) == before
    assert before.logged_at == EPOCH + (HOURS - 1) * HOUR + timedelta(minutes=1, milliseconds=200)
    assert jobs(world) == [ALL]
