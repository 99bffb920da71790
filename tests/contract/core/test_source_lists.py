"""Several sources are one table: later ones add columns by their keys, or rows, of which the newest of a key counts."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.source_products import product_of, put

from beacon_core.domain.data_errors import DataError
from beacon_core.sources.table import load_table, read_table

STORES = "store,city\nA,Bonn\nB,Köln\nC,Essen\n"
SALES = "id,seen,shop,store,price\n1,2024-01-01Z,x,B,1\n2,2024-01-01Z,y,A,2\n3,2024-01-01Z,z,,3\n4,2024-01-01Z,z,D,4\n"
JOINED: dict[str, Any] = {"features": {"city": {"type": "category"}, "shop": {"type": "category"}}}


def test_a_later_source_adds_columns_by_its_keys(tmp_path: Path) -> None:
    put(tmp_path, "sales.csv", SALES.replace("2024-01-01Z", "2024-01-01"))
    put(tmp_path, "stores.csv", STORES)
    source = [{"file": "sales.csv"}, {"file": "stores.csv", "join": ["store"]}]
    table = read_table(product_of(tmp_path, source, **JOINED))
    assert table["id"].to_pylist() == [1, 2, 3, 4]
    assert table["city"].to_pylist() == ["Köln", "Bonn", None, None]
    assert table.column_names == ["id", "seen", "city", "shop", "price"]


JOIN_FAULTS = {
    "a key twice": (STORES + "A,Ulm\n", "stores.csv: store: is there more than once .store A, again in row 4"),
    "no key": (STORES.replace("store", "place"), "stores.csv: .header.: store is missing; 'place' is not a column"),
    "a column that both have": (STORES.replace("city", "city,shop").replace("n\n", "n,q\n"), "is also in stores.csv"),
}


@pytest.mark.parametrize(("stores", "rule"), JOIN_FAULTS.values(), ids=JOIN_FAULTS)
def test_a_join_that_is_none_is_refused(stores: str, rule: str, tmp_path: Path) -> None:
    put(tmp_path, "sales.csv", SALES.replace("2024-01-01Z", "2024-01-01"))
    put(tmp_path, "stores.csv", stores)
    source = [{"file": "sales.csv"}, {"file": "stores.csv", "join": ["store"]}]
    with pytest.raises(DataError, match=rule):
        read_table(product_of(tmp_path, source, **JOINED))


HEAD = "id,seen,known,shop,price\n"
FIRST = HEAD + "1,2024-01-01,2024-01-09,x,1\n2,2024-01-01,2024-01-02,y,2\n2,2024-02-01,2024-02-02,y,3\n"
SECOND = "price,shop,known,seen,id\n"
SECOND += "20,z,2024-01-03,2024-01-01,2\n10,z,2024-01-08,2024-01-01,1\n40,z,2024-01-03,2024-01-01,4\n"
SHOPS: dict[str, Any] = {"features": {"shop": {"type": "category"}}, "excluded": {"known": "it is a time"}}
KNOWN: dict[str, Any] = SHOPS | {"excluded": {}, "time": {"event": "seen", "created": "known"}}
PLAIN: dict[str, Any] = SHOPS | {"time": {}, "excluded": SHOPS["excluded"] | {"seen": "it is a time"}}
NEWEST = {
    "the later source": ([FIRST, SECOND], SHOPS, [(2, 3), (2, 20), (1, 10), (4, 40)]),
    "the one that became known last": ([FIRST, SECOND], KNOWN, [(1, 1), (2, 3), (2, 20), (4, 40)]),
    "in any order of the sources": ([SECOND, FIRST], KNOWN, [(2, 20), (4, 40), (1, 1), (2, 3)]),
    "equal times: the later source": ([FIRST, FIRST.replace(",y,", ",w,")], KNOWN, [(1, 1), (2, 2), (2, 3)]),
    "without times: one row a key": ([HEAD + "1,,,x,1\n2,,,y,2\n", SECOND], PLAIN, [(2, 20), (1, 10), (4, 40)]),
    "of three sources": ([SECOND, FIRST, SECOND], SHOPS, [(2, 3), (2, 20), (1, 10), (4, 40)]),
    "without an entity all count": (
        [HEAD + "1,,,x,1\n", HEAD + "1,,,x,1\n"],
        PLAIN | {"entity": "none", "excluded": PLAIN["excluded"] | {"id": "a number"}},
        [1, 1],
    ),
    "row numbers all count": (
        [FIRST, SECOND],
        PLAIN
        | {
            "entity": {"name": "line", "key": "line", "row_number": True},
            "excluded": PLAIN["excluded"] | {"id": "a number"},
        },
        [1, 2, 3, 20, 10, 40],
    ),
}


def sources_of(folder: Path, texts: list[str]) -> list[dict[str, str]]:
    return [{"file": put(folder, f"{number}.csv", text)} for number, text in enumerate(texts)]


@pytest.mark.parametrize(("texts", "changes", "wanted"), NEWEST.values(), ids=NEWEST)
def test_of_the_rows_of_one_key_in_several_sources_the_newest_counts(
    tmp_path: Path, texts: list[str], changes: dict[str, Any], wanted: list[Any]
) -> None:
    loaded = load_table(product_of(tmp_path, sources_of(tmp_path, texts), **changes))
    prices = loaded.table["price"].to_pylist()
    rows = (
        list(zip(loaded.table["id"].to_pylist(), prices, strict=True)) if "id" in loaded.table.column_names else prices
    )
    assert rows == wanted
    count = sum(text.count("\n") - 1 for text in texts)
    said = [f"{count - len(wanted)} of {count} rows are superseded by a newer row of the same key"]
    assert list(loaded.descriptions[len(texts) :]) == (said if count > len(wanted) else [])


def test_a_correction_of_another_kind_of_source_counts_and_is_joined_as_the_others(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "later.db") as connection:
        connection.execute("create table later (id integer, seen text, shop text, store text, price real)")
        connection.execute("insert into later values (2, '2024-01-01', 'q', 'C', 22)")
    put(tmp_path, "sales.csv", SALES.replace("2024-01-01Z", "2024-01-01"))
    put(tmp_path, "stores.csv", STORES)
    later = {"sql": {"url": f"sqlite:///{tmp_path / 'later.db'}", "query": "select * from later"}}
    source = [{"file": "sales.csv"}, {"file": "stores.csv", "join": ["store"]}, later]
    table = read_table(product_of(tmp_path, source, **JOINED))
    assert table["price"].to_pylist() == [1, 3, 4, 22]
    assert table["city"].to_pylist() == ["Köln", None, None, "Essen"]


NEWEST_FAULTS = {
    "twice in one source": (
        [FIRST, SECOND + "21,z,2024-01-04,2024-01-01,2\n"],
        SHOPS,
        r"1.csv: id and seen: must tell the rows of each source apart, has id 2, seen .* in rows 1 and 4",
    ),
    "twice in one source, superseded": (
        [FIRST + "2,2024-01-01,2024-01-02,y,2\n", SECOND],
        SHOPS,
        r"0.csv: id and seen",
    ),
    "twice in one source, known at other times": (
        [FIRST, SECOND + "21,z,2024-01-04,2024-01-01,2\n"],
        KNOWN,
        r"1.csv: id and seen: must tell",
    ),
    "other columns": (
        [FIRST, SECOND.replace("shop", "store")],
        SHOPS,
        r"1.csv: .header.: shop is missing; 'store' is not",
    ),
    "too few rows are left": (
        [FIRST, FIRST],
        SHOPS | {"data": {"rows": {"min": 4, "max": 9}}},
        r"has 3 rows, must have at least 4",
    ),
}


@pytest.mark.parametrize(("texts", "changes", "rule"), NEWEST_FAULTS.values(), ids=NEWEST_FAULTS)
def test_what_no_newest_row_can_be_told_of_is_refused(
    tmp_path: Path, texts: list[str], changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(DataError, match=rule):
        load_table(product_of(tmp_path, sources_of(tmp_path, texts), **changes))
