"""A double written with all its digits is the same double at every door, and in every place where it is kept."""

import contextlib
import io
import json
import math
import random
import struct
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_files import data_path
from support.products import csv_text, write_product
from support.settings import Settings

from beacon_core.data import predictions
from beacon_core.data.database import open_store
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.tables import metadata
from beacon_core.domain.numbers import NotFiniteError, NumberError, read_number, read_numbers
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.sources.table import read_table
from beacon_core.spool.record import Record, decode_record, encode_record
from beacon_core.web.http import Request
from beacon_drift_profiling.profiling.log import read_partition
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.protocols.mlflow import mlflow
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.table import TableParser
from beacon_prediction_log.rows import table_rows
from beacon_retraining.data.history import base_rows
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate
from beacon_retraining.files import write_table

NAMES = ("size", "rooms", "age")
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
TABLES = st.lists(st.tuples(*[DOUBLES] * 4), min_size=1, max_size=20)
REPEATED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True)
ANY = {"valid": [-sys.float_info.max, sys.float_info.max]}

Rows = Sequence[tuple[float, ...]]


def bits(values: object) -> list[int]:
    """Doubles as the integers that their bytes are: -0.0 is not 0.0."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat.view(np.int64).tolist()


def table(rows: Rows) -> dict[str, list[float]]:
    return dict(zip((*NAMES, "price"), map(list, zip(*rows, strict=True)), strict=True))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    folder = tmp_path_factory.mktemp("product")
    ones = table([(1.0, 1.0, 1.0, 1.0)])
    return write_product(folder, ones, "price", columns=dict.fromkeys(ones, ANY))


def many() -> Rows:
    """Doubles of every size, by their bits; decimals of 17 digits; whole numbers about 2^53."""
    chance = random.Random(18)
    found: list[float] = [5e-324, -5e-324, 2.2250738585072014e-308, sys.float_info.max, -0.0, 0.1 + 0.2, 2.0**53 - 1]
    while len(found) < 400:
        value = struct.unpack("<d", chance.getrandbits(64).to_bytes(8, "little"))[0]
        found += [value] if math.isfinite(value) else []
        found += [chance.random(), chance.gauss(0, 1e6), float(chance.getrandbits(53))]
    return list(zip(*[iter(found[:400])] * 4, strict=True))


@REPEATED
@given(rows=TABLES)
def test_the_data_file(product: Product, rows: Rows) -> None:
    product.sample_path.write_text(csv_text(table(rows)))
    found = read_table(product)
    assert {name: bits(found[name]) for name in (*NAMES, "price")} == {
        name: bits(values) for name, values in table(rows).items()
    }


@given(st.from_regex(r"\A[+-]?([0-9]{1,60}\.?[0-9]{0,60}|\.[0-9]{1,60})([eE][+-]?[0-9]{1,3})?\Z"))
def test_any_decimal_is_the_nearest_double(text: str) -> None:
    if math.isinf(float(text)):
        with pytest.raises(NotFiniteError):
            read_number(text)
        assert read_numbers([text]) is None
    else:
        assert bits(read_number(f" {text}\t")) == bits(float(text))
        assert bits(read_numbers([text, "1"])) == bits([float(text), 1.0])


@given(st.text(alphabet="0123456789+-.eE_ xnaifty\u0661\uff11", max_size=8))
def test_what_is_read_at_once_is_what_is_read_one_by_one(text: str) -> None:
    try:
        one: float | None = read_number(text)
    except NumberError:
        one = None
    together = read_numbers([text])
    assert together is None or bits(together) == bits(one), text
    if one is not None:
        assert bits(one) == bits(float(text))


def request(content_type: str, body: str) -> Request:
    made = Request({"method": "POST", "headers": [(b"content-type", content_type.encode())]})
    made.body = body.encode()
    return made


def doors(product: Product) -> dict[str, Callable[[Rows], PredictionInputs]]:
    """Every way to send rows of features that has a parser of numbers of its own."""
    parser, protocol = NativeParser(product, 1000), mlflow(PerProduct(lambda of: TableParser(of, 1000)))
    columns = json.dumps(NAMES)

    def parse(request: Request) -> PredictionInputs:
        return protocol(request, product).inputs

    def records(rows: Rows) -> list[dict[str, float]]:
        return [dict(zip(NAMES, row, strict=True)) for row in rows]

    return {
        "native": lambda rows: parser.row(json.dumps({"features": records(rows)[0]}).encode()),
        "native batch": lambda rows: parser.batch(
            json.dumps({"rows": [{"features": record} for record in records(rows)]}).encode()
        ),
        "MLflow CSV": lambda rows: parse(request("text/csv", csv_text(dict(zip(NAMES, zip(*rows), strict=True))))),  # noqa: B905
        "MLflow split": lambda rows: parse(
            request("application/json", f'{{"dataframe_split":{{"columns":{columns},"data":{json.dumps(rows)}}}}}')
        ),
        "MLflow records": lambda rows: parse(
            request("application/json", json.dumps({"dataframe_records": records(rows)}))
        ),
        "MLflow instances": lambda rows: parse(request("application/json", json.dumps({"instances": rows}))),
        "MLflow inputs": lambda rows: parse(request("application/json", json.dumps({"inputs": rows}))),
    }


@REPEATED
@given(rows=st.lists(st.tuples(*[DOUBLES] * 3), min_size=1, max_size=5))
def test_the_doors_of_inference(product: Product, rows: Rows) -> None:
    for name, ask in doors(product).items():
        wanted = rows[:1] if name == "native" else rows
        assert bits(ask(wanted).matrix) == bits(wanted), name


def test_the_prediction_log_from_the_spool_to_the_drift_job(product: Product, tmp_path: Path) -> None:
    rows = many()
    hour = datetime(2026, 3, 2, 12, tzinfo=UTC)
    figures = [[row[place] for row in rows] for place in range(4)]
    record = Record(
        ids=[f"p{number:04}" for number in range(len(rows))],
        time=hour.timestamp(),
        names=NAMES,
        features=[list(row[:3]) for row in rows],
        prediction=figures[0],
        low=figures[1],
        high=figures[2],
        version="1",
        sha256="a" * 64,
        latency=figures[3][1],
        request_id="r",
        trace_id="0" * 32,
    )
    read = decode_record(encode_record(record))
    assert bits(read.features) == bits(record.features)
    assert bits(read.prediction) == bits(record.prediction)
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        predictions.insert(connection, list(table_rows(read)))
        (logged,) = read_partition(connection, Partition(hour, "1"), product, product.features)
    engine.dispose()
    assert not logged.set_aside
    assert bits(logged.rows.features) == bits([row[:3] for row in rows])
    assert logged.rows.prediction.tolist() == figures[0]  # SQLite keeps no -0.0
    assert logged.rows.low.tolist() == figures[1]
    assert logged.rows.high.tolist() == figures[2]


def test_the_stages_of_retraining_and_both_feature_stores(product: Product, tmp_path: Path) -> None:
    rows = [row for row in many() if all(abs(value) < 1e300 for value in row)]
    product.sample_path.write_text(csv_text(table(rows)))
    settings = Settings(home=tmp_path, product=product.file)
    wanted = bits([row[:3] for row in rows])
    frame = validate(product.sample_path, product)
    write_table(tmp_path / "rows.parquet", frame)
    kept = pd.read_parquet(tmp_path / "rows.parquet")
    write_offline(settings, product, kept, datetime.now(UTC))
    with contextlib.redirect_stderr(io.StringIO()):
        repo.apply(settings, product)
        repo.materialize(settings, product)
        joined = base_rows(settings, product)
        store = repo.open_store(settings)
        keys = [{product.entity.key: number} for number in range(1, len(rows) + 1)]
        service = store.get_feature_service(product.feature_service)
        online = pd.DataFrame(store.get_online_features(service, keys).to_dict())
    offline = pd.read_parquet(data_path(settings))
    joined.to_csv(tmp_path / "listed.csv", index=False)
    stages = {"validate": frame, "Parquet": kept, "offline": offline, "joined": joined, "online": online}
    for name, stage in stages.items():
        assert bits(stage[list(NAMES)].to_numpy()) == wanted, name
    listed = pd.read_csv(tmp_path / "listed.csv", dtype=str)
    assert bits([[read_number(cell) for cell in row] for row in listed[list(NAMES)].to_numpy()]) == wanted
