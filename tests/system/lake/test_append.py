"""What goes into the lake is there once: blocks that come again, two committers, ids of other clocks, new features."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.lakes import NOON, ids_in, in_folder, opened, own_id, own_rows, row

from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.lake import Appended, SpoolBlock, append, lookup
from beacon_core.data.predictions import PredictionRow
from beacon_core.domain.ids import new_ids
from beacon_core.spool.record import Record, decode_records, encode_record
from beacon_prediction_log.rows import table_rows

pytestmark = pytest.mark.lake
DAY = timedelta(days=1)


def test_a_block_that_comes_again_is_there_once(tmp_path: Path) -> None:
    rows = own_rows(100)
    with opened(*in_folder(tmp_path)) as found:
        assert lake.append_rows(found, rows[:40], SpoolBlock("s", 1, 0, 40)) == Appended(40, 0)
        assert lake.append_rows(found, rows[:40], SpoolBlock("s", 1, 0, 40)) == Appended(0, 40)
        # A shipper that starts anew may cut the spool elsewhere.
        assert lake.append_rows(found, rows[:70], SpoolBlock("s", 1, 0, 70)) == Appended(30, 40)
        assert lake.append_rows(found, rows[70:], SpoolBlock("s", 1, 70, 100)) == Appended(30, 0)
        assert lake.append_rows(found, rows[:5]) == Appended(0, 5)
        assert ids_in(found) == [one.id for one in rows]


def test_a_block_that_follows_its_spool_costs_no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = own_rows(30)
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, rows[:10], SpoolBlock("s", 1, 0, 10))
        looks = []
        monkeypatch.setattr(append, "located", lambda *given: looks.append(given) or lookup.located(*given))
        lake.append_rows(found, rows[10:20], SpoolBlock("s", 1, 10, 20))
        lake.append_rows(found, rows[20:], SpoolBlock("s", 2, 0, 10))
        assert [some for *_, some, _ in looks if some] == []
        lake.append_rows(found, rows[20:], SpoolBlock("s", 2, 0, 10))
        assert [some for *_, some, _ in looks if some] != []
        assert len(ids_in(found)) == 30


def test_a_spool_that_begins_anew_under_its_old_name_loses_nothing(tmp_path: Path) -> None:
    rows = own_rows(30)
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, rows[:20], SpoolBlock("s", 7, 0, 20))
        assert lake.append_rows(found, rows[20:], SpoolBlock("s", 1, 0, 10)) == Appended(10, 0)
        assert len(ids_in(found)) == 30


def test_a_row_twice_in_a_block_is_there_once(tmp_path: Path) -> None:
    rows = own_rows(3)
    with opened(*in_folder(tmp_path)) as found:
        assert lake.append_rows(found, [*rows, rows[1]._replace(prediction=9.0)]) == Appended(3, 1)
        with lake.begin(found) as handle:
            assert lake.find(handle, [rows[1].id])[0].prediction == 1.5


def test_committers_at_once_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Each has blocks of its own, and all of them have the blocks of one spool and the rows of one client."""
    own = {at: own_rows(20, NOON + timedelta(minutes=at)) for at in range(3)}
    shared = [own_rows(5, NOON + timedelta(hours=1, minutes=at)) for at in range(4)]
    clients = [row(f"order-{at}", at) for at in range(8)]
    with opened(*in_folder(tmp_path)):
        pass  # the table is there
    start = threading.Barrier(3)

    def commit(at: int) -> None:
        with opened(*in_folder(tmp_path)) as found:
            start.wait()
            for block in range(4):
                lake.append_rows(
                    found, own[at][block * 5 : block * 5 + 5], SpoolBlock(f"s{at}", 1, block * 5, block * 5 + 5)
                )
                lake.append_rows(found, shared[block], SpoolBlock("shared", 1, block * 5, block * 5 + 5))
                lake.append_rows(found, clients[block * 2 : block * 2 + 2])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(commit, range(3)))
    expected = [one for rows in (*own.values(), *shared, clients) for one in rows]
    with opened(*in_folder(tmp_path)) as found:
        assert sorted(ids_in(found)) == sorted(one.id for one in expected)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=-40)])
def test_a_prediction_is_found_whatever_clock_made_its_id(tmp_path: Path, ahead: timedelta) -> None:
    """The id's clock and the row's differ: one was set back an hour, or a simulation has shifted it."""
    rows = [row(own_id(NOON + ahead + timedelta(minutes=at), at), at) for at in range(5)]
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, rows)
        assert lake.append_rows(found, rows) == Appended(0, 5)
        with lake.begin(found) as handle:
            assert [one.id for one in lake.find(handle, [each.id for each in rows])] == [each.id for each in rows]


