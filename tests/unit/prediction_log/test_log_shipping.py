"""The prediction log: what was acknowledged is in the spool or in the database, once; what is lost is counted."""

import errno
import os

import msgspec
import pytest
from support.waiting import until

from beacon_core.spool import segments
from beacon_core.spool.record import decode_record, encode_record, made_at
from beacon_core.spool.segments import SpoolWriter
from beacon_inference.protocols.serializer import Serializer
from beacon_prediction_log import shipper
from beacon_prediction_log.database import ROWS_PER_STATEMENT, Database
from beacon_prediction_log.shipper import BACKLOG_WITHOUT_REST, REST_FACTOR, rest_seconds

SPARSE = [None, 4.0, *[None] * 10]
STORED = {"from_store": {0: [0, 2]}}
NAMED = {"client": "web-shop"}
FULL = {"out_of_range": {0: [0, 3]}, "entities": ["17"], "shadow_version": "2", "shadow": [3.5]}


@pytest.mark.parametrize("changes", [{}, {"input_digests": None}, FULL, FULL | STORED, {"from_store": {}}, NAMED])
def test_a_record_survives_the_spool_and_the_table(make, product, changes, tmp_path):
    record = make("a", **changes)
    assert decode_record(encode_record(record)) == record
    database = Database(f"sqlite:///{tmp_path / 'beacon.db'}", product.feature_names)
    database.insert([record])
    found = database.find(["a"])["a"]
    database.close()
    assert found == record
    serializer = Serializer(product)
    assert msgspec.json.encode(serializer.responses(found)) == msgspec.json.encode(serializer.responses(record))


def test_a_record_has_the_same_time_before_it_is_in_the_table_and_after(make, product, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'beacon.db'}", product.feature_names)
    # A clock's times are no whole microseconds; an actual of the time that was answered must join.
    made = [make(f"p{step}", time=1_764_400_000 + step * 0.731_234_56, input_digests=None) for step in range(200)]
    database.insert(made)
    found = database.find([record.ids[0] for record in made])
    database.close()
    assert [made_at(found[record.ids[0]]) for record in made] == [made_at(record) for record in made]


def test_the_rows_of_a_record_are_distinct_everywhere(open_log, make, product):
    other = [3.5] * len(product.feature_names)
    both = make(
        "a", "b", features=[other, SPARSE], prediction=[1.0, 2.0], low=[0.5, 1.5], high=[1.5, 2.5],
        out_of_range={1: [2]}, from_store={0: [3], 1: [1]}, entities=[None, "18"],
        shadow_version="2", shadow=[5.0, 6.0],
        input_digests=[None, "c" * 64], **NAMED,
    )  # fmt: skip
    alone = make(
        "b", features=[SPARSE], prediction=[2.0], low=[1.5], high=[2.5], out_of_range={0: [2]}, from_store={0: [1]},
        entities=["18"], shadow_version="2", shadow=[6.0], input_digests=["c" * 64], **NAMED,
    )  # fmt: skip
    assert both.take([1]) == alone
    assert both.take([0, 1]) == both
    running = open_log()
    running.append(both)
    assert running.find(["b"])["b"] == alone
    running.start()
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert running.find_waiting(["b"]) == {}
    assert running.find(["b"])["b"] == alone
    serializer = Serializer(product)
    assert serializer.responses(both)[1] == serializer.responses(alone)[0]


def test_records_go_to_the_database_in_the_background(open_log, make):
    running = open_log()
    running.start()
    assert running.append(make("a", "b"))
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert sorted(running.rows()) == ["a", "b"]
    assert running.value("shipped_total") == 2
    assert running.find(["a"]) == {"a": make("a")}


def test_a_record_is_found_before_and_after_it_was_shipped(open_log, make):
    running = open_log()
    running.append(make("a", "b"))
    assert running.find_waiting(["b"]) == {"b": make("b")}
    assert running.find_waiting(["c"]) == {}
    running.start()
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert running.find_waiting(["b"]) == {}
    assert running.find(["b"]) == {"b": make("b")}
    assert running.find(["c"]) == {}


