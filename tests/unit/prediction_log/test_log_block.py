"""Records of many rows have their features by columns: every value comes back, and damage is found."""

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting import until

from beacon_core.data import prediction_log
from beacon_core.spool.block import FeatureBlock, block_of
from beacon_core.spool.record import (
    Record,
    decode_record,
    decode_records,
    encode_record,
)
from beacon_inference.protocols.serializer import Serializer
from beacon_prediction_log.database import LARGE_RECORD_ROWS, Database
from beacon_prediction_log.rows import table_columns, table_rows

NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.none()
OTHER = st.text(max_size=8) | st.booleans() | st.none()


@st.composite
def tables(draw):
    """Rows of values, of which each column is of numbers or of other values."""
    kinds = draw(st.lists(st.sampled_from([NUMBER, OTHER]), min_size=1, max_size=6))
    rows = draw(st.sampled_from([1, 2, 9, 40]))
    columns = [draw(st.lists(kind, min_size=rows, max_size=rows)) for kind in kinds]
    others = [at for at, kind in enumerate(kinds) if kind is OTHER]
    return [list(row) for row in zip(*columns, strict=True)], others


def block(rows, others):
    matrix = np.array(
        [[math.nan if at in others or value is None else value for at, value in enumerate(row)] for row in rows]
    )
    return block_of(matrix, [(at, [row[at] for row in rows]) for at in others])


def record(rows, features, **changes):
    count = len(rows)
    fields = {
        "ids": [f"id.{row}" for row in range(count)], "time": 1_700_000_000.123456,
        "names": tuple(f"ä {at}%" for at in range(len(rows[0]))), "features": features,
        "prediction": [21.5] * count, "low": [18.5] * count, "high": [25.5] * count, "version": "1",
        "sha256": "a" * 64, "latency": 0.001, "request_id": "r", "trace_id": "0" * 32,
    }  # fmt: skip
    return Record(**(fields | changes))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_a_block_has_every_value_that_lists_have(table):
    rows, others = table
    by_columns, by_rows = record(rows, block(rows, others)), record(rows, rows)
    line = encode_record(by_columns)
    assert b"\n" not in line
    read = decode_record(line)
    assert read == by_columns
    assert msgspec.json.encode(read.values()) == msgspec.json.encode(rows)  # -0.0 and 0.0 are two
    assert read.lacking() == by_rows.lacking()
    some = [len(rows) - 1, 0]
    taken = read.take(some)
    assert taken.values() == by_rows.take(some).values()
    assert decode_record(encode_record(taken)) == taken
    assert len(encode_record(read.take([0]))) <= len(line)
    assert list(table_rows(read)) == list(table_rows(by_rows))
    shared, own = table_columns(read)
    assert [(*row, *shared) for row in own] == list(table_rows(by_rows))


DAMAGED = [
    FeatureBlock(b"1234567"), FeatureBlock(b""), FeatureBlock(bytes(16)), FeatureBlock(bytes(24)),
    FeatureBlock(bytes(8), {0: ["a", "b"]}), FeatureBlock(bytes(16), {5: ["a", "b"]}),
    FeatureBlock(bytes(16), {-1: ["a", "b"]}), FeatureBlock(bytes(16), {1: ["a"]}),
]  # fmt: skip


@pytest.mark.parametrize("features", DAMAGED)
def test_a_block_of_another_shape_is_no_record(features):
    rows = [[1.0, "a"], [2.0, None]]
    line = encode_record(record(rows, block(rows, [1])))
    assert decode_records(line + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=r"features|column"):
        decode_record(encode_record(record(rows, features)))


@pytest.mark.parametrize("features", ['"x"', '{"numbers":"no base64!"}', '{"numbers":7}', "null", '{"others":{}}'])
def test_a_line_whose_block_is_damaged_is_no_record(features):
    line = encode_record(record([[1.0]], "mark")).replace(b'"mark"', features.encode())
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors are ValueErrors
        decode_record(line)


def table_of(product, count):
    """Rows of numbers of which some lack a value."""
    width = len(product.feature_names)
    return [[None if (row * 7 + at) % 11 == 0 else row + at / 8 for at in range(width)] for row in range(count)]


def in_rows(own: Record) -> Record:
    """The record as the table gives it back: its features by rows."""
    return msgspec.structs.replace(own, features=own.values())


