"""Several stores: each gets every record, one that is away holds up no other, and a segment goes once all have it."""

import threading

import pytest
from prometheus_client import CollectorRegistry
from support.waiting import until

from beacon_core.spool import segments
from beacon_core.spool.record import encode_record
from beacon_core.spool.segments import SpoolWriter
from beacon_prediction_log import shipper
from beacon_prediction_log.orphans import Orphans
from beacon_prediction_log.shipper import ShipCounters, Shipper, ship_once, watch_spool
from beacon_prediction_log.stores import SPOOL_ID, forget_spool_id, spool_id
from beacon_prediction_log.tail import SpoolTail


class Memory:
    """A store in memory, which can be away."""

    gather_seconds = 0.0

    def __init__(self, name, chunk_bytes=1 << 20):
        self.name = name
        self.chunk_bytes = chunk_bytes
        self.ids = []
        self.parts = []
        self.is_away = threading.Event()

    def warm(self):
        pass

    def insert(self, _folder, chunk, _rest):
        if self.is_away.is_set():
            raise OSError("away")
        self.ids += [name for record in chunk.records for name in record.ids if name not in self.ids]
        self.parts.append(chunk.parts)


@pytest.fixture
def spool(tmp_path, make):
    """Appends a record as inference does."""
    writer = SpoolWriter(tmp_path, 1 << 20)

    def append(*names):
        assert writer.append(encode_record(make(*names)) + b"\n")

    append.folder, append.writer = tmp_path, writer
    yield append
    if append.writer is not None:
        append.writer.close()


@pytest.fixture
def start(spool, monkeypatch):
    """Starts a shipper for each of some stores."""
    monkeypatch.setattr(shipper, "RETRY_SECONDS", (0.02,))
    monkeypatch.setattr(shipper, "SHIP_SECONDS", 0.02)
    running = []

    def start_(*stores):
        registry = CollectorRegistry()
        tail = SpoolTail(spool.folder, [store.name for store in stores])
        counters = ShipCounters(registry)
        watch_spool(tail, stores, counters, registry)
        running.extend(Shipper(spool.folder, tail, store, counters) for store in stores)
        for each in running:
            each.start()
        return tail, lambda name, store: registry.get_sample_value(f"beacon_prediction_log_{name}", {"store": store})

    yield start_
    spool.writer.close()  # a shipper ends once nobody writes any more
    spool.writer = None
    for each in running:
        each.begin_stop()
    for each in running:
        each.stop(5.0)


def test_each_store_gets_every_record(spool, start):
    one, other = Memory("sql"), Memory("lake", chunk_bytes=50)
    tail, value = start(one, other)
    for number in range(20):
        spool(f"a{number}", f"b{number}")
    until(lambda: tail.count_waiting() == 0, "all is shipped")
    assert (
        sorted(one.ids) == sorted(other.ids) == sorted(f"{letter}{number}" for letter in "ab" for number in range(20))
    )
    assert (value("store_rows_total", "sql"), value("store_rows_total", "lake")) == (40, 40)


@pytest.mark.parametrize("away", ["sql", "lake"])
def test_a_store_that_is_away_holds_up_no_other_and_loses_nothing(spool, start, monkeypatch, caplog, away):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2000)
    stores = {name: Memory(name) for name in ("sql", "lake")}
    stores[away].is_away.set()
    (here,) = [store for name, store in stores.items() if name != away]
    tail, value = start(*stores.values())
    for number in range(30):
        spool(f"a{number}")
    until(lambda: len(here.ids) == 30, "the other has all")
    until(lambda: (value("store_failures_total", away) or 0) > 1, "it is tried again")
    assert (value("store_waiting", away), value("store_waiting", here.name)) == (30, 0)
    assert value("store_failures_total", here.name) == 0
    assert len(segments.segments(spool.folder)) > 5, "no segment goes that one store has not"
    assert (len(tail.find(["a3"])) == 1) == (away == "sql"), "what the store that is read has is not looked for here"
    stores[away].is_away.clear()
    until(lambda: tail.count_waiting() == 0, "it gets the rest")
    until(lambda: len(segments.segments(spool.folder)) == 1, "then the segments go")
    assert sorted(stores[away].ids) == sorted(here.ids)
    told = [record for record in caplog.records if "cannot be shipped" in record.message]
    assert {record.store for record in told} == {away}


