"""The spools of pods that are gone: who shares their volume ships them, once, and only when nobody works on them."""

import os
import time

import pytest
from support.whole_log import WholeLog

from beacon_core.platform.locks import exclusive
from beacon_core.spool.segments import QUARANTINE, SHIPPER_LOCK
from beacon_prediction_log.orphans import QUIET_SECONDS, Orphans


@pytest.fixture
def shared(tmp_path):
    """Pods' folders: `left` is gone with two predictions in its spool, `mine` is alive."""
    return tmp_path / "shared"


@pytest.fixture
def mine(shared, tmp_path, product):
    log = WholeLog(tmp_path, product.feature_names)
    yield log
    log.stop()


@pytest.fixture
def gone(shared, make, product):
    pod = WholeLog(shared / "gone", product.feature_names)
    pod.append(make("a", "b"))
    pod.append(make("c"))
    pod.stopped = True
    pod.writer.close()
    (shared / "gone" / "spool").rename(shared / "pod-1")
    return shared / "pod-1"


def grow_old(folder):
    past = time.time() - QUIET_SECONDS - 1
    for path in (*folder.iterdir(), folder):
        os.utime(path, (past, past))


def adopt(shared, log):
    Orphans(shared, shared / "pod-mine", [log.store], log.counters).adopt_all()


def test_what_a_pod_left_is_shipped_once_and_its_folder_goes(shared, mine, gone):
    adopt(shared, mine)
    assert gone.exists(), "its container may come back"
    grow_old(gone)
    adopt(shared, mine)
    assert sorted(mine.rows()) == ["a", "b", "c"]
    assert not gone.exists()
    assert mine.value("shipped_total") == 3
    adopt(shared, mine)
    assert len(mine.rows()) == 3


def test_a_spool_that_somebody_writes_to_or_ships_is_left_alone(shared, mine, gone, make, product):
    alive = WholeLog(shared / "alive", product.feature_names)
    alive.append(make("d"))
    grow_old(shared / "alive" / "spool")
    (shared / "alive" / "spool").rename(shared / "pod-2")
    grow_old(gone)
    with exclusive(gone / SHIPPER_LOCK, "taken"):
        adopt(shared, mine)
    assert mine.value("shipped_total") == 0
    assert len(list((shared / "pod-2").glob("*.jsonl"))) == 1
    alive.stopped = True
    alive.writer.close()


def test_while_the_database_is_away_an_orphan_waits(shared, mine, gone, tmp_path):
    (tmp_path / "beacon.db").mkdir()
    grow_old(gone)
    adopt(shared, mine)
    assert mine.value("ship_failures_total") == 1
    (tmp_path / "beacon.db").rmdir()
    grow_old(gone)
    adopt(shared, mine)
    assert sorted(mine.rows()) == ["a", "b", "c"]


def test_lines_that_are_no_records_keep_their_folder(shared, mine, gone):
    with (gone / "00000001.jsonl").open("ab") as segment:
        segment.write(b"garbage\n")
    grow_old(gone)
    adopt(shared, mine)
    assert sorted(mine.rows()) == ["a", "b", "c"]
    assert (gone / QUARANTINE).read_bytes() == b"garbage\n"
