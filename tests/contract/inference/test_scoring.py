"""Batch scoring: the answers are the server's, row by row, and a run that was stopped loses nothing."""

import json
import random
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from support.logged_inference import create
from support.packages import build_package, release_package, row_of
from support.products import MIXED, SPEC
from support.service import Service
from support.settings import Settings

from beacon_core.data import prediction_log
from beacon_core.data.database import migrate, open_store
from beacon_core.data.prediction_log import LogSlice
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.sources import parquet_file, sql
from beacon_core.sources.errors import FetchRefusedError
from beacon_inference.commands import score as command
from beacon_inference.commands.score import ScoreError
from beacon_inference.scoring import run as scoring_run
from beacon_inference.scoring.score import ScoringError
from beacon_prediction_log.database import Database
from beacon_prediction_log.orphans import Orphans
from beacon_prediction_log.shipper import ShipCounters
from beacon_prediction_log.stores import SqlStore

Score = Callable[..., pa.Table]
ANSWERED = ("prediction", "low", "high")


@pytest.fixture(params=[SPEC, MIXED], ids=["numbers", "every type"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    product = load_product(request.param)
    release_package(tmp_path / "home", product)
    return Settings(home=tmp_path / "home", product=product.file)


@pytest.fixture
def score(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    def run(file: Path, *options: str, out: str = "out.parquet") -> pa.Table:
        monkeypatch.setattr(sys, "argv", ["score", str(file), "--out", str(tmp_path / out), *options])
        assert command.main(home) == 0
        place = tmp_path / out
        return pq.read_table(place) if place.suffix == ".parquet" else pyarrow.csv.read_csv(place)

    return run


def rows_of(product: Product, count: int) -> list[dict[str, Any]]:
    """Valid rows with gaps, some values out of the training range, and other levels where these are allowed."""
    chance = random.Random(3)
    rows = []
    for _ in range(count):
        row = dict(zip(product.feature_names, row_of(product), strict=True))
        gaps = len(product.features) - product.min_features
        for feature in product.features:
            if gaps and feature.nullable and chance.random() < 0.15:
                row[feature.name] = None
                gaps -= 1
            elif feature.is_measured and feature.valid is not None and None not in feature.valid:
                low, high = feature.bounds
                value = low + (high - low) * chance.random()
                row[feature.name] = round(value) if feature.is_whole else value
            elif feature.type == "category" and feature.unseen == "other" and chance.random() < 0.3:
                row[feature.name] = chance.choice(["elsewhere", "beyond"])
        rows.append(row)
    return rows


def written(rows: list[dict[str, Any]], file: Path) -> Path:
    if file.suffix == ".csv":
        pyarrow.csv.write_csv(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_every_row_has_the_servers_answer(home: Settings, score: Score, tmp_path: Path, suffix: str) -> None:
    product = load_product(home.product)
    rows = rows_of(product, 60)
    found = score(written(rows, tmp_path / f"rows{suffix}")).to_pylist()
    with Service(create(home)) as service:
        wanted = service.post("/v1/predict/batch", {"rows": [{"features": row} for row in rows]}).json()["predictions"]
    assert [row["row"] for row in found] == list(range(1, 61))
    assert [[row[name] for name in ANSWERED] for row in found] == [
        [one["prediction"], one["interval"]["low"], one["interval"]["high"]] for one in wanted
    ]
    assert [row["imputed"] or "" for row in found] == [", ".join(one["imputed"]) for one in wanted]
    assert [row["out_of_range"] or "" for row in found] == [", ".join(one["out_of_range"]) for one in wanted]
    assert any(row["imputed"] for row in found)
    assert any(row["out_of_range"] for row in found)
    assert {row["problem"] for row in found} == {None}


def test_the_output_says_what_it_was_made_of(home: Settings, score: Score, tmp_path: Path) -> None:
    rows = rows_of(load_product(home.product), 3)
    facts = json.loads(score(written(rows, tmp_path / "rows.parquet")).schema.metadata[b"beacon"])
    assert (facts["model_version"], len(facts["model_sha256"])) == ("1", 64)
    assert score(tmp_path / "rows.parquet", out="out.csv").column_names[:2] == ["row", "prediction"]


def test_a_named_version_answers(home: Settings, score: Score, tmp_path: Path) -> None:
    product = load_product(home.product)
    build_package(home.models_dir, product, version="7", bias=40.0)
    file = written(rows_of(product, 2), tmp_path / "rows.csv")
    one, other = (score(file, "--version", name, out=f"{name}.csv") for name in ("1", "7"))
    assert other["prediction"][0].as_py() == pytest.approx(one["prediction"][0].as_py() + 20, abs=0.01)
    with pytest.raises(ScoreError, match="--version: 9 is not installed; there are 1, 7"):
        score(file, "--version", "9", out="9.csv")


@pytest.mark.parametrize("home", [SPEC], indirect=True)
def test_bad_rows_are_refused_or_marked(home: Settings, score: Score, tmp_path: Path) -> None:
    product = load_product(home.product)
    rows = rows_of(product, 6)
    name, high = product.feature_names[0], product.features[0].bounds[1]
    rows[1][name] = 2 * high
    rows[4] = dict.fromkeys(product.feature_names) | {name: high}
    file = written(rows, tmp_path / "rows.csv")
    with pytest.raises(ScoringError, match=rf"^row 2: {name} must be .*; row 5: 1 feature is known"):
        score(file)
    found = score(file, "--bad-rows", "mark").to_pylist()
    assert [row["row"] for row in found if row["problem"]] == [2, 5]
    assert [row["row"] for row in found if row["prediction"] is None] == [2, 5]


@pytest.mark.parametrize("home", [MIXED], indirect=True)
def test_a_level_that_is_none_is_a_bad_row(home: Settings, score: Score, tmp_path: Path) -> None:
    product = load_product(home.product)
    feature = next(one for one in product.features if one.type == "category" and one.codes and one.unseen == "refuse")
    rows = rows_of(product, 3)
    rows[2][feature.name] = "no such level"
    with pytest.raises(ScoringError, match=f"row 3: {feature.name} must be one of"):
        score(written(rows, tmp_path / "rows.csv"))


@pytest.mark.parametrize("home", [SPEC], indirect=True)
def test_a_run_that_was_stopped_goes_on(
    home: Settings, score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", 10)
    file = written(rows_of(load_product(home.product), 45), tmp_path / "rows.parquet")
    whole = score(file, out="whole.parquet")
    calls: list[int] = []
    real = scoring_run.rows_of

    def dies_at_the_third(table: pa.Table, product: Product, **options: Any) -> Any:
        calls.append(len(table))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(table, product, **options)

    monkeypatch.setattr(scoring_run, "rows_of", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        score(file)
    assert not (tmp_path / "out.parquet").exists()
    assert score(file).equals(whole)
    assert calls == [10, 10, 10, 10, 10, 5], "two blocks before, and three afterwards: none twice but the interrupted"
    assert list(tmp_path.glob(".*.parts")) == []
    # Another model makes another output: nothing of an earlier run is taken.
    calls[:] = []
    with pytest.raises(KeyboardInterrupt):
        score(file, "--force")
    build_package(home.models_dir, load_product(home.product), version="7", bias=40.0)
    other = score(file, "--force", "--version", "7")
    assert other["prediction"][0].as_py() > whole["prediction"][0].as_py() + 10


@pytest.mark.parametrize("home", [SPEC], indirect=True)
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--out", "there.csv"), "there.csv exists; --force writes over it"),
        (("--out", "out.txt"), "must end in .parquet or .csv"),
        (("--out", "nowhere/out.csv"), "nowhere is not there"),
    ],
)
def test_arguments_that_cannot_be_met(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], rule: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path), *options])
    with pytest.raises(ScoreError, match=rule):
        command.main(home)
    assert Path("there.csv").read_text() == "mine"


@pytest.mark.parametrize("home", [SPEC], indirect=True)
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{name},colour\n1,red\n", "'colour' is not a column of this product"),
        ("nothing\n1\n", "is not a column of this product"),
        ("{name}\nmuch\n", "must be a finite number"),
        ("{name}\n", "no rows"),
        ("", "no rows|empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    home: Settings, score: Score, tmp_path: Path, text: str, rule: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text.format(name=load_product(home.product).feature_names[0]))
    with pytest.raises(DataError, match=rule):
        score(file)
    assert not (tmp_path / "out.parquet").exists()


def in_database(rows: list[dict[str, Any]], file: Path) -> str:
    """A SQLite file with the rows in the table `stock`, each with its number."""
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in ["place", *names])
    with sqlite3.connect(file) as connection:
        connection.execute(f"CREATE TABLE stock ({columns})")
        marks = ", ".join("?" * (len(names) + 1))
        connection.executemany(
            f"INSERT INTO stock VALUES ({marks})", [[at, *row.values()] for at, row in enumerate(rows)]
        )
    return f"sqlite:///{file}"


def query_of(rows: list[dict[str, Any]], order: str = "ORDER BY place") -> str:
    columns = ", ".join(f'"{name}"' for name in rows[0])
    return f"SELECT {columns} FROM stock {order}"


def test_a_table_of_a_database_is_scored_into_another(
    home: Settings, score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(load_product(home.product), 30)
    wanted = score(written(rows, tmp_path / "rows.parquet")).to_pylist()
    url, out = in_database(rows, tmp_path / "stock.db"), f"sqlite:///{tmp_path / 'answers.db'}"
    arguments = (url, "--query", query_of(rows), "--out", out, "--table", "answers")

    def run(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["score", *arguments, *more])
        assert command.main(home) == 0

    run()
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute("SELECT * FROM answers ORDER BY row")]
    assert [row.pop("model_version") for row in found] == ["1"] * 30
    assert found == wanted
    with pytest.raises(ScoreError, match=r"answers of .* exists; --force writes over it"):
        run()
    run("--force")
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (30,)


@pytest.mark.parametrize("home", [SPEC], indirect=True)
def test_a_database_that_fails_leaves_the_table_as_it_was(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(load_product(home.product), 30)
    file, out = written(rows, tmp_path / "rows.parquet"), f"sqlite:///{tmp_path / 'answers.db'}"
    arguments = ["score", str(file), "--out", out, "--table", "answers"]
    monkeypatch.setattr(sys, "argv", arguments)
    command.main(home)
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", 10)
    file = written(rows[:25], tmp_path / "rows.parquet")
    real, parts = sql.insert, []

    def fails_at_the_second(table: Any) -> Any:
        parts.append(table)
        if len(parts) == 2:
            raise KeyboardInterrupt
        return real(table)

    monkeypatch.setattr(sys, "argv", [*arguments, "--force"])
    with monkeypatch.context() as patch:
        patch.setattr(sql, "insert", fails_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            command.main(home)
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (30,)
    assert command.main(home) == 0
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT row) FROM answers").fetchone() == (25, 25)


@pytest.mark.parametrize("home", [SPEC], indirect=True)
@pytest.mark.parametrize(("order", "read_again"), [("ORDER BY place", 4), ("", 5)], ids=["ordered", "in no order"])
def test_a_query_goes_on_only_where_it_names_an_order(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, read_again: int
) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 10)
    rows = rows_of(load_product(home.product), 45)
    arguments = [in_database(rows, tmp_path / "stock.db"), "--query", query_of(rows, order)]
    monkeypatch.setattr(sys, "argv", ["score", *arguments, "--out", str(tmp_path / "out.parquet")])
    calls: list[int] = []
    real = scoring_run.rows_of

    def dies_at_the_second(table: pa.Table, product: Product, **options: Any) -> Any:
        calls.append(len(table))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(table, product, **options)

    monkeypatch.setattr(scoring_run, "rows_of", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        command.main(home)
    assert command.main(home) == 0
    assert len(calls) == 2 + read_again
    assert pq.read_table(tmp_path / "out.parquet")["row"].to_pylist() == list(range(1, 46))


@pytest.mark.parametrize("home", [SPEC], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "error", "rule"),
    [
        (("sqlite:///{folder}/none.db", "--out", "o.csv"), ScoreError, "needs --query"),
        (("lake:", "--out", "o.csv"), ScoreError, "BEACON_LAKE names none"),
        (("{folder}", "--out", "sqlite:///{folder}/o.db"), ScoreError, "--table: must name the table"),
        (("{folder}", "--out", "sqlite:///{folder}/o.db", "--table", "a; b"), ScoreError, "--table: must name"),
        (
            ("sqlite:///{folder}/none.db", "--query", "SELECT 1", "--out", "o.csv"),
            FetchRefusedError,
            "the file of the database is missing",
        ),
        (("nowhere://x/y", "--query", "SELECT 1", "--out", "o.csv"), FetchRefusedError, "its address is none"),
    ],
)
def test_inputs_and_outputs_that_cannot_be_met(
    home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    error: type[Exception],
    rule: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["score", *(text.replace("{folder}", str(tmp_path)) for text in arguments)])
    with pytest.raises(error, match=rule):
        command.main(home)


def ship(home: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let a log's process look for spools, and read what is in the database then."""
    from prometheus_client import CollectorRegistry

    monkeypatch.setattr("beacon_prediction_log.orphans.QUIET_SECONDS", -1.0)
    engine = open_store(home.database)
    migrate(engine)
    database = Database(home.database, load_product(home.product).feature_names)
    stores = [SqlStore(database)]
    Orphans(home.spools_dir, home.spool_dir, stores, ShipCounters(CollectorRegistry())).adopt_all()
    database.close()
    with engine.connect() as connection:
        names = [name for batch in prediction_log.scan(connection, LogSlice(), ["id"]) for (name,) in batch]
        found = prediction_log.find(connection, names)
    engine.dispose()
    return found


def test_scored_rows_are_logged_as_the_server_logs_them_and_once(
    home: Settings, score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = load_product(home.product)
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", 20)
    rows = rows_of(product, 50)
    file = written(rows, tmp_path / "rows.parquet")
    real = command.Parts.write

    def dies_after_the_log(self: Any, number: int, table: pa.Table) -> None:
        if number == 1:
            raise KeyboardInterrupt
        real(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(command.Parts, "write", dies_after_the_log)
        with pytest.raises(KeyboardInterrupt):
            score(file, "--log")
    assert len(ship(home, monkeypatch)) == 40
    answers = score(file, "--log").to_pylist()
    found = sorted(ship(home, monkeypatch), key=lambda one: one.id)
    assert [one.prediction for one in found] == [row["prediction"] for row in answers]
    assert [", ".join(sorted(one.imputed)) for one in found] == [
        ", ".join(sorted((row["imputed"] or "").split(", "))) if row["imputed"] else "" for row in answers
    ]
    wanted = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert [{name: one.features[name] for name in row} for one, row in zip(found, wanted, strict=True)] == wanted
    assert {(one.model_version, one.client, one.entity) for one in found} == {("1", None, None)}
    assert list(home.spools_dir.iterdir()) == []