def test_a_full_spool_drops_and_counts_and_goes_on(open_log, make):
    size = len(encode_record(make("a-0"))) + 1
    running = open_log(max_bytes=3 * size)
    assert [running.append(make(f"a-{number}")) for number in range(5)] == [True, True, True, False, False]
    assert running.value("dropped_total") == 2
    assert running.find_waiting(["a-4"]) == {}
    running.start()
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert len(running.rows()) == 3


def test_a_shipped_spool_has_room_again(open_log, make, monkeypatch):
    size = len(encode_record(make("a-0"))) + 1
    monkeypatch.setattr(segments, "SEGMENT_BYTES", size)
    running = open_log(max_bytes=4 * size)
    running.start()
    for number in range(12):
        until(lambda number=number: running.append(make(f"a-{number}")), "there is room")
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert len(running.rows()) == 12


def test_a_spool_that_is_smaller_than_a_segment_has_room_again(open_log, make):
    size = len(encode_record(make("a-0"))) + 1
    running = open_log(max_bytes=3 * size)
    running.start()
    for number in range(12):
        until(lambda number=number: running.append(make(f"a-{number}")), "there is room")
    until(lambda: running.waiting() == 0, "the spool is shipped")
    assert len(running.rows()) == 12


@pytest.fixture
def service_with_a_full_spool(settings):
    import msgspec
    from support.logged_inference import create
    from support.service import Service

    with Service(create(msgspec.structs.replace(settings, spool_max_bytes=10))) as running:
        yield running


def test_a_prediction_is_answered_when_it_cannot_be_logged(service_with_a_full_spool, row, caplog):
    service = service_with_a_full_spool
    answer = service.post("/v1/predict", {"features": row})
    assert answer.status == 200
    assert answer.headers["beacon-logged"] == "false"
    service.post("/v1/predict/batch", {"rows": [{"features": row}] * 3})
    assert service.metrics()["beacon_prediction_log_dropped_total"] == 4
    told = [record for record in caplog.records if "not logged" in record.message]
    assert [record.levelname for record in told] == ["ERROR"], "the log tells of the first drop, not of each"


def test_segments_rotate_and_go_once_they_are_shipped(open_log, make, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1000)
    running = open_log()
    for number in range(30):
        running.append(make(f"a-{number}"))
    assert len(list(running.folder.glob("*.jsonl"))) > 5
    running.start()
    until(lambda: running.waiting() == 0, "the spool is shipped, and so is the segment that is written to")
    until(lambda: len(list(running.folder.glob("*.jsonl"))) == 1, "old segments are dropped")
    assert len(set(running.rows())) == len(running.rows()) == 30
    assert running.find(["a-0"]) == {"a-0": make("a-0")}
    until(lambda: len(running.tail._index._segments) == 1, "nothing is kept of them in memory")


def test_what_a_process_left_behind_is_shipped_by_the_next(open_log, make):
    left = open_log()
    left.append(make("a", "b"))
    left.stop()
    after = open_log()
    assert after.waiting() == 2
    assert after.find_waiting(["b"]) == {"b": make("b")}
    after.append(make("c"))
    after.start()
    until(lambda: after.waiting() == 0, "the spool is shipped")
    assert sorted(after.rows()) == ["a", "b", "c"]


def test_what_was_shipped_before_a_crash_is_not_doubled(open_log, make):
    crashed = open_log()
    crashed.append(make("a", "b"))
    crashed.database.insert([make("a")])  # committed, and then killed before the segment went
    crashed.stop()
    after = open_log()
    after.start()
    until(lambda: after.waiting() == 0, "the spool is shipped")
    assert sorted(after.rows()) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_last_line_cut_short_by_a_crash_was_never_acknowledged(open_log, make, cut):
    crashed = open_log()
    crashed.append(make("a"))
    crashed.append(make("b", "c"))
    crashed.stop()
    (segment,) = crashed.folder.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-cut])
    after = open_log()
    assert after.waiting() == 1
    assert after.append(make("d")), "the next process never writes behind a cut line"
    after.start()
    until(lambda: after.waiting() == 0, "the spool is shipped")
    assert sorted(after.rows()) == ["a", "d"]
    assert after.value("quarantined_total") == 0


