"""Products with keys, times and types of every kind, in both online stores: written, read, pushed and trained alike."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.feature_server_utils import convert_response_to_dict
from support.data_files import data_path
from support.feature_homes import Features, feature_home, features_of
from support.feature_products import FIRST, LONG, ROWS, TableProduct, composite, mixed
from support.features import as_we_word_it, by_name
from support.settings import Settings

from beacon_core.feature_store import definitions, materialization, online, repo
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.feature_store.stored_view import stored_view
from beacon_retraining.data.history import base_rows
from beacon_retraining.data.offline import write_offline

pytestmark = pytest.mark.xdist_group("features")
DAY = timedelta(days=1)


def fill(settings: Settings, table: TableProduct) -> None:
    write_offline(settings, table.product, table.rows, datetime.now(UTC))
    repo.apply(settings, table.product)
    repo.materialize(settings, table.product)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["mixed", "composite"])
def table(request: pytest.FixtureRequest) -> TableProduct:
    return mixed() if request.param == "mixed" else composite()


@pytest.fixture(scope="module")
def settings(table: TableProduct, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of each kind that has the table."""
    with feature_home(tmp_path_factory.mktemp("home"), store) as settings:
        fill(settings, table)
        yield settings


@pytest.fixture(scope="module")
def features(settings: Settings, table: TableProduct) -> Iterator[Features]:
    with features_of(settings, table.product) as running:
        yield running


def newest(table: TableProduct) -> pd.DataFrame:
    """The last row of each entity."""
    return table.rows.drop_duplicates(list(table.product.keys), keep="last")


def ask(features: Features, keys: dict[str, list[Any]], **more: Any) -> Any:
    body = {"feature_service": features.product.feature_service, "entities": keys} | more
    return features.service.post("/get-online-features", body)


def values(features: Features, keys: dict[str, list[Any]]) -> dict[str, list[Any]]:
    answer = ask(features, keys)
    assert answer.status == 200, answer.json()
    return {name: column[0] for name, column in by_name(answer.json()).items()}


def test_each_value_is_served_as_clients_have_it(features: Features, table: TableProduct) -> None:
    rows = newest(table)
    found = values(features, {key: rows[key].tolist() for key in table.product.keys})
    for feature in table.product.features:
        if feature.lag is None:
            wanted = [_json(value, feature.type) for value in rows[feature.name]]
            assert found[feature.name] == wanted, feature.name
            assert [type(value) for value in found[feature.name]] == [type(value) for value in wanted], feature.name


def _json(value: Any, kind: str) -> Any:
    if pd.isna(value):
        return None
    if kind == "date":
        return value.date().isoformat()
    if kind == "timestamp":
        return value.isoformat().replace("+00:00", "Z")
    return {"bool": bool, "int": int}.get(kind, lambda same: same)(value)


def test_the_answer_is_what_feasts_own_client_reads(
    features: Features, table: TableProduct, settings: Settings
) -> None:
    rows = newest(table).head(7)
    keys: dict[str, list[Any]] = {key: [*rows[key].tolist(), rows[key].tolist()[0]] for key in table.product.keys}
    keys[table.product.keys[-1]][-1] = "nobody"
    sdk = repo.open_store(settings)
    theirs = sdk.get_online_features(sdk.get_feature_service(table.product.feature_service), keys)
    ours = ask(features, keys)
    assert by_name(ours.json()) == as_we_word_it(by_name(convert_response_to_dict(theirs.proto)))


def test_the_stores_hold_the_bytes_that_feast_writes(
    features: Features, table: TableProduct, settings: Settings
) -> None:
    """Read by Feast after Feast's own write of the same rows, into the same place."""
    rows = newest(table).head(3)
    keys = {key: rows[key].tolist() for key in table.product.keys}
    before = values(features, keys)
    sdk = repo.open_store(settings)
    frame = rows.reset_index(drop=True).assign(**{EVENT_TIME: datetime.now(UTC), CREATED_TIME: datetime.now(UTC)})
    view = sdk.get_feature_view(definitions.view_name(table.product))
    for field in view.features:
        frame[field.name] = before[field.name]
    frame["open" if "open" in frame else "is new"] = frame["open" if "open" in frame else "is new"].astype(object)
    sdk.write_to_online_store(view.name, frame)
    assert values(features, keys) == before


def test_training_reads_the_rows_of_the_table(features: Features, table: TableProduct, settings: Settings) -> None:
    base = base_rows(settings, table.product)
    assert len(base) == ROWS
    order = [*table.product.keys] + (["at"] if "at" in table.rows else [])
    wanted = table.rows.sort_values(order, kind="stable").reset_index(drop=True)
    found = base.reset_index(drop=True)
    for name in (*table.product.keys, *table.product.feature_names, "price"):
        if name in wanted:
            assert found[name].isna().tolist() == wanted[name].isna().tolist(), name
            assert found[name].dropna().tolist() == wanted[name].dropna().tolist(), name
    if "at" in wanted:
        assert found[EVENT_TIME].tolist() == wanted["at"].tolist()


