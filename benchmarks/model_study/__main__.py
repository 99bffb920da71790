"""Beacon's search, CatBoost's defaults, FLAML and AutoGluon (medium quality) on the same folds and the same time.

Each is trained on the rows of a fold, on two cores, and predicts the others. FLAML and AutoGluon run in environments
of their own, which uv makes. Results are kept as they come (--results), so that a study can be ended and gone on with.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from retraining.base import training_rows

from beacon_core.platform.settings import ROOT
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.selection import choose, excess_over_best
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.splits import Split, split_rows
from beacon_retraining.training.train import compare
from model_study.tables import StudyTable, opened, shipped, subset

PAGE = ROOT / "docs" / "reference" / "model-study.md"
PEER = Path(__file__).with_name("peer.py")
BEACON = "Beacon"
UV = ("uv", "run", "--no-project", "--python", "3.11", "--with", "pyarrow")
TUNING = 0.6
"""Of the time; the comparison of the families before it, and the fits after it, take the rest."""
PEERS: dict[str, list[str]] = {
    "CatBoost": [sys.executable],
    "FLAML": [*UV, "--with", "flaml[automl]", "python"],
    "AutoGluon": [*UV, "--with", "autogluon.tabular[lightgbm,catboost,xgboost]", "python"],
}
NAMES = (BEACON, *PEERS)


class Result(msgspec.Struct, frozen=True):
    """One model on one fold: its RMSE in the target's unit, and the seconds that it took."""

    table: str
    model: str
    fold: int
    rows: int
    rmse: float
    seconds: float
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make model-study", description=__doc__)
    parser.add_argument("--table", nargs="+", action="append", default=[], metavar="FILE TARGET [TIME]", help="a table")
    parser.add_argument("--no-shipped", action="store_true", help="only the tables that are named")
    parser.add_argument("--seconds", type=float, default=300, help="for each model and fold")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--first", type=int, default=None, help="only so many of the folds")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--results", type=Path, default=Path("model-study.jsonl"), help="kept here, and gone on with")
    parser.add_argument("--page", action="store_true", help="write docs/reference/model-study.md, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [] if given.no_shipped else shipped(Path(folder))
        for file, target, *moment in given.table:
            files.append((Path(file).stem.lower(), Path(file), target, *(moment or [""])))
        for name, file, target, moment in files:
            with opened(name, file, target, moment) as table:
                _study(table, given)
    text = report(_known(given.results), given.seconds, given.folds)
    print(text)
    if given.page:
        PAGE.write_text(text, encoding="utf-8")


def _study(table: StudyTable, given: argparse.Namespace) -> None:
    """Every model on every fold that is not known yet."""
    dataset = table.dataset
    splits = split_rows(dataset, table.product, np.arange(len(dataset.target)), given.folds, 0)
    for fold, split in list(enumerate(splits))[: given.first]:
        for model in given.models:
            known = {(result.table, result.model, result.fold) for result in _known(given.results)}
            if (table.name, model, fold) in known:
                continue
            begun = time.monotonic()
            predictions, note = (
                _beacon(table, split, given.seconds)
                if model == BEACON
                else (_peer(model, table, split, given.seconds), "")
            )
            seconds = time.monotonic() - begun
            rmse = float(np.sqrt(np.mean((dataset.target[split[1]] - predictions) ** 2)))
            result = Result(table.name, model, fold, len(dataset.target), rmse, seconds, note)
            print(result, flush=True)
            with given.results.open("ab") as stream:
                stream.write(msgspec.json.encode(result) + b"\n")


def _beacon(table: StudyTable, split: Split, seconds: float) -> tuple[Matrix, str]:
    """The recipe that training would choose from these rows, and how it was found."""
    train, test = split
    known = subset(table.dataset, train)
    settings = TrainSettings(budget_seconds=TUNING * seconds, repeats=1)
    plan = plan_of(table.product, settings)
    compared = compare(known, table.product, settings, plan)
    best = choose(compared.results, excess_over_best(compared.results, known.target, known.weights))
    model = fit(compared.recipes[best.name], known, settings.seed)
    note = f"{best.name}, {compared.summary.trials} trials"
    return model.predict(table.dataset.features[test], table.dataset.seconds[test]), note


def _peer(model: str, table: StudyTable, split: Split, seconds: float) -> Matrix:
    """A peer's predictions of the fold's rows, by its own process."""
    rows = training_rows(table.product, table.dataset)
    target, names = table.product.target.name, list(table.product.feature_names)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("train.parquet", "test.parquet", "out.npy")]
        rows.iloc[split[0]][[*names, target]].to_parquet(files[0], index=False)
        rows.iloc[split[1]][names].to_parquet(files[1], index=False)
        command = [*PEERS[model], str(PEER), model, files[0], files[1], target, str(seconds), files[2]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise SystemExit(f"{model} failed on {table.name}:\n{done.stderr[-2000:]}")
        answer: Matrix = np.load(files[2])
        return answer


def _known(file: Path) -> list[Result]:
    lines = file.read_bytes().splitlines() if file.is_file() else []
    return [msgspec.json.decode(line, type=Result) for line in lines]


def report(results: list[Result], seconds: float, folds: int) -> str:
    """The study as a page: RMSE by table and model, and geometric means of Beacon's ratios."""
    tables = list(dict.fromkeys(result.table for result in results))
    rmse = {
        (table, model): float(np.mean([r.rmse for r in results if (r.table, r.model) == (table, model)] or [np.nan]))
        for table in tables
        for model in NAMES
    }
    lines = [
        "# Model study",
        "",
        f"RMSE on held-out rows: {folds} folds, {seconds:g} s for each model and fold, on {os.cpu_count()} cores.",
        "The products are those that `beacon new` proposes; the peers get the same columns of the same rows.",
        f"Written by `make model-study`, {datetime.now(UTC):%Y-%m-%d}.",
        "",
        f"| table | rows | folds | {' | '.join(NAMES)} | Beacon's seconds |",
        f"| --- | --- | --- | {' | '.join('---' for _ in NAMES)} | --- |",
    ]
    for table in tables:
        own = [r for r in results if r.table == table]
        mine = [r.seconds for r in own if r.model == BEACON]
        cells = [f"{rmse[table, model]:.4g}" for model in NAMES]
        counted = len({r.fold for r in own})
        lines.append(f"| {table} | {own[0].rows} | {counted} | {' | '.join(cells)} | {np.mean(mine or [np.nan]):.0f} |")
    lines += ["", "| Beacon's RMSE to that of | geometric mean |", "| --- | --- |"]
    others = {model: {table: rmse[table, model] for table in tables} for model in PEERS}
    better = {table: np.nanmin([rmse[table, model] for model in ("FLAML", "AutoGluon")] + [np.inf]) for table in tables}
    for name, theirs in {**others, "the better of FLAML and AutoGluon": better}.items():
        ratios = [rmse[table, BEACON] / theirs[table] for table in tables]
        known = [math.log(ratio) for ratio in ratios if ratio > 0 and math.isfinite(ratio)]
        mean = f"{math.exp(float(np.mean(known))):.3f} ({len(known)} tables)" if known else "-"
        lines.append(f"| {name} | {mean} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
