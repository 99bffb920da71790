"""The table's rows enter the feature store: keys, times, moves and corrections, each broken rule by its name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from support.data_files import data_path, targets_path
from support.feature_products import FIRST, ROWS, TableProduct, composite, dated, mixed, numbered, without_entity

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product_entry import Times
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import BASE_EVENT_TIME, CREATED_TIME, EVENT_TIME
from beacon_core.platform.settings import Settings
from beacon_retraining.data.history import base_rows, training_rows
from beacon_retraining.data.labels import OBSERVED, PREDICTION, label_columns
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.row_counts import FileChanges

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def written(settings: Settings, table: TableProduct, *, now: datetime = NOW, accept_moved: bool = False) -> FileChanges:
    return write_offline(settings, table.product, table.rows, now, accept_moved=accept_moved)


def stored(settings: Settings) -> pd.DataFrame:
    return pd.read_parquet(data_path(settings))


def sort(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("size").reset_index(drop=True).assign(row=range(1, ROWS + 1))


def drop_first(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[1:].reset_index(drop=True).assign(row=range(1, ROWS))


@pytest.mark.parametrize("move", [sort, drop_first])
def test_a_file_without_a_key_whose_rows_moved_is_refused_and_nothing_is_written(settings: Settings, move: Any) -> None:
    table = numbered()
    written(settings, table)
    before = stored(settings)
    moved = table._replace(rows=move(table.rows))
    with pytest.raises(DataError, match=r"things.csv: \(rows\): the key is the row number \(entity.row_number\)"):
        written(settings, moved, now=LATER)
    pd.testing.assert_frame_equal(stored(settings), before)
    assert pd.read_parquet(targets_path(settings))["price"].tolist() == table.rows["price"].tolist()
    assert written(settings, moved, now=LATER, accept_moved=True).moved > 0


def test_corrected_and_added_rows_are_not_moved(settings: Settings) -> None:
    table = numbered()
    written(settings, table)
    rows = table.rows.copy()
    rows.loc[3, "size"] = 99.5
    rows.loc[5, ["size", "kind"]] = rows.loc[7, ["size", "kind"]].to_numpy()  # as another row is, and stays
    rows.loc[ROWS] = [ROWS + 1, 77.0, "a", 1.0]
    assert written(settings, table._replace(rows=rows), now=LATER) == FileChanges(new=1, changed=2, gone=0, moved=0)


def test_with_a_key_of_its_own_a_file_may_be_sorted(settings: Settings) -> None:
    table = composite()
    written(settings, table)
    before = stored(settings)
    turned = table._replace(rows=table.rows.iloc[::-1].reset_index(drop=True))
    assert written(settings, turned, now=LATER) == FileChanges()
    pd.testing.assert_frame_equal(stored(settings), before)


def test_keys_of_64_bits_and_types_are_kept(settings: Settings) -> None:
    written(settings, composite())
    frame = stored(settings)
    assert frame["store"].tolist() == composite().rows["store"].tolist()
    assert frame["store"].dtype == "int64"
    assert set(frame[EVENT_TIME]) == {pd.Timestamp(BASE_EVENT_TIME)}
    assert set(frame[CREATED_TIME]) == {pd.Timestamp(NOW)}


def test_a_corrected_row_of_a_table_without_times_is_a_second_later(settings: Settings) -> None:
    table = composite()
    written(settings, table)
    rows = table.rows.copy()
    rows.loc[0, "size"] = 50.0
    assert written(settings, table._replace(rows=rows), now=LATER).changed == 1
    last = stored(settings).iloc[-1]
    assert (last["size"], last[EVENT_TIME]) == (50.0, BASE_EVENT_TIME + timedelta(seconds=1))


def test_rows_of_other_times_are_history_and_a_corrected_one_arrives_later(settings: Settings) -> None:
    table = mixed()
    assert written(settings, table) == FileChanges()
    assert stored(settings)[EVENT_TIME].tolist() == table.rows["at"].tolist()
    rows = table.rows.copy()
    rows.loc[4, "must"] = -1.0
    rows = pd.concat([rows.iloc[1:], rows.iloc[[9]].assign(at=rows["at"].max() + timedelta(days=1))])
    assert written(settings, table._replace(rows=rows), now=LATER) == FileChanges(new=1, changed=1, gone=1)
    added = stored(settings).iloc[ROWS:]
    assert added["must"].tolist() == [-1.0, 9.0]
    assert added[EVENT_TIME].iloc[0] == rows["at"].iloc[3]
    assert set(added[CREATED_TIME]) == {pd.Timestamp(LATER)}


def test_the_time_of_arrival_may_be_a_column(settings: Settings) -> None:
    table = mixed()
    product = msgspec.structs.replace(table.product, time=Times(event="at", created="known"))
    rows = table.rows.assign(known=table.rows["at"] + timedelta(hours=3))
    write_offline(settings, product, rows, NOW)
    assert stored(settings)[CREATED_TIME].tolist() == rows["known"].tolist()


BAD_TIMES = {
    "in the future": (NOW + timedelta(days=1), "lies in the future"),
    "before 1970": (datetime(1969, 12, 31, tzinfo=UTC), "lies before 1970"),
    "missing": (None, "must not be missing"),
}


@pytest.mark.parametrize("name", BAD_TIMES)
def test_a_time_that_cannot_be_is_refused_with_its_row(settings: Settings, name: str) -> None:
    time, rule = BAD_TIMES[name]
    table = mixed()
    rows = table.rows.copy()
    rows.loc[6, "at"] = pd.NaT if time is None else pd.Timestamp(time)
    with pytest.raises(DataError, match=f"things.csv: at: {rule}.* in row 7"):
        written(settings, table._replace(rows=rows))
    assert not data_path(settings).exists()


def test_a_key_that_repeats_at_one_time_is_refused_with_its_rows(settings: Settings) -> None:
    table = mixed()
    rows = table.rows.copy()
    rows.loc[10, "at"] = rows.loc[0, "at"]
    with pytest.raises(DataError, match=r"things.csv: sku: an entity has one row per at: S 0-ü at .* is in rows 1, 11"):
        written(settings, table._replace(rows=rows))
    plain = composite()
    double = pd.concat([plain.rows, plain.rows.iloc[[2]]], ignore_index=True)
    with pytest.raises(DataError, match=r"store, sku: an entity has one row where .* is in rows 3, 41"):
        written(settings, plain._replace(rows=double))


def test_a_key_that_is_a_date_is_stored_as_clients_spell_it(settings: Settings) -> None:
    table = dated()
    written(settings, table)
    assert stored(settings)["day"].tolist() == table.rows["day"].dt.strftime("%Y-%m-%d").tolist()
    repo.apply(settings, table.product)
    base = base_rows(settings, table.product)
    assert base["day"].tolist() == table.rows["day"].tolist()
    assert base["size"].tolist() == table.rows["size"].tolist()
    labels = labels_of(table, table.rows.iloc[:3].assign(size=[None, 9.0, None]))
    found = training_rows(settings, table.product, labels).rows
    assert found.loc[found[PREDICTION] != "", "size"].tolist() == [0.0, 9.0, 1.0]


def test_another_key_begins_a_file_of_its_own(settings: Settings) -> None:
    written(settings, numbered())
    written(settings, composite(), now=LATER)
    assert len(stored(settings)) == ROWS
    aside = data_path(settings).with_name("features.former-key.parquet")
    assert pd.read_parquet(aside)["row"].tolist() == list(range(1, ROWS + 1))


def test_a_column_that_changed_its_type_is_converted_or_missing(settings: Settings) -> None:
    table = composite()
    written(settings, table)
    as_text = msgspec.structs.replace(
        table.product,
        schema_version=2,
        features=tuple(
            msgspec.structs.replace(feature, type="category", levels="many", valid=None)
            if feature.name == "size"
            else feature
            for feature in table.product.features
        ),
    )
    rows = table.rows.assign(size=[f"size {row}" for row in range(ROWS)])
    assert write_offline(settings, as_text, rows, LATER).changed == ROWS
    assert stored(settings)["size"].iloc[-1] == f"size {ROWS - 1}"


def labels_of(table: TableProduct, rows: pd.DataFrame) -> pd.DataFrame:
    count = len(rows)
    times = pd.Series([NOW + timedelta(minutes=row) for row in range(count)]).astype("datetime64[us, UTC]")
    given = {PREDICTION: [f"p{row}" for row in range(count)], EVENT_TIME: times, OBSERVED: times}
    return rows.reset_index(drop=True).assign(**given).reindex(columns=label_columns(table.product))


def test_without_an_entity_the_training_rows_are_the_table_and_the_labels(settings: Settings) -> None:
    table = without_entity()
    assert written(settings, table) == FileChanges()
    assert not data_path(settings).exists()
    labels = labels_of(table, table.rows.iloc[:3].assign(price=7.0))
    found = training_rows(settings, table.product, labels)
    assert len(found.rows) == ROWS + 3  # equal features are other rows
    assert found.rows["price"].tolist() == [*table.rows["price"], 7.0, 7.0, 7.0]
    assert set(found.rows[EVENT_TIME][:ROWS]) == {pd.Timestamp(BASE_EVENT_TIME)}


def test_rows_of_one_entity_at_other_times_are_all_trained_on(settings: Settings) -> None:
    table = mixed()
    rows = table.rows.assign(**{"must": 1.0, "size (cm)": 2.0, "grade": 1.0, "owner": "me", "is new": True})
    written(settings, table._replace(rows=rows))
    repo.apply(settings, table.product)
    labels = labels_of(table, rows.iloc[:0])
    assert len(training_rows(settings, table.product, labels).rows) == ROWS
    assert base_rows(settings, table.product)[EVENT_TIME].min() == pd.Timestamp(FIRST)


def test_a_label_gets_what_its_entity_had_by_then(settings: Settings) -> None:
    table = composite()
    written(settings, table, now=NOW - timedelta(days=1))
    repo.apply(settings, table.product)
    rows = table.rows.iloc[:3].assign(size=[None, 5.0, None], open=pd.array([None] * 3, "boolean"), price=1.0)
    labels = labels_of(table, rows).astype({"store": "Int64"})
    labels.loc[2, ["store", "sku"]] = [pd.NA, None]
    found = training_rows(settings, table.product, labels).rows
    production = found[found[PREDICTION] != ""]
    assert production["size"].tolist() == [0.0, 5.0]
    assert production["open"].tolist() == [True, False]
    assert len(found) == ROWS + 2 - 1  # the first case is a row of the table, whose target it replaces