def test_a_push_is_served_and_trained_on_with_every_type(
    features: Features, table: TableProduct, settings: Settings
) -> None:
    product = table.product
    key: dict[str, list[Any]] = (
        {"sku": ["  new "]} if product.keys == ("sku",) else {"store": [-(2**63)], "sku": ["x,y"]}
    )
    row: dict[str, list[Any]] = {**key, EVENT_TIME: [datetime.now(UTC).isoformat()]}
    for feature in product.features:
        if feature.lag is None:
            row[feature.name] = [feature.example]
    answer = features.push(row)
    assert answer.status == 200, answer.json()
    found = values(features, key)
    assert {name: found[name] for name in row if name not in {*key, EVENT_TIME}} == {
        name: given for name, given in row.items() if name not in {*key, EVENT_TIME}
    }
    stored = pq.read_table(data_path(settings)).slice(ROWS)
    assert {name: stored[name].to_pylist() for name in key} == {
        name: [value[0].strip() if isinstance(value[0], str) else value[0]] for name, value in key.items()
    }
    moments = stored.select([*key]).append_column(EVENT_TIME, pa.array([datetime.now(UTC)]))
    known = repo.known_at(settings, product, moments)
    assert known[product.feature_names[0]].to_pylist() == row[product.feature_names[0]]


BAD = {
    "mixed": {
        "size (cm)": ("x", "must be a number"),
        "count.of-parts": (1.5, "whole"),
        "is new": ("yes", "true or false"),
        "größe": (7, "must be text"),
        "grade": (3, "must be one of 1, 2, 5"),
        "1st day": ("31.1.2026", "must be a date"),
        "seen": ("2026-01-31T12:00:00", "time zone"),
        "must": (None, "must not be null"),
        "sku": (5, "must be a string"),
        "mean size": (5.0, "is computed from size (cm)"),
    },
    "composite": {
        "kind": ("c", "must be one of a, b"),
        "store": (2**63, "does not fit INT64"),
        "sku": (7, "must be a string"),
        "size": (True, "not a boolean"),
    },
}


def test_a_push_that_breaks_a_rule_names_column_row_and_rule(features: Features, table: TableProduct) -> None:
    product = table.product
    good: dict[str, list[Any]] = {EVENT_TIME: [datetime.now(UTC).isoformat()]}
    good |= {name: ["a" if name == "sku" else 1] for name in product.keys}
    good |= {feature.name: [feature.example] for feature in product.features if feature.lag is None}
    for name, (value, rule) in BAD["mixed" if product.keys == ("sku",) else "composite"].items():
        answer = features.push(good | {name: [value]})
        assert answer.status == 422, name
        message = json.loads(answer.json())["message"]
        assert name in message
        assert rule in message


def test_a_key_of_another_type_is_refused(features: Features, table: TableProduct) -> None:
    for key in table.product.keys:
        whole: dict[str, list[Any]] = {name: ["x" if name == "sku" else 1] for name in table.product.keys}
        wrong = ask(features, whole | {key: [1.5]})
        assert wrong.status == 422
        assert key in json.loads(wrong.json())["message"]
        assert (
            ask(features, {name: cell for name, cell in whole.items() if name != key} or {"other": [1]}).status == 422
        )


