"""Score a table: the predictions of many rows at once, as the server answers them.

INPUT is a CSV, Parquet or JSON Lines file, a folder of them, an address (https, s3), a database's URL with --query, or
`lake:`, the predictions of the log's lake. Its columns are those of product.yaml; a feature without a column is missing
in all rows. OUT is a file (.parquet or .csv), or a database's URL with --table. It has a line per row: its number, its
key, prediction, low, high, what was imputed and out of range. A run that was stopped goes on where it was.

Exit 0 scored, 1 refused, 65 bad data, 75 try again later.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import MANIFEST_FILE, digest
from beacon_core.model_package.release import read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.engine import LOCAL, JobEngine, open_engine
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.progress import Progress
from beacon_core.platform.settings import Settings
from beacon_inference.models.model import Model, load_model, product_in_service
from beacon_inference.scoring.inputs import Block, ScoringInput, TimeSlice, input_of
from beacon_inference.scoring.outputs import Output, output_of
from beacon_inference.scoring.parts import Parts, ScoringFacts
from beacon_inference.scoring.run import NumberedBlock, ScoringRun
from beacon_inference.scoring.scored_log import ScoredLog

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
    run = ScoringRun(settings.models_dir, product, model, parts.begun, given.bad_rows)
    if given.log:
        run.log = ScoredLog(settings.spools_dir, product, model, facts, parts.begun)
    if given.by_entity:
        run.store = settings
    with nullcontext(LOCAL) if run.is_local else open_engine(settings, "score") as jobs:
        count = _score(rows_in.blocks(settings, product, skip=parts.done), run, parts, jobs)
    if not count:
        raise rows_in.absence()
    scored = out.write(parts, count)
    parts.drop()
    results.give(ScoreResult(scored, model.pin.version, str(out)))
    results.say(f"{scored} rows scored by version {model.pin.version}: {out}")
    return 0


def _score(blocks: Iterator[Block], run: ScoringRun, parts: Parts, jobs: JobEngine) -> int:
    """Write the parts of those blocks that have none yet, and return the number of all."""
    shown, count, rows_read = Progress("scoring", unit="rows"), 0, 0

    def waiting() -> Iterator[NumberedBlock]:
        nonlocal count, rows_read
        for number, block in enumerate(blocks):
            count, rows_read = number + 1, rows_read + len(block.table)
            if number >= parts.done:
                yield NumberedBlock(number, block)
            else:
                shown.show(rows_read)

    for part in jobs.run(run.parts, waiting()):
        parts.write(*part)
        shown.show(rows_read)
    return count


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


def _moment(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run() -> int:
    """Score a table: the predictions of many rows at once."""
    return run_command("score", main)
