"""Batch scoring: the answers are the server's, row by row, and a run that was stopped loses nothing."""

import json
import random
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

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.sources import parquet_file
from beacon_inference.commands import score as command
from beacon_inference.commands.score import ScoreError
from beacon_inference.scoring.score import ScoringError

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
    real = command.rows_of

    def dies_at_the_third(table: pa.Table, product: Product) -> Any:
        calls.append(len(table))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(table, product)

    monkeypatch.setattr(command, "rows_of", dies_at_the_third)
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
