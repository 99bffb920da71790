"""One table from every kind of source, by real servers: the same values, the same errors, and no credential told."""

import gzip
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text
from support.postgres import new_database
from support.products import POLICY
from support.s3 import s3_bucket
from support.source_products import product_of, put

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product
from beacon_core.sources import places
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.raw import read_raw
from beacon_core.sources.rows import read_rows
from beacon_core.sources.table import load_table, read_stored, read_table

pytestmark = [pytest.mark.xdist_group("sources"), pytest.mark.slow]

KEYS = [2**63 - 1, 2**53 + 1, 3]
AMOUNTS = [0.1, 123456.789012345678, None]
TEXTS = ["Ann", 'Bo, "B" é', None]
FLAGS = [True, False, None]
DAYS = [date(2024, 1, 31), date(2024, 2, 1), None]
TIMES = [
    datetime(2024, 1, 31, 12, tzinfo=UTC),
    datetime(2024, 2, 1, 0, 0, 1, tzinfo=UTC),
    datetime(1999, 1, 1, tzinfo=UTC),
]
TARGETS = [-1.5, 1e-6, 1e9]
WANTED = pa.table(
    {
        "id": KEYS,
        "seen": pa.array(TIMES, pa.timestamp("us", "UTC")),
        "amount": AMOUNTS,
        "name": TEXTS,
        "new": FLAGS,
        "day": pa.array(DAYS, pa.date32()),
        "price": TARGETS,
    }
)
CSV = """id,seen,amount,name,new,day,price
9223372036854775807,2024-01-31T12:00:00Z,0.1,Ann,yes,2024-01-31,-1.5
9007199254740993,2024-02-01T00:00:01Z,123456.789012345678,"Bo, ""B"" é",no,2024-02-01,0.000001
3,1999-01-01T00:00:00Z,,,,,1e9
"""
JSON = """{"id": 9223372036854775807, "seen": "2024-01-31T12:00:00Z", "amount": 0.1, "name": "Ann", "new": true,\
 "day": "2024-01-31", "price": -1.5}
{"id": 9007199254740993, "seen": "2024-02-01T00:00:01Z", "amount": 123456.789012345678, "name": "Bo, \\"B\\" é",\
 "new": false, "day": "2024-02-01", "price": 1e-6}
{"id": 3, "seen": "1999-01-01T00:00:00Z", "price": 1e9}
"""
QUERY = "select id, seen, amount, name, new, day, price from items order by place"