class TestPast:
    """Figures of an entity's own past."""

    @pytest.fixture
    def empty(self, store: str, tmp_path: Path) -> Iterator[Settings]:
        with feature_home(tmp_path, store) as settings:
            yield settings

    def test_a_lag_is_of_the_days_before_and_equal_in_training_and_by_hand(self, empty: Settings) -> None:
        table = mixed()
        fill(empty, table)
        base = base_rows(empty, table.product).sort_values(EVENT_TIME)
        for row, (mean, last) in enumerate(zip(base["mean size"], base["last price"], strict=True)):
            before = [1.25 * other for other in (row - 10, row - 20, row - 30) if other >= 0 and other != 3]
            assert (mean == pytest.approx(sum(before) / len(before))) if before else pd.isna(mean)
            assert pd.isna(last)  # the row before is ten days old, the window has nine

    def test_a_lag_is_served_as_of_now_and_moves_with_time(self, empty: Settings) -> None:
        table = mixed()
        recent = pd.Series([datetime.now(UTC).replace(microsecond=0) - DAY * (ROWS - row) for row in range(ROWS)])
        table = table._replace(rows=table.rows.assign(at=recent.astype("datetime64[us, UTC]")))
        fill(empty, table)
        with features_of(empty, table.product) as features:
            found = values(features, {"sku": ["S 9-ü", "S 3-ü", "S 0-ü"]})
            assert found["mean size"] == [
                1.25 * (39 + 29 + 19) / 3,
                1.25 * (33 + 23 + 13) / 3,
                1.25 * (30 + 20) / 2,  # row 10 is just older than 30 days
            ]
            assert found["last price"] == [139.0, 133.0, None]
            row: dict[str, list[Any]] = {
                "sku": ["S 9-ü"],
                EVENT_TIME: [datetime.now(UTC).isoformat()],
                "size (cm)": [100.0],
            }
            row |= {f.name: [f.example] for f in table.product.features if f.lag is None and f.name not in row}
            assert features.push(row).status == 200
            served = values(features, {"sku": ["S 9-ü"]})
            assert served["mean size"] == [(1.25 * (39 + 29 + 19) + 100) / 4]

    def test_moments_of_the_past_see_only_what_had_arrived(self, empty: Settings) -> None:
        table = mixed()
        fill(empty, table)
        late = datetime.now(UTC)
        moments = pa.table({"sku": ["S 9-ü"] * 2, EVENT_TIME: [FIRST + 39.5 * DAY, late]})
        known = repo.known_at(empty, table.product, moments)
        assert known["must"].to_pylist() == [None, 39.0]  # the file was read just now
        anyway = repo.features_at(empty, table.product, moments, as_known=False)
        assert anyway["must"].to_pylist() == [39.0, 39.0]


class TestTimeToLive:
    """Rows without a time of their own do not age, others do."""

    def test_undated_rows_are_online_whatever_the_ttl(self, features: Features, table: TableProduct) -> None:
        if table.product.time.event is not None:
            pytest.skip("has times")
        assert table.product.features_ttl_days == 1
        assert values(features, {"store": [LONG], "sku": ["0"]})["size"] == [0.0]

    def test_dated_rows_age(self, store: str, tmp_path: Path) -> None:
        table = mixed()
        product = msgspec.structs.replace(table.product, features_ttl_days=1)
        with feature_home(tmp_path, store) as settings:
            rows = table.rows.assign(at=pd.Series([FIRST + DAY * row for row in range(ROWS)]))
            fill(settings, TableProduct(product, rows))
            with features_of(settings, product) as running:
                assert set(values(running, {"sku": ["S 9-ü"]})["must"]) == {None}


def test_a_new_and_a_removed_feature_leave_the_view_working(store: str, tmp_path: Path) -> None:
    table = composite()
    features = table.product.features
    (extra,) = (feature for feature in mixed().product.features if feature.name == "owner")
    with feature_home(tmp_path, store) as settings:
        fill(settings, table)
        wider = msgspec.structs.replace(table.product, features=(*features[1:], extra))
        repo.apply(settings, wider)
        repo.materialize(settings, wider, everything=True)
        with features_of(settings, wider) as running:
            found = values(running, {"store": [LONG], "sku": ["0"]})
            assert (found["open"], found["owner"]) == ([True], [None])
            fill(settings, TableProduct(wider, table.rows.assign(owner="me").drop(columns="size")))
            assert values(running, {"store": [LONG], "sku": ["0"]})["owner"] == ["me"]
            row: dict[str, list[Any]] = {"store": [1], "sku": ["0"], "open": [None], "kind": ["a"], "owner": ["you"]}
            assert running.push(row | {EVENT_TIME: [datetime.now(UTC).isoformat()]}).status == 200


def test_a_batch_of_any_size_is_written(
    features: Features, table: TableProduct, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """In small batches the same comes online as in large ones."""
    keys = {key: newest(table)[key].tolist() for key in table.product.keys}
    before = values(features, keys)
    monkeypatch.setattr(materialization, "MOST_VALUES", 1)
    monkeypatch.setattr(materialization, "BATCH_ROWS", 7)
    monkeypatch.setattr(online, "BATCH_ROWS", 3)
    monkeypatch.setattr(online, "FEATURES_PER_STATEMENT", 2)
    repo.materialize(settings, table.product, everything=True)
    assert values(features, keys) == before


def test_rows_are_written_in_the_order_of_their_keys(
    store: str, table: TableProduct, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any other order SQLite needs minutes for some hundred thousand entities."""
    if store != "sqlite":
        pytest.skip("SQLite alone keeps its rows in an order")
    written: list[list[bytes]] = []

    def watch(_store: Any, view: Any, rows: pa.Table) -> None:
        written.append(online.encoded_keys(view, stored_view(view), rows))

    monkeypatch.setattr(materialization, "write_online", watch)
    repo.materialize(settings, table.product, everything=True)
    keys = [key for batch in written for key in batch]
    assert len(keys) > 1
    assert keys == sorted(keys)
