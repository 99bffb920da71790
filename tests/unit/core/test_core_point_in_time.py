"""The join of the feature store against one by hand, row by row: newest rows, arrivals, TTL, figures of the past."""

import math
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from beacon_core.domain.derived import Lag
from beacon_core.feature_store import point_in_time
from beacon_core.feature_store.columns import TIME
from beacon_core.feature_store.point_in_time import join
from beacon_core.feature_store.stored_view import StoredView

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TTL = timedelta(hours=30)
BY_HAND: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.fmean,
    "sum": math.fsum,
    "min": min,
    "max": max,
    "last": lambda sizes: sizes[-1],
}
FIGURES = (*BY_HAND, "count")
LAGS = {of: msgspec.convert({"lag": "size", "days": 1, "of": of}, Lag) for of in FIGURES}
SCHEMA = pa.schema(
    [("a", pa.int64()), ("b", pa.string()), ("time", TIME), ("known", TIME), ("size", pa.float64()), ("n", pa.int64())]
)
Row = dict[str, Any]


def view(ttl: timedelta | None) -> StoredView:
    return StoredView("v", ("a", "b"), "time", "known", ("size", "n", *FIGURES), SCHEMA, LAGS, ttl, False, False)


def tables(seed: int) -> tuple[list[Row], list[Row]]:
    """Rows and moments of few entities and times, so that there are ties, corrections and late arrivals."""
    random = Random(seed)

    def key() -> Row:
        return {"a": random.choice([2**62 + 1, 2**62 + 2, -1]), "b": random.choice(["x", "ü"])}

    rows = []
    for number in range(120):
        time = FIRST + HOUR * random.randrange(60)
        size = None if random.random() < 0.2 else random.random()
        known = time + HOUR * random.choice([0, 0, 1, 40])
        rows.append({**key(), "time": time, "known": known, "size": size, "n": 2**60 + number})
    return rows, [{**key(), "time": FIRST + HOUR * random.randrange(80)} for _ in range(60)]


def of_entity(rows: list[Row], moment: Row, *, as_known: bool) -> list[Row]:
    """The entity's rows that count, the newest last."""
    same = [row for row in rows if (row["a"], row["b"]) == (moment["a"], moment["b"])]
    counted = [row for row in same if row["known"] <= moment["time"] or not as_known]
    return sorted(counted, key=lambda row: (row["time"], row["known"], row["n"]))


def newest(rows: list[Row], moment: Row, ttl: timedelta | None, *, as_known: bool) -> int | None:
    past = [row for row in of_entity(rows, moment, as_known=as_known) if row["time"] <= moment["time"]]
    if not past or (ttl is not None and moment["time"] - past[-1]["time"] > ttl):
        return None
    return int(past[-1]["n"])


def figure(rows: list[Row], moment: Row, of: str, *, as_known: bool) -> float | None:
    past = of_entity(rows, moment, as_known=as_known)
    last_versions = {row["time"]: row["size"] for row in past}
    window = [
        size
        for time, size in last_versions.items()
        if moment["time"] - timedelta(days=1) <= time < moment["time"] and size is not None
    ]
    if of == "count":
        return float(len(window))
    return BY_HAND[of](window) if window else None


@pytest.mark.parametrize("as_known", [False, True])
@pytest.mark.parametrize("pairs", [5, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_the_join_is_what_it_is_by_hand(monkeypatch: pytest.MonkeyPatch, seed: int, pairs: int, as_known: bool) -> None:
    monkeypatch.setattr(point_in_time, "MOST_PAIRS", pairs)
    rows, moments = tables(seed)
    asked = pa.Table.from_pylist(moments, schema=pa.schema([SCHEMA.field(name) for name in ("a", "b", "time")]))
    for ttl in (None, TTL):
        found = join(view(ttl), pa.Table.from_pylist(rows, schema=SCHEMA), asked, ["n", *FIGURES], as_known=as_known)
        assert found["n"].to_pylist() == [newest(rows, moment, ttl, as_known=as_known) for moment in moments]
    for of in FIGURES:
        wanted = [figure(rows, moment, of, as_known=as_known) for moment in moments]
        assert found[of].to_pylist() == pytest.approx(wanted), of


def test_without_rows_nothing_is_known() -> None:
    asked = pa.table({"a": [1], "b": ["x"], "time": pa.array([FIRST], TIME)})
    found = join(view(TTL), SCHEMA.empty_table(), asked, ["n", "mean", "count"], as_known=True)
    assert {name: column.to_pylist() for name, column in found.items()} == {"n": [None], "mean": [None], "count": [0.0]}
