"""Score a table: the predictions of many rows at once, as the server answers them.

INPUT is a CSV, Parquet or JSON Lines file, a folder of them, an address (https, s3), a database's URL with --query, or
`lake:`, the predictions of the log's lake. Its columns are those of product.yaml; a feature without a column is missing
in all rows. OUT is a file (.parquet or .csv), or a database's URL with --table. It has a line per row: its number, its
key, prediction, low, high, what was imputed and out of range. A run that was stopped goes on where it was.

Exit 0 scored, 1 refused, 65 bad data, 75 try again later.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import MANIFEST_FILE, digest
from beacon_core.model_package.release import read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.progress import Progress
from beacon_core.platform.settings import Settings
from beacon_inference.models.model import Model, load_model, product_in_service
from beacon_inference.scoring.columns import rows_of
from beacon_inference.scoring.entities import keys_of, look_up_all
from beacon_inference.scoring.inputs import PREDICTION_ID, Block, ScoringInput, TimeSlice, input_of
from beacon_inference.scoring.outputs import Output, output_of
from beacon_inference.scoring.parts import Parts, ScoringFacts
from beacon_inference.scoring.score import Scored, Scorer
from beacon_inference.scoring.scored_log import ScoredLog

ROW = "row"
DAY = "{date}"
"""In --out it stands for the day, in UTC."""


class ScoreError(Exception):
    """The request cannot be done as it is; the message names the argument and the rule."""

    exit_status = REFUSED


class ScoreResult(msgspec.Struct, frozen=True):
    """What was scored."""

    rows: int
    """Rows of the file of predictions."""
    version: str
    """The model version that predicted them."""
    out: str
    """The file of predictions."""


def main(settings: Settings) -> int:
    """Score the table."""
    given = _arguments()
    product = load_product(settings.product)
    rows_in, out = _named(given, product)
    _check(given, product, settings, rows_in, out)
    model = load_model(settings.models_dir, _pin(settings, product, given.version), product, trust_of(settings))
    product = product_in_service(product, model.manifest)
    facts = _facts(given, product, model, settings, rows_in)
    parts = Parts(out.folder(settings.home), facts, clock.timestamp(), goes_on=rows_in.has_order)
    log = ScoredLog(settings.spools_dir, product, model, facts, parts.begun) if given.log else None
    run = _Run(settings, product, Scorer(product, model, parts.begun, given.bad_rows), log, by_entity=given.by_entity)
    count = 0
    shown, rows_done = Progress("scoring", unit="rows"), 0
    for number, block in enumerate(rows_in.blocks(settings, product, skip=parts.done)):
        if number >= parts.done:
            parts.write(number, _beside_keys(block, product, run.score(number, block).answers))
        rows_done += len(block.table)
        shown.show(rows_done)
        count = number + 1
    if not count:
        raise DataError(rows_in.name, "(rows)", "has no rows")
    scored = out.write(parts, count)
    parts.drop()
    results.give(ScoreResult(scored, model.pin.version, str(out)))
    results.say(f"{scored} rows scored by version {model.pin.version}: {out}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = CommandParser(description=__doc__.partition("\n")[0])
    parser.add_argument("input", metavar="INPUT", help="file, folder, address, database (with --query), or lake:")
    parser.add_argument(
        "--out", required=True, help=".parquet or .csv, or a database (with --table); {date} is the day"
    )
    parser.add_argument("--query", default="", help="SELECT of the rows; with ORDER BY a run that was stopped goes on")
    parser.add_argument("--table", help="table of the predictions, which is made")
    parser.add_argument("--since", type=_moment, help="of the lake: predictions made from then on")
    parser.add_argument(
        "--until", type=_moment, help="of the lake: predictions made before; default: this hour's begin"
    )
    parser.add_argument("--version", help="of the model; default: the one in service")
    parser.add_argument(
        "--bad-rows", choices=("refuse", "mark"), default="refuse", help="mark: say why, score the others"
    )
    parser.add_argument(
        "--by-entity", action="store_true", help="take features from feature serving, by each row's key"
    )
    parser.add_argument("--log", action="store_true", help="write the predictions into the prediction log, too")
    parser.add_argument("--force", action="store_true", help="write over OUT")
    return parser.parse_args(sys.argv[1:])


class _Run:
    """Scores the blocks of one run, and logs them where it was asked to."""

    def __init__(
        self, settings: Settings, product: Product, scorer: Scorer, log: ScoredLog | None, *, by_entity: bool
    ) -> None:
        self._settings = settings
        self._product = product
        self._scorer = scorer
        self._log = log
        self._by_entity = by_entity

    def score(self, number: int, block: Block) -> Scored:
        began = time.perf_counter()
        rows = rows_of(block.table, self._product, keeps_texts=self._log is not None)
        keys = keys_of(self._product, block.table, rows) if self._by_entity else None
        stored = None if keys is None else look_up_all(self._settings, self._product, keys, rows)
        scored = self._scorer.score(rows, block.first_row, stored)
        if self._log is not None:
            seconds = (time.perf_counter() - began) / max(len(block.table), 1)
            self._log.write(number, scored, block.first_row, keys, seconds)
        return scored


def _named(given: argparse.Namespace, product: Product) -> tuple[ScoringInput, Output]:
    now = clock.now()
    until = given.until or now.replace(minute=0, second=0, microsecond=0)
    out = given.out.replace(DAY, now.astimezone(UTC).date().isoformat())
    return input_of(given.input, given.query, product, TimeSlice(given.since, until)), output_of(out, given.table)


def _check(given: argparse.Namespace, product: Product, settings: Settings, rows_in: ScoringInput, out: Output) -> None:
    """Raise `ScoreError` for arguments that cannot be met, before anything is read."""
    problem = rows_in.problem(settings) or out.problem()
    if problem is None and given.by_entity and product.entity is None:
        problem = "--by-entity: product.yaml names no entity"
    if problem is None and given.by_entity and rows_in.source is None:
        problem = "--by-entity: the lake has the features that its predictions were made from"
    if problem is None and not given.force and out.exists():
        problem = f"--out: {out} exists; --force writes over it"
    if problem is not None:
        raise ScoreError(problem)


def _pin(settings: Settings, product: Product, version: str | None) -> Pin:
    """The model in service, or an installed version of it; raises `ScoreError`."""
    if version is None:
        release = read_release(settings.release_file) if settings.release_file.exists() else None
        if release is None:
            raise ScoreError("no model is in service; --version names an installed one")
        return release.model
    manifest = settings.models_dir / product.name / version / MANIFEST_FILE
    if Path(version).name != version or not manifest.is_file():
        there = sorted(folder.name for folder in (settings.models_dir / product.name).glob("*"))
        raise ScoreError(f"--version: {version} is not installed; there are {', '.join(there) or 'none'}")
    return Pin(product.name, version, digest(manifest.read_bytes()))


def _facts(
    given: argparse.Namespace, product: Product, model: Model, settings: Settings, rows_in: ScoringInput
) -> ScoringFacts:
    size, span = rows_in.size(settings, product), rows_in.span
    options = [given.bad_rows, "by entity" if given.by_entity else "by features"]
    options += ["logged"] if given.log else []
    options += [] if span is None else [f"{span.since or ''}/{span.until}"]
    return ScoringFacts(
        source=rows_in.name,
        bytes=size.bytes,
        modified=size.modified,
        product=product.name,
        schema_digest=product.schema.digest,
        model_version=model.pin.version,
        model_sha256=model.pin.sha256,
        options=tuple(options),
        query=given.query,
        rows=size.rows,
    )


def _beside_keys(block: Block, product: Product, answers: pa.Table) -> pa.Table:
    """The number of each row, its key as far as the input has it, and its answer."""
    table = pa.table({ROW: pa.array(range(block.first_row, block.first_row + len(answers)), pa.int64())})
    for name in dict.fromkeys((PREDICTION_ID, *product.keys)):
        if name in block.table.column_names:
            table = table.append_column(name, block.table[name])
    for name in answers.column_names:
        table = table.append_column(name, answers[name])
    return table


def _moment(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run() -> int:
    """Score a table: the predictions of many rows at once."""
    return run_command("score", main)
