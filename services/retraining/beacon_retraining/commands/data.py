"""The data of retraining: check a file, pull or push what DVC keeps, list what a version was trained on.

Exit 0 done, 1 refused, 65 bad data, 75 try again later.
"""

import argparse
import sys
from pathlib import Path

from beacon_core.domain.product import Product
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.sources.rows import STORED
from beacon_core.sources.table import LoadedTable, as_file, load_table, read_stored, table_name
from beacon_retraining.data.row_counts import unlabelled_text
from beacon_retraining.data.validate import QUICK_ROWS, validate_table
from beacon_retraining.pipeline import dvc, remote
from beacon_retraining.pipeline.workspace import Run, default_training, folder_of, prepare


def check(settings: Settings, product: Product, given: argparse.Namespace) -> None:
    """Check a file against the rules of product.yaml: the one given, else the table in use, else the sources."""
    in_force = settings.home / STORED
    rows = QUICK_ROWS if given.quick else None
    if given.file is None and in_force.is_file():
        place, loaded = str(in_force), LoadedTable(read_stored(in_force, product), ())
    elif given.file is None:
        place, loaded = _place(product), load_table(product, rows=rows)
    else:
        first, *others = product.sources
        place, loaded = str(given.file), load_table(product, sources=(as_file(first, given.file), *others), rows=rows)
    for line in loaded.descriptions:
        results.say(line)
    name = table_name(product) if given.file is None else given.file.name
    checked = validate_table(loaded.table, product, name, quick=given.quick)
    unlabelled = int(checked[product.target.name].isna().sum())
    results.say(f"{place}: {len(checked)} rows checked, no rule broken{unlabelled_text(unlabelled)}")


def _place(product: Product) -> str:
    """The first source: a file or folder by its path, another by its address as product.yaml spells it."""
    first = product.sources[0]
    return str(first.sample_path or (first.path if first.kind in {"file", "folder"} else first.name))


def pull(settings: Settings, _product: Product, _given: argparse.Namespace) -> None:
    """Bring the workspace to the state of the last push."""
    folder = prepare(settings, default_training(), Run(clock.now().isoformat(), "pull"))
    if not remote.pull(settings, folder):
        results.say(f"{settings.dvc_address}: nothing was pushed there yet")
        return
    dvc.commit(folder, "pull")
    results.say(f"{folder}: restored as pushed to {settings.dvc_address}")


def push(settings: Settings, _product: Product, _given: argparse.Namespace) -> None:
    """Push what the last run left."""
    results.say(remote.push(settings, folder_of(settings)))


def trained_on(settings: Settings, product: Product, given: argparse.Namespace) -> None:
    """List the rows that a version was trained on, as CSV, from the artifacts of its run."""
    from beacon_retraining.registry.register import Registry  # noqa: PLC0415 - MLflow takes seconds, and only this needs it

    rows = Registry(settings.mlflow_address).training_rows(product.name, given.version)
    rows.to_csv(sys.stdout, index=False)


def main(settings: Settings) -> int:
    """Run one of the actions; returns the exit status."""
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for action in (check, pull, push, trained_on):
        command = commands.add_parser(action.__name__.replace("_", "-"), help=action.__doc__)
        command.set_defaults(action=action)
        if action is check:
            command.add_argument("file", nargs="?", type=Path)
            command.add_argument("--quick", action="store_true", help="the first rows only")
        if action is trained_on:
            command.add_argument("version")
    given = parser.parse_args()
    given.action(settings, load_product(settings.product), given)
    return 0


def run() -> int:
    """Check, pull, push or list the data of retraining."""
    return run_command("data", main)
