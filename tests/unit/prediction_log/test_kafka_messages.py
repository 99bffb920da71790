"""Records as messages: one per prediction, keyed by the entity, with every field that the lake has."""

import numpy as np
import pytest

from beacon_core.domain.log_message import FORMAT, decode_message
from beacon_core.spool.block import block_of
from beacon_prediction_log.messages import messages_of
from beacon_prediction_log.tail import SpoolTail

NAMES = ("size", "colour", "new")


def made(make, *ids, **changes):
    count = len(ids)
    return make(*ids, names=NAMES, features=[[1.5, "red", True]] * count, **changes)


def test_a_prediction_is_a_message(make):
    (message,) = messages_of(made(make, "a", client="shop"), "cars")
    found = decode_message(message.value)
    assert message.key == b"a"
    assert (found.format, found.product, found.id, found.client) == (FORMAT, "cars", "a", "shop")
    assert found.time == 1_700_000_000_123_456
    assert (found.numbers, found.texts, found.flags) == ({"size": 1.5}, {"colour": "red"}, {"new": True})
    assert (found.prediction, found.low, found.high, found.imputed, found.from_store) == (21.5, 18.5, 25.5, [], None)


def test_the_key_is_the_entitys_where_there_is_one(make):
    record = made(make, "a", "b", "c", entities=["car-1", None, ""])
    assert [message.key for message in messages_of(record, "cars")] == [b"car-1", b"b", b""]


def test_what_has_no_value_is_imputed_and_left_out(make):
    record = make("a", names=NAMES, features=[[None, None, False]], from_store={0: [2]}, out_of_range={0: [0, 1]})
    (message,) = messages_of(record, "cars")
    found = decode_message(message.value)
    assert (found.imputed, found.numbers, found.texts, found.flags) == (["size", "colour"], {}, {}, {"new": False})
    assert (found.from_store, found.out_of_range) == (["new"], ["size", "colour"])


def test_whole_numbers_are_numbers_and_true_is_none(make):
    (message,) = messages_of(make("a", names=NAMES, features=[[4, "4", True]]), "cars")
    found = decode_message(message.value)
    assert (found.numbers, found.texts, found.flags) == ({"size": 4.0}, {"colour": "4"}, {"new": True})


@pytest.mark.parametrize("rows", [1, 3])
def test_a_block_of_columns_comes_as_rows_do(make, rows):
    matrix = np.array([[float(row), np.nan] for row in range(rows)])
    block = block_of(np.insert(matrix, 1, np.nan, axis=1), [(1, ["red"] * rows)])
    ids = [f"p{row}" for row in range(rows)]
    record = make(*ids, names=("size", "colour", "age"), features=block)
    found = [decode_message(message.value) for message in messages_of(record, "cars")]
    assert [one.id for one in found] == ids
    assert [one.numbers for one in found] == [{"size": float(row)} for row in range(rows)]
    assert all((one.texts, one.imputed) == ({"colour": "red"}, ["age"]) for one in found)


def test_each_row_of_a_shadow_has_its_own_answer(make):
    record = made(make, "a", "b", shadow_version="2", shadow=[1.0, 2.0], input_digests=["x", None])
    found = [decode_message(message.value) for message in messages_of(record, "cars")]
    assert [(one.shadow_version, one.shadow_prediction, one.input_digest) for one in found] == [
        ("2", 1.0, "x"),
        ("2", 2.0, None),
    ]


def test_what_is_read_elsewhere_is_looked_for_in_all_of_the_spool(tmp_path, make):
    """The consumer brings it into the lake later: what the topic has is not in the store that is read yet."""
    from beacon_core.spool.record import encode_record
    from beacon_core.spool.segments import SpoolWriter

    writer = SpoolWriter(tmp_path, 1 << 20)
    writer.append(encode_record(make("a")) + b"\n")
    for read, found in (("lake", {"a"}), ("kafka", set())):
        tail = SpoolTail(tmp_path, ["kafka"], read=read)
        tail.shipped(tail.next_chunk(1 << 20, "kafka"), "kafka")
        assert set(tail.find(["a"])) == found
    writer.close()
