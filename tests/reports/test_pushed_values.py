"""Pushed values that break product.yaml's rules: refused at every door by field and rule, and never trained on."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pandas as pd
import pytest
from feast.data_source import PushMode
from support.data_files import data_path
from support.feature_homes import Features, feature_home, features_of, fill_from_file, items, offline
from support.labels import Log
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Feature, Product
from beacon_core.feature_store import definitions, repo
from beacon_retraining.data.history import training_rows
from beacon_retraining.data.labels import PREDICTION, read_labels
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts, messages, rows_section

pytestmark = [pytest.mark.xdist_group("data"), pytest.mark.timeout(600)]
NOW = datetime.now(UTC).replace(microsecond=0)
NEW = 7001  # an entity that the data file does not have


@pytest.fixture(scope="module", params=["sqlite, Boston", "redis, items"])
def served(
    request: pytest.FixtureRequest, product: Product, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Features]]:
    """A home filled from its product's data file, and feature serving on it; two products, two stores."""
    store, _, name = request.param.partition(", ")
    home = tmp_path_factory.mktemp("home")
    chosen = product if name == "Boston" else items(home / "product")
    with feature_home(home, store) as settings:
        fill_from_file(settings, chosen)
        with features_of(settings, chosen) as features:
            yield settings, features


def bad_values(feature: Feature) -> dict[str, Any]:
    """Values that break a rule of the feature, by what is wrong with them."""
    bad: dict[str, Any] = {
        "a huge float": 1e300,
        "a huge integer": 2**70,
        "an integer of 400 digits": 10**400,
        "a negative one of 400 digits": -(10**400),
        "text": "6",
        "text for infinity": "inf",
        "empty text": "",
        "a boolean": True,
        "a list": [6],
        "an object": {"value": 6},
    }
    if feature.valid is not None:
        low, high = feature.valid
        bad |= {"above": high + 1, "far above": high * 32.875 + 1, "below": low - 1, "far below": -1e9 - abs(low)}
    if feature.is_category:
        bad |= {"between categories": feature.known_levels[0] + 0.5, "no category": max(feature.known_levels) + 1}
    if feature.type == "int":
        bad |= {"a fraction": feature.example + 0.25}
    if not feature.nullable:
        bad |= {"null": None}
    return bad


def doors(features: Features, df: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    """The answer of every door that takes values."""
    for to in ("online", "offline", "online_and_offline"):
        yield f"/push to {to}", features.push(df, to)
    yield "/write-to-online-store", features.write(df)


def message(answer: Any) -> str:
    return str(json.loads(answer.json())["message"])


def test_each_value_that_breaks_a_rule_is_refused_at_every_door_by_field_and_rule(
    served: tuple[Settings, Features],
) -> None:
    settings, features = served
    before, tried = data_path(settings).read_bytes(), 0
    for feature in features.product.features:
        for what, value in bad_values(feature).items():
            for door, answer in doors(features, features.row(NEW, NOW, **{feature.name: value})):
                assert answer.status == 422, (feature.name, what, door, answer.body)
                assert f"{feature.name}[0]: must " in message(answer), (feature.name, what, door)
                tried += 1
    print(f"{tried} writes refused")
    assert data_path(settings).read_bytes() == before
    assert set(features.read(NEW)[0].values()) == {None}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 5000])
def test_what_json_has_no_number_for_is_refused(served: tuple[Settings, Features], text: str) -> None:
    _, features = served
    name = features.product.feature_names[0]
    df = json.dumps(features.row(NEW, NOW, **{name: "?"})).replace('"?"', text)
    bodies = {
        "/push": f'{{"push_source_name": "{definitions.push_source_name(features.product)}", "df": {df}}}',
        "/write-to-online-store": f'{{"feature_view_name": "{definitions.view_name(features.product)}", "df": {df}}}',
    }
    for path, body in bodies.items():
        answer = features.post(path, body.encode())
        assert answer.status == 422, (path, answer.body)
    assert set(features.read(NEW)[0].values()) == {None}


def test_one_bad_value_keeps_all_rows_out(served: tuple[Settings, Features]) -> None:
    settings, features = served
    before = data_path(settings).read_bytes()
    feature = features.product.features[-1]
    one, two, three = (features.row(NEW + number, NOW) for number in range(3))
    two[feature.name] = [1e300]
    df = {name: [*one[name], *two[name], *three[name]] for name in one}
    for door, answer in doors(features, df):
        assert answer.status == 422, door
        assert f"{feature.name}[1]: must " in message(answer)
    assert data_path(settings).read_bytes() == before
    assert all(set(row.values()) == {None} for row in features.read(NEW, NEW + 1, NEW + 2))


def test_unknown_columns_are_refused(served: tuple[Settings, Features]) -> None:
    _, features = served
    for name in (features.product.target.name, features.product.feature_names[0].lower() + "_", "", "event_time"):
        for door, answer in doors(features, features.row(NEW, NOW, **{name: 1.0})):
            assert answer.status == 422, (name, door)
            assert f"unknown column {name}" in message(answer)


