"""Times in the lake are those of the table: of records, and of the ids that tell theirs."""

import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from beacon_core.data.prediction_log.lake.blocks import EPOCH, microseconds, table_of_records
from beacon_core.data.prediction_log.lake.lookup import times_in_ids
from beacon_core.domain.ids import new_id, new_ids, time_of
from beacon_core.platform import clock
from beacon_core.spool.record import made_at


def test_a_block_has_the_time_of_each_record_as_the_table_does(make):
    """No time is whole microseconds, and some lie just between two."""
    chance = random.Random(7)
    moments = [chance.uniform(0, 4e9) for _ in range(2000)] + [1_764_400_000 + half / 2e6 for half in range(2000)]
    records = [make(f"p{number}", time=moment) for number, moment in enumerate(moments)]
    found = table_of_records(records, clock.now())["time"].cast(pa.int64()).to_pylist()
    assert found == [microseconds(made_at(record)) for record in records]


@given(st.lists(st.text("0123456789abcdef", min_size=31, max_size=32) | st.text(max_size=40), max_size=20))
def test_an_id_tells_its_time_in_a_column_as_alone(others):
    names = [*others, *(f"0{name[1:]}" for name in others if len(name) == 32), new_id(), *new_ids(3)]
    alone = [time_of(name) for name in names]
    found = times_in_ids(pa.chunked_array([pa.array(names, pa.large_string())]))
    assert found.to_pylist() == [None if moment is None else microseconds(moment) for moment in alone]
    assert alone[-1] > EPOCH