class Pages(BaseHTTPRequestHandler):
    """Answers with the bytes or the status of a path; `failures` are statuses that come first."""

    server: "Web"

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        web = self.server
        web.asked.append((self.command, self.path, self.headers.get("Authorization")))
        status = web.failures.pop(0) if web.failures else 200
        body = web.pages.get(self.path.partition("?")[0])
        if body is None:
            status = 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body and status == 200:
            self.wfile.write((body or b"")[: web.cut])

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class Web(ThreadingHTTPServer):
    """A server on loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.pages: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.asked: list[tuple[str, str, str | None]] = []
        self.cut: int | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(places, "WAIT_SECONDS", 0.01)
    with Web() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket with the table, plain and compressed; its address for s3fs."""
    with s3_bucket("tables") as address:
        system = fsspec.filesystem("s3", skip_instance_cache=True)
        for name, content in (("items.csv", CSV.encode()), ("items.csv.gz", gzip.compress(CSV.encode()))):
            system.pipe(f"tables/{name}", content)
        yield address


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database of PostgreSQL with the table; its URL."""
    with new_database() as address:
        engine = create_engine(address)
        with engine.begin() as connection:
            columns = (
                "id int8, seen timestamptz, amount numeric, name text, new bool, day date, price float8, place int"
            )
            connection.execute(text(f"create table items ({columns})"))
            rows = zip(KEYS, TIMES, ("0.1", "123456.789012345678", None), TEXTS, FLAGS, DAYS, TARGETS, strict=True)
            names = ("id", "seen", "amount", "name", "new", "day", "price", "place")
            values = ", ".join(f":{name}" for name in names)
            for place, row in enumerate(rows):
                given = dict(zip(names, (*row, place), strict=True))
                connection.execute(text(f"insert into items values ({values})"), given)
        engine.dispose()
        yield address


def sqlite(folder: Path) -> str:
    connection = sqlite3.connect(folder / "items.db")
    connection.execute("create table items (id integer, seen text, amount real, name text, new int, day text, price)")
    for key, seen, amount, name, new, day, price in zip(KEYS, TIMES, AMOUNTS, TEXTS, FLAGS, DAYS, TARGETS, strict=True):
        row = (key, seen.isoformat(), amount, name, new, day and day.isoformat(), price)
        connection.execute("insert into items values (?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    return "sqlite:///items.db"


def parquet(folder: Path) -> str:
    pq.write_table(WANTED.set_column(3, "name", WANTED["name"].dictionary_encode()), folder / "items.parquet")
    return "items.parquet"


def halves(folder: Path) -> str:
    header, *lines = CSV.splitlines(keepends=True)
    put(folder, "parts/a.csv", header + lines[0] + lines[1])
    put(
        folder,
        "parts/b.csv",
        "".join(",".join(reversed(line.strip().split(","))) + "\n" for line in (header, lines[2])),
    )
    put(folder, "parts/.hidden.csv", "no table")
    put(folder, "parts/notes.txt", "no table")
    return "parts"


SIMPLE = {
    "CSV": lambda folder: {"file": put(folder, "items.csv", CSV)},
    "CSV, elsewhere": lambda folder: {"file": str(folder / put(folder, "deep/items.csv", CSV))},
    "gzip": lambda folder: {"file": put(folder, "items.csv.gz", gzip.compress(CSV.encode()))},
    "Parquet": lambda folder: {"file": parquet(folder)},
    "JSON lines": lambda folder: {"file": put(folder, "items.jsonl", JSON)},
    "a folder": lambda folder: {"folder": halves(folder), "pattern": "*.csv"},
    "a list without join": lambda folder: [{"file": f"{halves(folder)}/a.csv"}, {"file": "parts/b.csv"}],
    "a file's URL": lambda folder: {"url": (folder / put(folder, "items.csv", CSV)).as_uri()},
    "SQLite": lambda folder: {"sql": {"url": sqlite(folder), "query": QUERY.replace("place", "rowid")}},
    "SQL, the long way": lambda folder: {
        "kind": "sql",
        "url": sqlite(folder),
        "query": QUERY.replace("place", "rowid"),
    },
    "Kaggle's sample": lambda folder: {"kaggle": "me/items", "file": "i.csv", "sample": put(folder, "s/i.csv", CSV)},
}


@pytest.mark.parametrize("make", SIMPLE.values(), ids=SIMPLE)
def test_the_same_table_from_this_machine(make: Any, tmp_path: Path) -> None:
    product = product_of(tmp_path, make(tmp_path))
    assert read_table(product).equals(WANTED)
    assert read_table(product, columns=["id", "name"]).equals(WANTED.select(["id", "name"]))
    loaded = load_table(product)
    pq.write_table(loaded.table, tmp_path / "stored.parquet")
    assert read_stored(tmp_path / "stored.parquet", product).equals(WANTED)
    assert all("7 columns" in line for line in loaded.descriptions)
    assert read_rows(product, rows=1) == [
        {"id": 2**63 - 1, "seen": "2024-01-31T12:00:00Z", "amount": 0.1, "name": "Ann", "new": True}
        | {"day": "2024-01-31", "price": -1.5}
    ]
    raw = read_raw(product.sources[0])
    assert set(raw.table.column_names) == set(WANTED.column_names)


def test_the_same_table_from_a_web_server(web: Web, tmp_path: Path) -> None:
    web.pages["/items.csv"] = CSV.encode()
    for key in ("https", "url"):
        assert read_table(product_of(tmp_path, {key: f"{web.address}/items.csv"})).equals(WANTED)
    web.failures = [503, 503]
    assert read_table(product_of(tmp_path, {"https": f"{web.address}/items.csv"})).equals(WANTED)


def test_the_same_table_from_s3(bucket: str, tmp_path: Path) -> None:
    for name in ("items.csv", "items.csv.gz"):
        product = product_of(tmp_path, {"s3": f"{bucket}/{name}"})
        assert read_table(product).equals(WANTED)
        assert load_table(product).descriptions[0].startswith(f"{name}: CSV")


def test_the_same_table_from_postgresql(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMS_DB", database)
    product = product_of(tmp_path, {"sql": {"url": "${ITEMS_DB}", "query": QUERY}})
    assert read_table(product).equals(WANTED)


FAR = {
    "no such page": ({"https": "{web}/none.csv"}, FetchRefusedError, "is not there|status 404"),
    "no server": ({"https": "http://127.0.0.1:9/items.csv"}, FetchError, "ClientConnectorError|Cannot connect"),
    "no such object": ({"s3": "{bucket}/none.csv"}, FetchRefusedError, "is not there"),
    "no such bucket": ({"s3": "s3://elsewhere/none.csv"}, FetchRefusedError, "is not there"),
    "no such table": ({"sql": {"url": "{database}", "query": "select * from none"}}, FetchRefusedError, "none"),
    "no such database": (
        {"sql": {"url": "postgresql+psycopg://me@127.0.0.1:9/x", "query": "select 1"}},
        FetchError,
        "connection",
    ),
    "no such file of SQLite": (
        {"sql": {"url": "sqlite:///none.db", "query": "select 1"}},
        FetchRefusedError,
        "file of the database is missing",
    ),
    "no such driver": ({"sql": {"url": "nosql://x/y", "query": "select 1"}}, FetchRefusedError, "SQLAlchemy reads"),
    "no such scheme": ({"url": "gopher://x/y"}, FetchRefusedError, "gopher"),
    "no such variable": ({"https": "{web}/${NOT_SET_HERE}"}, FetchRefusedError, "NOT_SET_HERE is not set"),
    "no file": ({"file": "none.csv"}, DataError, r"none.csv: \(file\): cannot be read: No such file"),
    "no folder": ({"folder": "none"}, DataError, "No such folder"),
    "no sample": ({"kaggle": "a/b", "file": "x.csv"}, FetchRefusedError, "no Kaggle credentials are set"),
}


def filled(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    for name, place in places.items():
        value = value.replace(f"{{{name}}}", place)
    return value


@pytest.mark.parametrize("case", FAR)
def test_a_place_that_has_no_table_is_named(case: str, web: Web, bucket: str, database: str, tmp_path: Path) -> None:
    source, kind, rule = FAR[case]
    found = {"web": web.address, "bucket": bucket, "database": database}
    with pytest.raises(kind, match=rule) as failed:
        read_table(product_of(tmp_path, filled(source, found)))
    assert type(failed.value) is kind
    assert "\n" not in str(failed.value)


def test_a_cut_off_answer_is_no_table(web: Web, tmp_path: Path) -> None:
    web.pages["/items.csv"], web.cut = CSV.encode(), 100
    with pytest.raises(FetchError, match=r"items.csv"):
        read_table(product_of(tmp_path, {"https": f"{web.address}/items.csv"}))


def test_credentials_come_from_the_environment_and_are_never_told(
    web: Web, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITEMS_TOKEN", "a-very-secret-token")
    web.pages["/items.csv"] = CSV.encode()
    product = product_of(tmp_path, {"https": f"{web.address}/items.csv?token=${{ITEMS_TOKEN}}"})
    assert read_table(product).equals(WANTED)
    assert web.asked[-1][1] == "/items.csv?token=a-very-secret-token"
    web.pages.clear()
    with pytest.raises(FetchRefusedError) as refused:
        read_table(product)
    assert "secret" not in str(refused.value)
    assert "secret" not in "".join(load_table(product_of(tmp_path, {"file": put(tmp_path, "i.csv", CSV)})).descriptions)
    web.pages["/items.csv"] = CSV.encode()
    product = product_of(tmp_path, {"https": web.address.replace("//", "//me:${ITEMS_TOKEN}@") + "/items.csv"})
    assert read_table(product).equals(WANTED)
    assert str(web.asked[-1][2]).startswith("Basic ")
    address = database.replace("beacon@", "beacon:${ITEMS_TOKEN}@").rpartition("/")[0] + "/nothing"
    with pytest.raises(FetchError) as failed:
        read_table(product_of(tmp_path, {"sql": {"url": address, "query": QUERY}}))
    assert "secret" not in str(failed.value)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password from-netrc\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert read_table(product_of(tmp_path, {"https": f"{web.address}/items.csv"})).equals(WANTED)
    assert str(web.asked[-1][2]).startswith("Basic ")


@pytest.mark.parametrize(
    "source",
    [
        {"https": "https://me:word@host/items.csv"},  # kingfisher:ignore
        {"https": "https://host/items.csv?api_key=abc"},
        {"sql": {"url": "postgresql://me:word@host/x", "query": "select 1"}},  # kingfisher:ignore
        {"url": "ftp://me:word@host/items.csv"},  # kingfisher:ignore
    ],
)
def test_a_credential_in_product_yaml_is_refused(source: object, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"holds a credential; write \$\{NAME\}"):
        product_of(tmp_path, source)


def test_files_of_a_folder_have_the_same_columns(tmp_path: Path) -> None:
    halves(tmp_path)
    put(tmp_path, "parts/c.csv", CSV.replace("amount", "height"))
    with pytest.raises(DataError, match=r"c.csv: \(header\): amount is missing; 'height' is not a column"):
        read_table(product_of(tmp_path, {"folder": "parts", "pattern": "*.csv"}))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    header, *lines = CSV.splitlines(keepends=True)
    file = tmp_path / put(tmp_path, "items.csv", header + "".join(lines) * 60_000)
    product = product_of(tmp_path, {"file": "items.csv"}, data={"rows": {"min": 1, "max": 1_000_000}})
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(0.02):
            os.utime(file, ns=(time.time_ns(), time.time_ns()))

    changing = threading.Thread(target=touch)
    changing.start()
    try:
        with pytest.raises(DataError, match=r"items.csv: \(file\): changed while it was read; try again"):
            read_table(product)
    finally:
        stop.set()
        changing.join()
    assert len(read_table(product)) == 180_000


def test_product_yaml_names_its_source(tmp_path: Path) -> None:
    put(tmp_path, "items.csv", CSV)
    put(tmp_path, "policy.yaml", POLICY.read_bytes())
    put(tmp_path, "product.yaml", "name: items\ntarget: {name: price}\nsource: {fil: items.csv}\nfeatures: {a: {}}\n")
    with pytest.raises(ProductError, match="source: has the unknown key `fil`"):
        load_product(tmp_path / "product.yaml")