GARBAGE = [b"garbage", b"{}", b'{"ids": 7}', b"\x00\xff\r\x00", b'{"ids":["\xff"]}', b"[" * 100_000]
UNEQUAL = [
    {"low": [1.0]}, {"input_digests": []}, {"features": [[1.0], [1.0]]}, {"entities": [1]},
    {"from_store": {0: [99]}}, {"from_store": {2: [0]}}, {"out_of_range": {0: [-1]}},
]  # fmt: skip


@pytest.mark.parametrize("line", [*GARBAGE, *UNEQUAL])
def test_a_line_that_makes_no_sense_is_set_aside_and_the_rest_goes_on(open_log, make, line):
    line = line if isinstance(line, bytes) else encode_record(make("c", "d", **line))
    left = open_log()
    left.append(make("a"))
    left.stop()
    (segment,) = left.folder.glob("*.jsonl")
    good = segment.read_bytes()
    segment.write_bytes(good + line + b"\n" + good.replace(b'"ids":["a"]', b'"ids":["b"]'))
    after = open_log()
    after.start()
    until(lambda: after.waiting() == 0, "the line behind the bad one is shipped")
    assert sorted(after.rows()) == ["a", "b"]
    until(lambda: after.value("quarantined_total") == 1, "it is counted once")
    assert (after.folder / "quarantine.txt").read_bytes() == line + b"\n"


OLD = b"""{"ids":["a"],"time":1.5,"given":[[6.5]],"prediction":[21.5],"low":[18.5],"high":[25.5],"version":"1",\
"sha256":"a","latency":0.001,"request_id":"r","trace_id":"0"}\n"""


def test_a_spool_of_another_revision_is_kept_and_logged_in_one_line(open_log, make, caplog):
    left = open_log()
    left.append(make("a"))
    left.stop()
    (segment,) = left.folder.glob("*.jsonl")
    segment.write_bytes(OLD + segment.read_bytes() + OLD)
    after = open_log()
    after.start()
    until(lambda: after.value("quarantined_total") == 2, "the old lines are set aside")
    assert after.rows() == ["a"]
    assert (after.folder / "quarantine.txt").read_bytes() == OLD + OLD
    (told,) = caplog.records
    assert (told.levelname, told.lines, told.file) == ("ERROR", 2, str(after.folder / "quarantine.txt"))
    assert "not records of this revision" in told.message


@pytest.fixture
def dead_database(tmp_path):
    """The database cannot be opened until this is called."""
    block = tmp_path / "beacon.db"
    block.mkdir()
    return block.rmdir


def test_while_the_database_is_down_nothing_is_lost_or_doubled(open_log, make, dead_database, monkeypatch):
    monkeypatch.setattr("beacon_prediction_log.shipper.RETRY_SECONDS", (0.05,))
    left = open_log()
    left.append(make("left"))
    left.stop()
    (segment,) = left.folder.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b"garbage\n")

    running = open_log()
    running.start()
    for number in range(20):
        assert running.append(make(f"a-{number}"))
    until(lambda: running.value("ship_failures_total") >= 3, "shipping is tried again and again")
    assert running.waiting() == 21
    assert running.find_waiting(["a-3"]) == {"a-3": make("a-3")}
    dead_database()
    until(lambda: running.waiting() == 0, "the spool is shipped once the database is back")
    assert sorted(running.rows()) == sorted(["left", *[f"a-{number}" for number in range(20)]])
    assert running.value("shipped_total") == 21
    assert running.value("quarantined_total") == 1, "however often the batch was tried"


def test_predictions_and_retries_go_on_while_the_database_is_down(tmp_path, settings, row):
    from support.logged_inference import create
    from support.service import Service

    settings.home.joinpath("beacon.db").mkdir()
    with Service(create(settings)) as service:
        first = service.post("/v1/predict", {"features": row, "prediction_id": "k"})
        assert first.status == 200
        assert first.headers["beacon-logged"] == "true"
        assert service.post("/v1/predict", {"features": row, "prediction_id": "k"}).body == first.body
        assert service.get("/v1/predictions/k").json()["prediction_id"] == "k"
        assert service.get("/v1/predictions/other").error()[:2] == (503, "prediction_log_unavailable")
        actual = service.post("/v1/actuals", {"prediction_id": "k", "value": 20})
        assert actual.error()[:2] == (503, "prediction_log_unavailable")
        assert service.get("/readyz").status == 200
    settings.home.joinpath("beacon.db").rmdir()
    with Service(create(settings)) as service:
        until(
            lambda: service.app.log_metrics()["beacon_prediction_log_spool_records"] == 0, "shipped after the restart"
        )
        assert service.get("/v1/predictions/k").json()["prediction"] == first.json()["prediction"]


