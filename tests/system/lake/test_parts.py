"""A block of the lake that several processes write at once, as the tasks of an engine do."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.lakes import NOON, ids_in, in_folder, opened, own_id, own_rows

from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import Lake, LakePlace, PreparedPart
from beacon_spark.streaming.part import OUTCOME, TopicTask, read_message, writing

pytestmark = pytest.mark.lake
PRODUCT = "cars"


@pytest.fixture
def place(tmp_path: Path) -> LakePlace:
    return in_folder(tmp_path)


@pytest.fixture
def found(place: LakePlace) -> Iterator[Lake]:
    with opened(*place) as there:
        yield there


def sent(name: str, minutes: float = 0, **others: Any) -> bytes:
    """A message as any program may write it."""
    own = {
        "format": 1, "product": PRODUCT, "id": name,
        "time": round((NOON + timedelta(minutes=minutes)).timestamp() * 1e6),
        "prediction": 1.5, "low": 0.5, "high": 2.5, "model_version": "1", "model_sha256": "a" * 64,
        "latency_seconds": 0.01, "request_id": "q",
    }  # fmt: skip
    return json.dumps(own | others).encode()


def part_of(found: Lake, *messages: bytes) -> PreparedPart:
    read = [read_message(message, PRODUCT) for message in messages]
    return lake.prepare(found, lake.table_of_messages(read, datetime.now(UTC)))


def files_of(folder: Path) -> set[Path]:
    return set((folder / "lake").rglob("*.parquet"))


def test_parts_are_committed_together(found: Lake) -> None:
    seen = lake.snapshot_of(found)
    parts = [part_of(found, sent("a", numbers={"doors": 4})), part_of(found, sent("b", 1, texts={"colour": "red"}))]
    assert ids_in(found) == []
    lake.commit_parts(found, parts, seen)
    assert ids_in(found) == ["a", "b"]
    with lake.begin(found) as handle:
        assert [one.features for one in lake.find(handle, ["a", "b"])] == [{"doors": 4.0}, {"colour": "red"}]


def test_what_came_again_is_left_out_within_a_part_and_of_what_is_there(found: Lake) -> None:
    """Of one id the earlier prediction stays, in a client's own words or in Beacon's."""
    own = own_id(NOON, 1)
    seen = lake.snapshot_of(found)
    first = part_of(found, sent("a", 2, prediction=9.0), sent("a"), sent(own), sent(own))
    lake.commit_parts(found, [first], seen)
    seen = lake.snapshot_of(found)
    again = part_of(found, sent("a", 90), sent(own), sent("b"))
    assert (first.rows, first.repeated, again.rows, again.repeated) == (2, 2, 1, 2)
    lake.commit_parts(found, [again], seen)
    assert sorted(ids_in(found)) == sorted(["a", "b", own])
    with lake.begin(found) as handle:
        assert [one.prediction for one in lake.find(handle, ["a"])] == [1.5]


def test_another_commit_between_the_look_and_the_commit_refuses_it(found: Lake, tmp_path: Path) -> None:
    seen = lake.snapshot_of(found)
    part = part_of(found, sent("a"))
    there = files_of(tmp_path)
    assert len(there) == 1
    lake.append_rows(found, own_rows(1))
    with pytest.raises(lake.CommitConflict):
        lake.commit_parts(found, [part], seen)
    assert not there & files_of(tmp_path), "what nobody names is deleted"
    seen = lake.snapshot_of(found)
    lake.commit_parts(found, [part_of(found, sent("a"))], seen)
    assert len(ids_in(found)) == 2


def test_parts_without_a_new_row_commit_nothing(found: Lake) -> None:
    lake.commit_parts(found, [part_of(found, sent("a"))], None)
    seen = lake.snapshot_of(found)
    part = part_of(found, sent("a"))
    assert pickle.loads(part.files) == []
    lake.commit_parts(found, [part], seen)
    assert lake.snapshot_of(found) == seen


def outcome(place: LakePlace, *messages: bytes | None, skips: bool = False) -> dict[str, Any]:
    """What a task tells of the messages."""
    columns = [pa.array(messages, pa.binary()), pa.array([3] * len(messages)), pa.array(range(len(messages)))]
    batch = pa.RecordBatch.from_arrays(columns, ["value", "partition", "offset"])
    (told,) = writing(TopicTask(place, PRODUCT, skips))([batch])
    assert told.schema == OUTCOME
    (found,) = told.to_pylist()
    return dict(found)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"{", "it is no logged prediction"),
        (None, "it is no logged prediction"),
        (b"[" * 100_000, "it is no logged prediction"),
        (sent("a", numbers={"doors": "four"}), "it is no logged prediction: .*numbers"),
        (sent("a", format=2), "it has format 2, and this revision reads 1"),
        (sent("a", product="another"), "it is of the product 'another', not of 'cars'"),
    ],
)
def test_a_message_that_is_none_of_ours_is_named_and_nothing_is_written(
    place: LakePlace, tmp_path: Path, value: bytes | None, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        read_message(value, PRODUCT)
    told = outcome(place, sent("a"), value)
    assert told["unreadable"].startswith("partition 3, offset 1: it ")
    assert told["files"] is None
    assert files_of(tmp_path) == set()
    assert (outcome(place, sent("a"), value, skips=True)["rows"], told["skipped"]) == (1, None)


def test_a_lake_that_does_not_answer_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file", encoding="utf-8")
    told = outcome(in_folder(tmp_path), sent("a"))
    assert "the lake's files cannot be read or written" in told["away"]


def test_an_empty_part_tells_nothing(place: LakePlace) -> None:
    assert list(writing(TopicTask(place, PRODUCT, skips=False))([])) == []
