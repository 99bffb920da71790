"""What waits in the spool is found by its id, whoever made that, and little is read for it."""

import pytest

from beacon_core.domain.ids import new_ids
from beacon_core.spool import segments
from beacon_core.spool.record import decode_record
from beacon_prediction_log import tail
from beacon_prediction_log.index import MARK_BYTES


def test_ids_that_beacon_made_are_found_without_an_entry_each(open_log, make):
    first, other = new_ids(3), new_ids(2)
    running = open_log()
    running.append(make(*first, input_digests=None))
    running.append(make(*other, input_digests=None))
    running.append(make(first[0][:28]))  # a client may choose what it likes
    assert list(running.find([first[2], other[0], first[0]])) == [first[2], other[0], first[0]]
    assert running.find([first[1]])[first[1]].ids == [first[1]]
    assert running.find([first[0][:28]]).keys() == {first[0][:28]}
    assert running.find([first[0][:28] + "0003", other[0][:28]]) == {}
    assert running.waiting() == 6


@pytest.mark.parametrize("stopped", [False, True])
def test_each_of_many_is_found_whatever_its_place_and_its_time(open_log, make, stopped):
    # Some hundred lines a mark, several of one time on both sides of it; in the middle the clock goes back an hour.
    times = [1_000_000 + number // 150 for number in range(1000)]
    times[500:600] = [time - 3_600_000 for time in times[500:600]]
    names = [f"{time:012x}{number:020x}" for number, time in enumerate(times)]
    running = open_log()
    for number, name in enumerate(names):
        running.append(make(name, input_digests=None, prediction=[float(number)]))
    if stopped:  # the next process has the same to tell
        running.stop()
        running = open_log()
    found = running.find_waiting([*reversed(names), "f" * 32, "0" * 32, names[3][:12] + "f" * 20])
    assert [record.prediction for record in found.values()] == [[float(number)] for number in reversed(range(1000))]
    entries = running.tail._index._segments[1]
    assert len(entries.named) == 100
    assert 5 <= len(entries.marks) <= 50


def test_what_is_asked_for_is_looked_for_in_a_small_part_of_the_spool(open_log, make, monkeypatch):
    names = [f"{1_000_000 + number:012x}{number:020x}" for number in range(1000)]
    running = open_log()
    for name in names:
        running.append(make(name, input_digests=None))
    running.waiting()
    read, read_segment = [], segments.read
    monkeypatch.setattr(segments, "read", lambda *given: read.append(read_segment(*given)) or read[-1])
    assert running.find_waiting([names[700]]).keys() == {names[700]}
    assert sum(map(len, read)) < 3 * MARK_BYTES < (running.folder / "00000001.jsonl").stat().st_size
    read.clear()
    assert running.find_waiting(["0" * 32, f"{1_000_000 + len(names):012x}{0:020x}", "of-a-client"]) == {}
    assert read == []


def test_a_large_record_is_read_once_however_many_of_its_rows_are_asked_for(open_log, make, monkeypatch):
    running = open_log()
    names = [f"k.{row}" for row in range(1000)]
    running.append(make(*names))
    running.waiting()
    decoded, read, read_segment = [], [], segments.read
    monkeypatch.setattr(tail, "decode_record", lambda *given: decoded.append(1) or decode_record(*given))
    monkeypatch.setattr(segments, "read", lambda *given: read.append(read_segment(*given)) or read[-1])
    assert list(running.find_waiting(names)) == names
    assert (len(decoded), len([each for each in read if each])) == (1, 1)
