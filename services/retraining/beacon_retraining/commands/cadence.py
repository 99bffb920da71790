"""How often to retrain: simulate labelled history under several rules. Exit 0 done, 65 too short a history, 75 retry.

Reads the training rows of the last run (or --rows), writes tables and plots, and with --mlflow logs them to MLflow.
"""

from pathlib import Path

import pandas as pd

from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import dataset_of
from beacon_retraining.pipeline.context import DATASET
from beacon_retraining.pipeline.workspace import folder_of
from beacon_retraining.studies.cadence import run_study
from beacon_retraining.studies.cadence_report import draw, tables
from beacon_retraining.training.families import FAMILIES
from beacon_retraining.training.recipes import recipe_for


def main(settings: Settings) -> int:
    """Run the study once."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=folder_of(settings) / DATASET, help="Parquet of labelled rows")
    parser.add_argument("--out", type=Path, default=settings.home / "cadence", help="folder of tables and plots")
    parser.add_argument("--candidate", choices=tuple(FAMILIES), default="kernel-ridge")
    parser.add_argument("--mlflow", action="store_true", help="log them as a run, too")
    given = parser.parse_args()
    product = load_product(settings.product)
    dataset = dataset_of(product, pd.read_parquet(given.rows))
    study = run_study(dataset, product, recipe_for(given.candidate, dataset))
    report = tables(study, product)
    files = draw(study, product, given.out)
    table = given.out / "cadence.md"
    table.write_text(report)
    if given.mlflow:
        from beacon_retraining.registry.register import Registry  # noqa: PLC0415 - MLflow takes seconds, and only this needs it

        figures = {f"cadence/{run.rule.name.replace(' ', '-')}/mae": run.mae for run in study.runs}
        params = {"candidate": given.candidate, "data.fingerprint": dataset.fingerprint}
        run_id = Registry(settings.mlflow_address).log(f"{product.name}-cadence", params, figures, (table, *files))
        results.say(f"logged as run {run_id}")
    results.say(report)
    results.say(f"plots: {', '.join(str(file) for file in files)}")
    return 0


def run() -> int:
    """Replay the labelled history to choose how often to retrain."""
    return run_command("cadence", main)
