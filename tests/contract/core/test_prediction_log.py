"""Every store of the prediction log, held to the same answers by what the port says of it."""

import ast
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.kafka import Broker, broker
from support.lakes import NOON, in_folder, opened, row
from support.postgres import Postgres, postgres
from support.s3 import s3_bucket
from support.stores import new_store
from support.through_kafka import through_topic

from beacon_core.data import predictions
from beacon_core.data.prediction_log import LogSlice, LogStore, lake, sql
from beacon_core.data.predictions import PredictionRow
from beacon_core.domain.ids import new_id
from beacon_core.domain.policy import Evidence
from beacon_core.platform.settings import ROOT

MANY = 100
EVERY_ROW = LogSlice()


class Store(NamedTuple):
    """A store under test: how to open it for a while, and how rows come into it."""

    log: LogStore[Any]
    open: Callable[[], AbstractContextManager[Any]]
    insert: Callable[[Any, list[PredictionRow]], None]


STORES = [
    "sql on SQLite",
    "sql on PostgreSQL",
    pytest.param("lake in a folder", marks=pytest.mark.lake),
    pytest.param("lake on S3", marks=pytest.mark.lake),
    pytest.param("lake by way of Kafka", marks=[pytest.mark.kafka, pytest.mark.xdist_group("kafka-store")]),
]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Another store of the log is another parameter; nothing below knows which one it is."""
    kind, _, place = request.param.partition(" ")
    if kind == "sql":
        with new_store(place.removeprefix("on ").lower(), tmp_path) as engine:
            yield Store(sql, engine.begin, predictions.insert)
    elif place == "by way of Kafka":  # what it takes comes out of a topic as out of any other store
        with opened(*in_folder(tmp_path)) as found, through_topic(request.getfixturevalue("kafka"), tmp_path) as sent:
            yield Store(lake, lambda: lake.begin(found), lambda handle, rows: sent.bring(rows, handle.lake))
    else:
        where = request.getfixturevalue("on_s3") if place == "on S3" else in_folder(tmp_path)
        with opened(*where) as found:
            yield Store(lake, lambda: lake.begin(found), lambda handle, rows: lake.append_rows(handle.lake, rows))


@pytest.fixture(scope="module")
def kafka() -> Iterator[Broker]:
    """A real broker."""
    with broker() as found:
        yield found


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, Postgres]]:
    """A bucket of a real S3 server, and a PostgreSQL."""
    with s3_bucket("lake") as bucket, postgres() as cluster:
        yield bucket, cluster


@pytest.fixture
def on_s3(servers: tuple[str, Postgres]) -> lake.LakePlace:
    """A lake on S3 that nobody has used, its catalog in PostgreSQL."""
    bucket, cluster = servers
    name = f"lake{new_id()}"
    cluster.create_database(name)
    return lake.LakePlace(f"{bucket}/{name}", cluster.url_of("beacon", name))


def fill(store: Store, *rows: PredictionRow) -> None:
    with store.open() as handle:
        store.insert(handle, list(rows))


def ids(store: Store, rows: LogSlice = EVERY_ROW, **options: Any) -> list[str]:
    with store.open() as handle:
        return [name for batch in store.log.scan(handle, rows, ["id"], **options) for (name,) in batch]


def test_what_came_in_is_found(store: Store) -> None:
    fill(store, row("b", 1), row("a", 2, "car-1", from_store='["doors"]', client="shop", shadow_version="2"))
    with store.open() as handle:
        first, second = store.log.find(handle, ["a", "b", "nobody"])
        assert store.log.find(handle, []) == []
    assert (first.id, second.id) == ("b", "a")
    assert second.time == NOON + timedelta(minutes=2)
    assert second.features == {"doors": 4, "colour": "rü\nd", "new": True}
    assert (second.entity, second.from_store, second.imputed, second.client) == ("car-1", ["doors"], ["age"], "shop")
    assert (first.entity, first.from_store, first.shadow_version, second.shadow_version) == (None, None, None, "2")


def test_a_row_that_is_there_stays_as_it_is(store: Store) -> None:
    fill(store, row("a"))
    fill(store, row("a", prediction=9.0), row("b"))
    with store.open() as handle:
        assert [found.prediction for found in store.log.find(handle, ["a", "b"])] == [1.5, 1.5]


def test_the_rows_of_an_entity(store: Store) -> None:
    fill(store, row("a", 3, "car-1"), row("b", 1, "car-1"), row("c", 2, "car-10"), row("d", 2))
    with store.open() as handle:
        found = [[one.id for one in batch] for batch in store.log.of_entity(handle, "car-1")]
        since = [one.id for one in next(store.log.of_entity(handle, "car-1", since=NOON + timedelta(minutes=3)))]
        assert list(store.log.of_entity(handle, "car")) == []
    assert found == [["b", "a"]]
    assert since == ["a"]


WINDOWS = {
    "all": (LogSlice(), ["e", "a", "b", "c", "d"]),
    "since, inclusive": (LogSlice(since=NOON + timedelta(minutes=1)), ["a", "b", "c", "d"]),
    "until, exclusive": (LogSlice(until=NOON + timedelta(minutes=1)), ["e"]),
    "of a version": (LogSlice(model_version="2"), ["c", "d"]),
    "of keyed clients": (LogSlice(evidence=Evidence("keyed")), ["a", "d"]),
    "of a client": (LogSlice(evidence=Evidence(("shop",))), ["a"]),
    "that asked the feature store": (LogSlice(looked_up=True), ["c"]),
    "none": (LogSlice(since=NOON + timedelta(minutes=2), model_version="1"), []),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_scan_has_the_rows_of_its_window(store: Store, name: str) -> None:
    rows, expected = WINDOWS[name]
    fill(
        store,
        row("d", 2, model_version="2", client="depot"),
        row("c", 2, "car-1", model_version="2", from_store="[]"),
        row("b", 1, "car-1"),
        row("a", 1, client="shop", from_store="[]"),
        row("e"),
    )
    assert ids(store, rows) == expected
    assert ids(store, rows, newest_first=True) == expected[::-1]
    assert ids(store, rows, newest_first=True, limit=2) == expected[::-1][:2]
    with store.open() as handle:
        assert store.log.count(handle, rows) == len(expected)


def test_a_scan_comes_in_batches(store: Store) -> None:
    fill(store, *[row(f"p{number:03d}", number) for number in range(MANY)])
    with store.open() as handle:
        batches = list(store.log.scan(handle, LogSlice(), ["id", "time"], size=30))
    assert [len(batch) for batch in batches] == [30, 30, 30, 10]
    assert [name for batch in batches for name, _ in batch] == [f"p{number:03d}" for number in range(MANY)]
    assert batches[0][1] == ("p001", NOON + timedelta(minutes=1))


def test_an_entity_is_forgotten_in_bounded_steps(store: Store) -> None:
    others = [row("x", 1, "car-10"), row("y", 1), row("z", 1, "car-2")]
    fill(store, *[row(f"p{number}", number, "car-1", model_version=str(number % 2)) for number in range(5)], *others)
    steps = []
    while True:
        with store.open() as handle:
            gone = store.log.forget(handle, entity="car-1", most=2)
        if not gone:
            break
        steps.append([tuple(one) for one in gone])
    assert steps[0] == [("p0", NOON, "0"), ("p1", NOON + timedelta(minutes=1), "1")]
    assert [len(step) for step in steps] == [2, 2, 1]
    assert ids(store) == ["x", "y", "z"]


def test_predictions_are_forgotten_by_their_ids(store: Store) -> None:
    fill(store, row("a", 0, "car-1"), row("b", 1, "car-1"), row("c", 2))
    with store.open() as handle:
        assert [one.id for one in store.log.forget(handle, ids=["c", "a", "nobody"], most=MANY)] == ["a", "c"]
        assert store.log.forget(handle, ids=["c", "a", "nobody"], most=MANY) == []
        assert store.log.forget(handle, ids=[], most=MANY) == []
    assert ids(store) == ["b"]


def test_the_oldest_rows_expire_in_bounded_steps(store: Store) -> None:
    fill(store, *[row(f"p{number}", number) for number in range(6)])
    before = NOON + timedelta(minutes=4)
    counts = []
    for _ in range(3):
        with store.open() as handle:
            counts.append((store.log.expire(handle, before, 3), *store.log.find(handle, ["p2"])[:1]))
    assert [count for count, *_ in counts] == [3, 1, 0]
    assert len(counts[0]) == 1  # the three oldest went first
    assert ids(store) == ["p4", "p5"]


def test_a_failed_transaction_forgets_nothing(store: Store) -> None:
    fill(store, row("a", 0, "car-1"))

    def fail() -> None:
        with store.open() as handle:
            assert store.log.forget(handle, entity="car-1", most=MANY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert ids(store) == ["a"]


def test_only_the_room_of_the_log_names_its_table() -> None:
    """Who reads it elsewhere could not read another store. The exceptions: the table, and rows that come in."""
    room = ROOT / "services/core/beacon_core/data"
    allowed = {room / "tables.py", room / "predictions.py", *(room / "prediction_log").glob("*.py")}
    naming = set()
    for folder in ("services", "jobs", "tools"):
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            names = {name.name for node in imports if node.module == "beacon_core.data.tables" for name in node.names}
            if names & {"predictions", "traffic"}:
                naming.add(file)
    assert naming - allowed == set()
    assert room / "predictions.py" in naming  # the search finds what is there