def test_rows_after_a_clock_went_back_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    before, after = own_rows(10), own_rows(10, NOON - timedelta(hours=1))
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, before, SpoolBlock("s", 1, 0, 10))
        lake.append_rows(found, after, SpoolBlock("s", 1, 10, 20))
        assert ids_in(found) == [one.id for one in [*after, *before]]


def test_a_block_over_midnight_is_in_both_days(tmp_path: Path) -> None:
    rows = own_rows(20, NOON + DAY / 2 - timedelta(seconds=10))
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, rows[::-1])
        assert ids_in(found) == [one.id for one in rows]
        with lake.begin(found) as handle:
            assert lake.count(handle, LogSlice(until=NOON + DAY / 2)) == 10
    assert len(list((tmp_path / "lake").rglob("time_day=*"))) == 2


def test_a_product_that_gains_a_feature_in_the_middle_of_a_day(tmp_path: Path) -> None:
    old = row("old", 0, features='{"doors": 4}')
    new = row("new", 1, features='{"doors": 5, "seats no. 2 (%)": 2.5, "gear": "manual"}')
    changed = row("changed", 2, features='{"doors": "many", "gear": 6}')
    with opened(*in_folder(tmp_path)) as found:
        for one in (old, new, changed):
            lake.append_rows(found, [one])
        lake.keep_up(found, NOON)
        with lake.begin(found) as handle:
            rows = lake.find(handle, ["old", "new", "changed"])
    assert [one.features for one in rows] == [
        {"doors": 4}, {"doors": 5, "seats no. 2 (%)": 2.5, "gear": "manual"}, {"doors": "many", "gear": 6},
    ]  # fmt: skip


def test_committers_that_gain_different_features_at_once(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)):
        pass
    start = threading.Barrier(2)

    def commit(name: str) -> None:
        with opened(*in_folder(tmp_path)) as found:
            start.wait()
            lake.append_rows(found, [row(name, features=f'{{"{name}": 1.0}}')])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(commit, ["first", "second"]))
    with opened(*in_folder(tmp_path)) as found, lake.begin(found) as handle:
        features = [one.features for one in lake.find(handle, ["first", "second"])]
    assert features == [{"first": 1.0}, {"second": 1.0}]


def records() -> list[Record]:
    """Records as inference spools them: one row and many, a client's id, masks, other features from before a change."""
    when = NOON.timestamp() + 0.123457
    batch = new_ids(3)
    return [
        Record(ids=["a"], time=when, names=("x", "colour", "new"), features=[[1.25, "red", True]], prediction=[1.0],
               low=[0.5], high=[1.5], version="1", sha256="a" * 64, latency=0.01, request_id="r1", trace_id="t" * 32,
               entities=["car-1"], input_digests=["d" * 64], from_store={0: [1]}, client="shop"),
        Record(ids=["b"], time=when + 1, names=("x", "colour", "new"), features=[[None, None, False]],
               prediction=[2.0], low=[0.5], high=[2.5], version="1", sha256="a" * 64, latency=0.02, request_id="r2",
               trace_id="", out_of_range={0: [0]}, shadow_version="2", shadow=[2.5]),
        Record(ids=batch, time=when + 2, names=("x", "seats"), features=[[1.0, 2.0], [None, 3.0], [4.0, None]],
               prediction=[1.0, 2.0, 3.0], low=[0.0, 1.0, 2.0], high=[2.0, 3.0, 4.0], version="2", sha256="b" * 64,
               latency=0.03, request_id="r3", trace_id="", out_of_range={2: [0]}),
    ]  # fmt: skip


def test_records_of_the_spool_become_the_same_rows_as_in_the_database(tmp_path: Path) -> None:
    spooled = b"".join(encode_record(record) + b"\n" for record in records())
    given = decode_records(spooled)
    rows = [PredictionRow(*own) for record in given for own in table_rows(record)]
    with opened(*in_folder(tmp_path / "records")) as first, opened(*in_folder(tmp_path / "rows")) as second:
        lake.append_records(first, given)
        lake.append_rows(second, rows)
        names = [one.id for one in rows]
        with lake.begin(first) as one, lake.begin(second) as other:
            found = lake.find(one, names)
            assert found == lake.find(other, names)
    assert len(found) == 5
    assert found[0].features == {"x": 1.25, "colour": "red", "new": True}
    assert (found[1].imputed, found[1].out_of_range, found[1].from_store) == (["x", "colour"], ["x"], None)
    assert found[0].time == datetime.fromtimestamp(given[0].time, UTC)