def test_values_at_the_ends_of_the_rules_are_taken(served: tuple[Settings, Features]) -> None:
    settings, features = served
    ends = {
        feature.name: feature.valid or (feature.known_levels[0], feature.known_levels[-1])
        for feature in features.product.features
        if feature.valid or feature.known_levels
    }
    for number, entity in enumerate((NEW + 10, NEW + 11)):
        chosen = {name: pair[number] for name, pair in ends.items()}
        assert features.push(features.row(entity, NOW, **chosen)).status == 200
        assert features.read(entity)[0] == chosen
    nulls = {feature.name: None for feature in features.product.features[1:] if feature.nullable}
    assert features.push(features.row(NEW + 12, NOW, **nulls)).status == 200
    assert len(offline(settings).query(f"{features.product.entity.key} >= {NEW + 10}")) == 3


def test_rules_that_change_hold_with_the_next_apply(served: tuple[Settings, Features]) -> None:
    """Feast takes the new rules into the registry without a new version of the view, or of its online rows."""
    settings, features = served
    product = features.product
    first, *others = product.features
    low, high = first.valid or (0.0, 0.0)
    wider = msgspec.structs.replace(first, valid=(low, high + 10))
    for rules, status in ((wider, 200), (first, 422)):
        repo.apply(settings, msgspec.structs.replace(product, features=(rules, *others)))
        repo.open_store(settings).refresh_registry()
        body = features.row(NEW + 20, NOW, **{first.name: high + 5})
        view = definitions.view_name(product)
        answer = features.post(
            "/write-to-online-store", {"feature_view_name": view, "df": body, "allow_registry_cache": False}
        )
        assert answer.status == status, answer.body
    assert repo.open_store(settings).get_feature_view(view).current_version_number in {0, None}


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_what_lies_in_the_store_and_breaks_a_rule_is_not_trained_on(
    tmp_path_factory: pytest.TempPathFactory, store: str
) -> None:
    """As written by Feast's own SDK, or before rules were held: counted, told, and left out; all others stay."""
    home = tmp_path_factory.mktemp("home")
    product = items(home / "product")
    key, names = product.entity.key, list(product.feature_names)
    with feature_home(home, store) as settings:
        fill_from_file(settings, product)
        bad = {
            101: {"size": 657.5},
            102: {"kind": 4.5},
            103: {"rooms": 1e9, "size": 1e300},
            104: {"size": float("inf")},
        }
        good = {105: {"size": 50.0}, 106: {"size": float("nan")}}
        time = datetime.now(UTC) - timedelta(hours=1)
        example = {feature.name: float(feature.example) for feature in product.features}
        rows = [example | changes | {key: entity} for entity, changes in (bad | good).items()]
        frame = pd.DataFrame(rows).assign(event_timestamp=time, created=time)
        feast = repo.open_store(settings)
        feast.push(definitions.push_source_name(product), frame, to=PushMode.ONLINE_AND_OFFLINE)
        engine = open_store(settings.database)
        migrate(engine)
        log = Log(engine)
        for entity in (*bad, *good):
            log.predict(f"p{entity}", datetime.now(UTC), entity)
            log.tell(f"p{entity}", 110.0)
        # The request's own value wins: what the store had does not matter then.
        log.predict("whole", datetime.now(UTC), 101, size=20.0)
        log.tell("whole", 111.0)
        rows_, left_out = training_rows(settings, product, read_labels(engine, product))
    trained_on = set(rows_.loc[rows_[PREDICTION] != "", PREDICTION])
    assert trained_on == {"p105", "p106", "whole"}
    assert rows_[names].max(numeric_only=True).max() < 1e3
    assert (left_out.broken, left_out.base_broken) == (4, 0)
    assert left_out.broken_features == {"size": 3, "rooms": 1, "kind": 1}
    facts = DatasetSummary("f", len(rows_), 3, "now", left_out)
    (line,) = messages(facts, 2)
    assert line.startswith("labelled predictions not trained on")
    assert "(size 3, rooms 1, kind 1): 4" in line
    assert line in rows_section(facts, LabelCounts(7, 0), 2)


def test_a_row_of_the_data_file_that_the_store_broke_is_not_trained_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("home")
    product = items(home / "product")
    with feature_home(home, "sqlite") as settings:
        fill_from_file(settings, product)
        stored = offline(settings)
        stored.loc[[3, 7], "size"] = [1e300, 657.5]
        stored.to_parquet(data_path(settings), index=False)
        engine = open_store(settings.database)
        migrate(engine)
        rows, left_out = training_rows(settings, product, read_labels(engine, product))
    assert len(rows) == len(stored) - 2
    assert left_out.base_broken == 2
    assert "rows of the data file not trained on" in messages(DatasetSummary("f", 38, 0, "now", left_out), 2)[0]
