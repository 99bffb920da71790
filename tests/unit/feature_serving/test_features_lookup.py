"""From stored values to Feast's columns: decoding, times, statuses, TTL. No store and no server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from feast import ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from beacon_core.domain.errors import BeaconError
from beacon_core.feature_store.entity_keys import key_encoder
from beacon_feature_serving.catalog.keys import key_reader
from beacon_feature_serving.catalog.plans import LookupPlan, ViewRead
from beacon_feature_serving.reading.response import assemble, rfc3339
from beacon_feature_serving.rows import UNKNOWN, FeatureRow, decode_value

SECOND = 1_000_000_000
NOW = 2_000_000_000.0


def plan(columns: tuple[str, ...] = ("RM", "TAX"), ttl_seconds: float = 100.0) -> LookupPlan:
    view = ViewRead(None, "t", "v", columns, ("tract_id",), lambda *_: [], ttl_seconds)  # type: ignore[arg-type]
    return LookupPlan((view,), ("tract_id", *columns), ("tract_id",), {"tract_id": "tract_id"}, (("v", 0),))


def row(age: float, *values: Any) -> FeatureRow:
    return FeatureRow(int((NOW - age) * SECOND), values)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_decoded_as_it_was_stored(value: float) -> None:
    assert decode_value(Value(double_val=value).SerializeToString()) == value


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (Value(), None),
        (Value(null_val=0), None),
        (Value(int64_val=-7), -7),
        (Value(string_val="x"), "x"),
        (Value(bool_val=False), False),
        (Value(double_val=0.0), 0.0),
        (Value(double_val=float("nan")), "NaN"),
        (Value(double_val=float("-inf")), "-Infinity"),
        (Value(bytes_val=b"\x00\xff"), "AP8="),
        (Value(double_list_val=DoubleList(val=[1.5, 2.5])), [1.5, 2.5]),
    ],
)
def test_other_values_are_decoded_as_feast_does(stored: Value, expected: Any) -> None:
    assert decode_value(stored.SerializeToString()) == expected


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.sampled_from([0, 1, 1_000, 1_000_000]))
def test_times_are_written_as_protobuf_writes_them(moment: datetime, unit: int) -> None:
    stamp = Timestamp()
    stamp.FromDatetime(moment.replace(microsecond=0))
    stamp.nanos = 123 * unit
    assert rfc3339(stamp.seconds * SECOND + stamp.nanos) == stamp.ToJsonString()


def test_columns_statuses_and_times() -> None:
    rows = [row(1, 6.5, None), None, row(101, 7.5, 300.0), row(100, UNKNOWN, 301.0)]
    response = assemble(plan(), [[1, 2, 3, 4]], [rows], NOW, versions=False)
    assert response.body["metadata"] == {"feature_names": ("tract_id", "RM", "TAX")}
    keys, rm, tax = response.body["results"]
    assert list(keys["values"]) == [1, 2, 3, 4]
    assert list(rm["values"]) == [6.5, None, None, None]
    assert rm["statuses"] == ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert list(tax["values"]) == [None, None, None, 301.0]
    assert tax["statuses"] == ["NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE", "PRESENT"]
    written = [(datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=s)).strftime("%FT%TZ") for s in (1, 101, 100)]
    assert rm["event_timestamps"] == [written[0], "1970-01-01T00:00:00Z", *written[1:]]
    assert response.statuses == {"PRESENT": 2, "NULL_VALUE": 1, "NOT_FOUND": 3, "OUTSIDE_MAX_AGE": 2}
    assert response.ages == [1.0, 100.0]


def test_without_a_ttl_no_row_is_too_old() -> None:
    response = assemble(plan(ttl_seconds=float("inf")), [[1]], [[FeatureRow(0, (1.0, 2.0))]], NOW, versions=False)
    assert response.statuses == {"PRESENT": 2}


@settings(deadline=None)  # it compares, and does not time
@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_key_is_encoded_as_feast_does(number: int) -> None:
    feasts = serialize_entity_key(EntityKey(join_keys=["tract_id"], entity_values=[Value(int64_val=number)]), 3)
    assert key_encoder({"tract_id": ValueType.INT64})([[number]]) == [feasts]


def test_other_keys_are_encoded_as_feast_does() -> None:
    types = {"town": ValueType.STRING, "block": ValueType.INT32}
    values = [Value(string_val="Lynn"), Value(int32_val=7)]
    feasts = serialize_entity_key(EntityKey(join_keys=["town", "block"], entity_values=values), 3)
    read = key_reader(types)
    assert read([["  Lynn", "Salem"], [7, 8]], ["town", "block"])[0] == feasts
    for town, block in (([1], [7]), (["Lynn"], ["7"]), (["Lynn"], [1 << 31]), (["Lynn"], [True])):
        with pytest.raises(BeaconError):
            read([town, block], ["town", "block"])