@pytest.mark.parametrize("refusal", ["write", "half", "open"])
def test_a_disk_that_refuses_is_survived(tmp_path, monkeypatch, refusal):
    spool = SpoolWriter(tmp_path, 1 << 20)
    assert spool.append(b"one\n").offset == 0
    number = list(segments.segments(tmp_path))[-1]

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        if refusal == "open":
            broken.setattr(segments, "SEGMENT_BYTES", 1)
            broken.setattr(os, "open", no_space)
        elif refusal == "write":
            broken.setattr(os, "write", no_space)
        else:
            real = os.write
            broken.setattr(os, "write", lambda file, lines: real(file, lines[:2]))
        assert spool.append(b"two\n") is None
        assert spool.append(b"three\n") is None
    position = spool.append(b"four\n")
    assert segments.read(tmp_path, *position, 1) == b"four\n"
    assert segments.read(tmp_path, number, 0, 100) == b"one\nfour\n"
    spool.close()


def test_a_half_line_that_cannot_be_taken_back_spoils_no_later_one(tmp_path, monkeypatch):
    spool = SpoolWriter(tmp_path, 1 << 20)
    real = os.write

    def broken_disk(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda file, lines: real(file, lines[:2]))
        broken.setattr(os, "ftruncate", broken_disk)
        assert spool.append(b"one\n") is None
    position = spool.append(b"two\n")
    assert segments.read(tmp_path, *position, 1) == b"two\n"
    assert b"".join(segments.read(tmp_path, each, 0, 100) for each in segments.segments(tmp_path)) == b"two\n"
    spool.close()


def test_reading_gives_whole_lines_however_small_the_limit(tmp_path):
    spool = SpoolWriter(tmp_path, 1 << 20)
    spool.append(b"short\n" + b"l" * 1000 + b"\nlast\n")
    assert segments.read(tmp_path, 1, 0, 1) == b"short\n"
    assert segments.read(tmp_path, 1, 0, 6) == b"short\n"
    assert segments.read(tmp_path, 1, 0, 7) == b"short\n" + b"l" * 1000 + b"\n"
    assert segments.read(tmp_path, 1, 6, 10) == b"l" * 1000 + b"\n"
    assert segments.read(tmp_path, 1, 1007, 10) == b"last\n"
    assert segments.read(tmp_path, 1, 1012, 10) == b""
    spool.append(b"half")
    assert segments.read(tmp_path, 1, 1007, 1000) == b"last\n"
    assert segments.read(tmp_path, 2, 0, 1000) == b""
    spool.close()


def test_the_shipper_makes_room_for_requests_until_the_spool_is_long():
    assert rest_seconds(0.01, 0, busy=True) == pytest.approx(0.01 * REST_FACTOR)
    assert rest_seconds(0.01, BACKLOG_WITHOUT_REST // 2, busy=True) == pytest.approx(0.01 * REST_FACTOR / 2)
    assert (
        rest_seconds(0.01, BACKLOG_WITHOUT_REST, busy=True)
        == rest_seconds(0.01, 2 * BACKLOG_WITHOUT_REST, busy=True)
        == 0
    )
    assert rest_seconds(0.01, 0, busy=False) == 0


def test_the_shipper_rests_between_the_statements_of_one_commit_while_requests_come(open_log, make, monkeypatch):
    running = open_log()
    rested = []

    def rest(took, waiting, *, busy):
        rested.append((waiting, busy, len(running.rows())))
        if len(rested) < 3:
            running.append(make(f"b{len(rested)}"))
        return 0.0

    monkeypatch.setattr(shipper, "rest_seconds", rest)
    count = 2 * ROWS_PER_STATEMENT + 1
    running.database.insert([make("before")])
    running.append(make(*[f"a{row}" for row in range(count)]))
    running.start()
    until(lambda: running.waiting() == 0, "nothing waits")
    assert rested[:3] == [(count + number, True, 1) for number in range(3)]