def test_a_chunk_may_go_on_in_later_segments(spool, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1000)
    for number in range(12):
        spool(f"a{number}")
    numbers = list(segments.segments(spool.folder))
    tail = SpoolTail(spool.folder, ["lake", "sql"])
    chunk = tail.next_chunk(1 << 20, "lake")
    assert [part.segment for part in chunk.parts] == numbers
    assert all(part.begin == 0 for part in chunk.parts)
    assert [name for record in chunk.records for name in record.ids] == [f"a{number}" for number in range(12)]
    tail.shipped(chunk, "lake")
    assert tail.next_chunk(1 << 20, "lake") is None
    assert tail.count_waiting("lake") == 0
    assert tail.count_waiting("sql") == tail.count_waiting() == 12
    small = tail.next_chunk(10, "sql")
    assert [(part.segment, part.begin) for part in small.parts] == [(numbers[0], 0)]
    assert list(segments.segments(spool.folder)) == numbers


def test_lines_gather_for_a_store_whose_commits_are_dear(spool, start):
    slow = Memory("lake")
    slow.gather_seconds = 3600.0
    start(slow)
    spool("first")
    until(lambda: slow.ids == ["first"], "what is there at the start does not wait")
    spool("a")
    assert slow.ids == ["first"]
    slow.chunk_bytes = 10
    until(lambda: slow.ids == ["first", "a"], "enough has gathered")


def test_what_gathers_is_shipped_at_the_end(spool):
    slow = Memory("lake")
    slow.gather_seconds = 3600.0
    tail = SpoolTail(spool.folder, ["lake"])
    ending = Shipper(spool.folder, tail, slow, ShipCounters(CollectorRegistry()))
    ending.start()
    spool("first")
    until(lambda: slow.ids == ["first"], "what is there at the start does not wait")
    spool("a")
    assert slow.ids == ["first"]
    ending.begin_stop()
    until(lambda: slow.ids == ["first", "a"], "it is shipped at once")
    spool.writer.close()
    ending.stop(5.0)
    assert not ending.is_alive
    assert segments.segments(spool.folder) == {}
    spool.writer = SpoolWriter(spool.folder, 1 << 20)


def test_unreadable_lines_are_set_aside_once(spool):
    spool("a")
    spool.writer.append(b"garbage\n")
    stores = [Memory("sql"), Memory("lake")]
    tail = SpoolTail(spool.folder, [store.name for store in stores])
    counters = ShipCounters(CollectorRegistry())
    for store in stores:
        assert ship_once(spool.folder, tail, store, counters)
    assert (spool.folder / "quarantine.txt").read_bytes() == b"garbage\n"


def test_an_orphan_goes_once_every_store_has_it(spool, monkeypatch, make):
    orphan = spool.folder / "shared" / "pod-1"
    writer = SpoolWriter(orphan, 1 << 20)
    writer.append(encode_record(make("a")) + b"\n")
    writer.close()
    monkeypatch.setattr("beacon_prediction_log.orphans.QUIET_SECONDS", -1.0)
    stores = [Memory("sql"), Memory("lake")]
    stores[1].is_away.set()
    look = Orphans(orphan.parent, spool.folder, stores, ShipCounters(CollectorRegistry()))
    look.adopt_all()
    assert stores[0].ids == ["a"]
    assert orphan.exists()
    stores[1].is_away.clear()
    look.adopt_all()
    assert (stores[0].ids, stores[1].ids) == (["a"], ["a"])
    assert not orphan.exists()


def test_a_spool_keeps_its_name_until_nothing_is_left_of_it(spool):
    name = spool_id(spool.folder)
    assert spool_id(spool.folder) == name
    forget_spool_id(spool.folder)
    assert spool_id(spool.folder) == name, "a segment is there"
    assert spool_id(spool.folder, anew=True) != name
    spool.writer.close()
    forget_spool_id(spool.folder)
    assert not (spool.folder / SPOOL_ID).exists()
    spool.writer = SpoolWriter(spool.folder, 1 << 20)
