"""Which actual belongs to a prediction: the same scenarios, on both databases, for everyone who answers that."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import Engine, delete, insert
from support.packages import build_package, row_of
from support.stores import new_store

from beacon_console.predictions import lookup
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.prediction_log.promotion_evidence import realised_error
from beacon_core.data.prediction_log.which_actual import actual_of
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Manifest, read_package
from beacon_core.model_package.release import package_folder
from beacon_drift_profiling.profiling.log import read_partition
from beacon_prediction_log.database import Database
from beacon_promotion.analysis.sampled_requests import sample_requests
from beacon_retraining.data.labels import PREDICTION, read_labels

START = datetime(2026, 3, 1, tzinfo=UTC)
MANY = 200


class Asked(NamedTuple):
    """A prediction, at so many hours; each is of a model of its own, and predicts 0."""

    id: str
    hours: float
    entity: str | None = None


class Told(NamedTuple):
    """An actual, observed at so many hours, for a prediction or for an entity."""

    value: float
    hours: float
    id: str | None = None
    entity: str | None = None


class Scenario(NamedTuple):
    """Rows in the order in which they come into the store, and the actual of each prediction that has one."""

    rows: tuple[Asked | Told, ...]
    expected: Mapping[str, float]


SCENARIOS = {
    "by id": Scenario((Asked("a", 0), Asked("b", 0), Told(21, 1, id="a"), Told(22, -5, id="b")), {"a": 21, "b": 22}),
    "by id, of an entity": Scenario((Asked("a", 0, "1"), Told(21, 1, id="a")), {"a": 21}),
    "by id rather than by entity": Scenario(
        (Asked("a", 0, "1"), Told(21, 1, id="a"), Told(30, 0.5, entity="1"), Told(31, 1, entity="1")), {"a": 21}
    ),
    "corrected": Scenario((Asked("a", 0), *(Told(value, 1, id="a") for value in (85, 40, 25))), {"a": 25}),
    "corrected, and observed before": Scenario((Asked("a", 0), Told(85, 9, id="a"), Told(25, 3, id="a")), {"a": 25}),
    "corrected, to what it was": Scenario((Asked("a", 0), *(Told(v, 1, id="a") for v in (25, 85, 25))), {"a": 25}),
    "by entity": Scenario((Asked("a", 0, "1"), Asked("b", 0, "2"), Told(21, 1, entity="1")), {"a": 21}),
    "by entity, at once": Scenario((Asked("a", 0, "1"), Told(21, 0, entity="1")), {"a": 21}),
    "by entity, corrected": Scenario((Asked("a", 0, "1"), Told(85, 1, entity="1"), Told(25, 1, entity="1")), {"a": 25}),
    "by entity, several observed": Scenario(
        (Asked("a", 0, "1"), Told(30, 2, entity="1"), Told(25, 1, entity="1"), Told(31, 3, entity="1")), {"a": 25}
    ),
    "by entity, two of one moment": Scenario(
        (Asked("a", 0, "1"), Asked("b", 0, "1"), Told(21, 1, entity="1")), {"a": 21, "b": 21}
    ),
    "by entity, one of the moment by id": Scenario(
        (Asked("a", 0, "1"), Asked("b", 0, "1"), Told(21, 1, entity="1"), Told(22, 1, id="b")), {"a": 21, "b": 22}
    ),
    "entity predicted again": Scenario(
        (Asked("a", 0, "1"), Asked("b", 2, "1"), Told(21, 1, entity="1"), Told(22, 3, entity="1")), {"a": 21, "b": 22}
    ),
    "entity predicted again, before it was observed": Scenario(
        (Asked("a", 0, "1"), Asked("b", 2, "1"), Told(22, 3, entity="1")), {"b": 22}
    ),
    "entity predicted again, as it was observed": Scenario(
        (Asked("a", 0, "1"), Asked("b", 2, "1"), Told(22, 2, entity="1")), {"b": 22}
    ),
    "late: the actual": Scenario((Asked("a", 0, "1"), Asked("b", 1), Told(21, 999, entity="1")), {"a": 21}),
    "late: the prediction": Scenario(
        (Told(21, 1, entity="1"), Told(22, 1, id="b"), Asked("a", 0, "1"), Asked("b", 0)), {"a": 21, "b": 22}
    ),
    "late: a prediction that takes it over": Scenario(
        (Asked("a", 0, "1"), Told(21, 3, entity="1"), Asked("b", 2, "1")), {"b": 21}
    ),
    "none": Scenario((Asked("a", 0), Asked("b", 0, "1")), {}),
    "none, but others have": Scenario(
        (Asked("a", 1), Asked("b", 1, "1"), Told(21, 2, entity="2"), Told(22, 0, entity="1"), Told(23, 2, id="c")), {}
    ),
}


def rule(rows: list[Asked | Told]) -> dict[str, float]:
    """The rule in plain words, row by row."""
    told = [row for row in rows if isinstance(row, Told)]
    asked = [row for row in rows if isinstance(row, Asked)]
    found = {}
    for one in asked:
        by_id = [actual.value for actual in told if actual.id == one.id]
        later = [other.hours for other in asked if other.entity == one.entity and other.hours > one.hours]
        until = min(later, default=float("inf"))
        mine = [actual for actual in told if one.entity is not None and actual.entity == one.entity]
        mine = [actual for actual in mine if one.hours <= actual.hours < until]
        if by_id:
            found[one.id] = by_id[-1]
        elif mine:
            first = min(actual.hours for actual in mine)
            found[one.id] = [actual.value for actual in mine if actual.hours == first][-1]
    return found


def mixed(seed: int) -> Scenario:
    """Many predictions and actuals of few entities and moments, in any order."""
    draw = random.Random(seed)
    rows: list[Asked | Told] = [
        Asked(f"p{number:03d}", draw.randrange(20) / 2, draw.choice([None, *"1234"])) for number in range(40)
    ]
    for number in range(60):
        named = {"id": f"p{draw.randrange(45):03d}"} if number % 3 == 0 else {"entity": draw.choice("12345")}
        rows.append(Told(number + 1, draw.randrange(24) / 2, **named))
    draw.shuffle(rows)
    return Scenario(tuple(rows), rule(rows))


class Store(NamedTuple):
    """A database with the rows of a scenario."""

    engine: Engine
    product: Product
    manifest: Manifest
    asked: tuple[Asked, ...]

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.asked]


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def version(id_: str) -> str:
    return f"of-{id_}"


def row(product: Product, number: int, asked: Asked) -> dict[str, Any]:
    """A row of the log; its first feature is its number."""
    features = dict(zip(product.feature_names, row_of(product), strict=True))
    features[product.feature_names[0]] = float(number)
    return {
        "id": asked.id,
        "time": at(asked.hours),
        "entity": asked.entity,
        "features": features,
        "imputed": [],
        "out_of_range": [],
        "prediction": 0.0,
        "low": -1.0,
        "high": 1.0,
        "model_version": version(asked.id),
        "model_sha256": "0" * 64,
        "latency_seconds": 0.001,
        "request_id": asked.id,
    }


def by_core(store: Store) -> dict[str, float]:
    with store.engine.connect() as connection:
        found = {one.id: actual_of(connection, one.id, one.entity, at(one.hours)) for one in store.asked}
    return {name: actual.value for name, actual in found.items() if actual is not None}


def by_console(store: Store) -> dict[str, float]:
    with store.engine.connect() as connection:
        pages = {name: lookup.find_prediction(connection, store.product, name) for name in store.ids}
    return {name: page.actual.value for name, page in pages.items() if page is not None and page.actual is not None}


def by_prediction_log(store: Store) -> dict[str, float]:
    database = Database(store.engine.url.render_as_string(hide_password=False), store.product.feature_names)
    try:
        records = database.find(store.ids)
        found = {name: database.find_actual(record) for name, record in records.items()}
    finally:
        database.close()
    return {name: actual.value for name, actual in found.items() if actual is not None}


def by_drift(store: Store) -> dict[str, float]:
    found = {}
    with store.engine.connect() as connection:
        for one in store.asked:
            hour = at(one.hours).replace(minute=0)
            (read,) = read_partition(
                connection, Partition(hour, version(one.id)), store.product, store.product.features
            )
            assert read.ids == (one.id,)
            found[one.id] = float(read.rows.actual[0])
    return {name: value for name, value in found.items() if value == value}


def by_retraining(store: Store) -> dict[str, float]:
    labels = read_labels(store.engine, store.product)
    assert not labels[PREDICTION].duplicated().any()
    return dict(zip(labels[PREDICTION], labels[store.product.target.name], strict=True))


def by_trial(store: Store) -> dict[str, float]:
    """What a candidate is asked before users are."""
    first = store.product.feature_names[0]
    rows = [
        row
        for row in sample_requests(store.engine, EVERYTHING, store.product.schema, store.manifest, MANY)
        if row.actual is not None
    ]
    found = {store.ids[int(row.features[first])]: row.actual for row in rows}
    assert len(found) == len(rows)
    return found


def by_watch(store: Store) -> dict[str, float]:
    """Every prediction is 0 and of a model of its own: the mean error is the actual."""
    found = {}
    for name in store.ids:
        rows, error = realised_error(store.engine, EVERYTHING, version(name), at(-1))
        assert rows in (0, 1)
        found |= {name: error} if rows else {}
    return found


READERS = (by_core, by_console, by_prediction_log, by_drift, by_retraining, by_trial, by_watch)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Manifest:
    """Of a model that was made before all predictions."""
    models = tmp_path_factory.mktemp("models")
    pin = build_package(models, product)
    manifest = read_package(package_folder(models, pin), pin.sha256).manifest
    return msgspec.structs.replace(manifest, created_at=at(-99).isoformat())


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with new_store(request.param, tmp_path_factory.mktemp("store")) as engine:
        yield engine


@pytest.fixture
def store(engine: Engine, product: Product, manifest: Manifest) -> Iterator[Callable[[Scenario], Store]]:
    def filled(scenario: Scenario) -> Store:
        asked = tuple(one for one in scenario.rows if isinstance(one, Asked))
        with engine.begin() as connection:
            for one in scenario.rows:
                if isinstance(one, Asked):
                    connection.execute(insert(predictions), row(product, asked.index(one), one))
                else:
                    told = {"prediction_id": one.id, "entity": one.entity, "value": one.value, "source": "test"}
                    connection.execute(insert(actuals), told | {"observed_at": at(one.hours), "received_at": at(2000)})
        return Store(engine, product, manifest, asked)

    yield filled
    with engine.begin() as connection:
        connection.execute(delete(predictions))
        connection.execute(delete(actuals))


@pytest.mark.parametrize("name", SCENARIOS)
def test_everyone_finds_the_same_actual(name: str, store: Callable[[Scenario], Store]) -> None:
    made = store(SCENARIOS[name])
    assert {reader.__name__: reader(made) for reader in READERS} == dict.fromkeys(
        (reader.__name__ for reader in READERS), SCENARIOS[name].expected
    )


def test_the_scenarios_follow_the_rule() -> None:
    for name, scenario in SCENARIOS.items():
        assert rule(list(scenario.rows)) == scenario.expected, name


@pytest.mark.parametrize("seed", range(4))
def test_everyone_finds_the_same_actuals_of_many(seed: int, store: Callable[[Scenario], Store]) -> None:
    scenario = mixed(seed)
    assert len(scenario.expected) > 15
    made = store(scenario)
    for reader in READERS:
        assert reader(made) == scenario.expected, reader.__name__
