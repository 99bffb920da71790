"""The offline rows are shared: pushes, retraining and readers never lose or half-see each other's rows."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.data_source import PushMode
from support.data_files import data_path, locked
from support.features import frame_of
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_retraining.data.offline import write_offline

pytestmark = pytest.mark.xdist_group("features")
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def settings(tmp_path: Path, product: Product) -> Settings:
    settings = Settings(home=tmp_path)
    write_offline(settings, product, base_rows(product), NOW)
    repo.apply(settings, product)
    return settings


def base_rows(product: Product) -> pd.DataFrame:
    rows = frame_of(product, range(1, 11), NOW, NOW).drop(columns=[definitions.EVENT_TIME, definitions.CREATED_TIME])
    return rows.assign(**{product.target.name: 20.0})


def push(settings: Settings, product: Product, entity: int) -> None:
    row = frame_of(product, [1], NOW, NOW).assign(**{product.entity.key: entity})
    repo.open_store(settings).push(definitions.push_source_name(product), row, to=PushMode.OFFLINE)


def entities(settings: Settings, product: Product) -> list[int]:
    return sorted(pd.read_parquet(data_path(settings))[product.entity.key])


def test_retraining_keeps_what_was_pushed(settings: Settings, product: Product) -> None:
    push(settings, product, 900)
    file = data_path(settings)
    kept = file.read_bytes()
    write_offline(settings, product, base_rows(product), NOW + timedelta(hours=1))
    assert file.read_bytes() == kept  # the same base data: nothing to write

    before = pd.read_parquet(file)
    write_offline(settings, product, base_rows(product).assign(RM=5.0), NOW + timedelta(hours=2))
    after = pd.read_parquet(file)
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)  # nothing is taken away
    assert after.iloc[len(before) :][product.entity.key].tolist() == [*range(1, 11)]
    assert (after.iloc[len(before) :]["RM"] == 5.0).all()


def test_a_repeat_adds_no_row_and_a_change_back_does(settings: Settings, product: Product) -> None:
    """What was said last counts, in the join of training as in the online store."""
    row = frame_of(product, [1], NOW, NOW).assign(**{product.entity.key: 901})
    for number, (rm, rows) in enumerate(((5.0, 1), (5.0, 1), (6.0, 2), (6.0, 2), (5.0, 3), (5.0, 3))):
        created = pd.Timestamp(NOW + timedelta(seconds=number)).as_unit("us")
        told = row.assign(RM=rm, **{definitions.CREATED_TIME: created})
        repo.open_store(settings).push(definitions.push_source_name(product), told, to=PushMode.OFFLINE)
        assert entities(settings, product).count(901) == rows
        moment = pa.table({product.entity.key: [901], definitions.EVENT_TIME: [NOW + timedelta(minutes=1)]})
        assert repo.known_at(settings, product, moment)["RM"].to_pylist() == [rm]


def test_pushes_at_once_lose_no_row_and_readers_see_whole_files(settings: Settings, product: Product) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                with locked(data_path(settings), shared=True):
                    assert pq.read_table(data_path(settings)).num_rows >= 10
            except BaseException as error:  # noqa: BLE001 - told to the test
                failures.append(error)
                return

    def write(first: int) -> None:
        try:
            for entity in range(first, first + 5):
                push(settings, product, entity)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(first,)) for first in (100, 200, 300)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not failures
    pushed = [first + n for first in (100, 200, 300) for n in range(5)]
    assert entities(settings, product) == [*range(1, 11), *pushed]