def test_lines_of_both_forms_are_shipped_side_by_side_and_found(open_log, make, product):
    running = open_log()
    count = 3 * LARGE_RECORD_ROWS
    rows = table_of(product, count)
    ids = [f"k.{row}" for row in range(count)]
    large = make(*ids, features=block(rows, []), client="shop", entities=["7"] * count, out_of_range={3: [1]})
    running.append(make("one"))
    running.append(large)
    running.append(make("two", "three"))
    waiting = running.find_waiting([*ids, "one", "three"])
    assert list(waiting) == [*ids, "one", "three"]
    assert waiting["k.3"].values() == [rows[3]]
    running.start()
    until(lambda: running.waiting() == 0, "the spool is shipped")
    found = running.find([*ids, "one", "two", "three"])
    assert found == {name: in_rows(own) for name, own in waiting.items()} | {"two": make("two")}
    serializer = Serializer(product)
    assert [serializer.texts(found[name])[0] for name in ids] == serializer.texts(large)


@pytest.mark.parametrize("cut", [1, 400, 2000])
def test_a_block_cut_short_by_a_crash_was_never_acknowledged(open_log, make, product, cut):
    crashed = open_log()
    crashed.append(make("a"))
    crashed.append(make(*[f"b.{row}" for row in range(40)], features=block(table_of(product, 40), [])))
    crashed.stop()
    (segment,) = crashed.folder.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-cut])
    after = open_log()
    assert after.waiting() == 1
    after.start()
    until(lambda: after.waiting() == 0, "the spool is shipped")
    assert after.rows() == ["a"]


def test_what_rows_share_is_written_to_each_of_them_and_the_first_row_of_an_id_stays(product, make, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'beacon.db'}", product.feature_names)
    count = LARGE_RECORD_ROWS
    rows = table_of(product, count)
    ids = [f"k.{row}" for row in range(count)]
    database.insert([make("k.4", prediction=[99.0])])
    database.insert([make(*ids, features=block(rows, []), client="shop", shadow_version="2", shadow=[1.0] * count)])
    found = database.find(ids)
    with database._client.connect() as connection:
        raw = prediction_log.find(connection, ["k.5"])[0]
    database.close()
    assert len(found) == count
    assert found["k.4"].prediction == [99.0]
    assert (raw.client, raw.model_version, raw.shadow_prediction, raw.request_id) == ("shop", "1", 1.0, "r")


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_the_answers_as_text_are_those_as_structs(product, make, count):
    rows = table_of(product, count)
    ids = [f"k.{row}" for row in range(count)]
    masks = {0: [0, 2], count - 1: [1]}
    answered = make(
        *ids, features=rows, out_of_range=masks, from_store=masks, version='"%b"\n',
        prediction=[row / 3 for row in range(count)], low=[-row * 1e-9 for row in range(count)],
    )  # fmt: skip
    serializer = Serializer(product)
    for each in (answered, make(*ids, features=[[1.0] * len(product.feature_names)] * count, sha256="c" * 64)):
        assert serializer.texts(each) == [msgspec.json.encode(answer) for answer in serializer.responses(each)]
        if count == 1:
            assert [serializer.text(each)] == serializer.texts(each)
        assert len({json.loads(text)["prediction_id"] for text in serializer.texts(each)}) == count


def test_a_retry_of_a_large_batch_is_given_the_same_bytes_before_and_after_shipping(settings, row, stopped_shipper):
    from support.logged_inference import create
    from support.service import Service

    name = next(iter(row))
    rows = [{"features": row | ({} if at % 3 else {name: None}), "prediction_id": f"k.{at}"} for at in range(40)]
    with Service(create(settings)) as service:
        first = service.post("/v1/predict/batch", {"rows": rows})
        assert first.status == 200
        assert service.post("/v1/predict/batch", {"rows": rows}).body == first.body
        told = service.get("/v1/predictions/k.3").json()
        stopped_shipper.set()
        service.until(lambda: not service.app.log_metrics()["beacon_prediction_log_spool_records"], "all is shipped")
        assert service.post("/v1/predict/batch", {"rows": rows}).body == first.body
        assert service.get("/v1/predictions/k.3").json() == told
        assert told["features"][name] is None


@pytest.fixture
def stopped_shipper(monkeypatch):
    """Nothing is shipped until this is set."""
    import threading

    from beacon_prediction_log.shipper import Shipper

    go, ship = threading.Event(), Shipper._ship_once
    monkeypatch.setattr(Shipper, "_ship_once", lambda log: go.is_set() and ship(log))
    return go
