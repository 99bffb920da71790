"""Score a table: the predictions of many rows at once, as the server answers them.

INPUT is a CSV, Parquet or JSON Lines file, or a folder of them, with the columns of product.yaml. A feature without a
column is missing in all rows. OUT (.parquet or .csv) has a line per row: its number, its key, prediction, low, high,
what was imputed and out of range. A run that was stopped goes on where it was.

Exit 0 scored, 1 refused, 65 bad data, 75 try again later.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import HEADER, DataError, listed, shown_value
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.source import Format, Source
from beacon_core.model_package.manifest import MANIFEST_FILE, digest
from beacon_core.model_package.release import read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.progress import Progress
from beacon_core.platform.settings import Settings
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.raw import streams
from beacon_core.sources.stream import Stream
from beacon_core.sources.table import KEY_TYPES, column_types
from beacon_core.sources.typed import typed_blocks
from beacon_inference.models.model import Model, load_model, product_in_service
from beacon_inference.scoring.columns import rows_of
from beacon_inference.scoring.entities import look_up_all
from beacon_inference.scoring.parts import Parts, ScoringFacts
from beacon_inference.scoring.score import Scorer

SUFFIXES = (".parquet", ".csv")
ROW = "row"


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


class Block(NamedTuple):
    """Some rows of the input, of which `first_row` is the number of the first."""

    table: pa.Table
    first_row: int


def main(settings: Settings) -> int:
    """Score the table."""
    parser = CommandParser(description=__doc__.partition("\n")[0])
    parser.add_argument("input", type=Path, metavar="INPUT", help="file or folder with the rows")
    parser.add_argument("--out", type=Path, required=True, help="file of the predictions: .parquet or .csv")
    parser.add_argument("--version", help="of the model; default: the one in service")
    parser.add_argument(
        "--bad-rows", choices=("refuse", "mark"), default="refuse", help="mark: say why, score the others"
    )
    parser.add_argument(
        "--by-entity", action="store_true", help="take features from feature serving, by each row's key"
    )
    parser.add_argument("--force", action="store_true", help="write over OUT")
    given = parser.parse_args(sys.argv[1:])
    product = load_product(settings.product)
    _check(given, product)
    model = load_model(settings.models_dir, _pin(settings, product, given.version), product, trust_of(settings))
    product = product_in_service(product, model.manifest)
    parts = Parts(given.out, _facts(given, product, model))
    scorer = Scorer(product, model, clock.timestamp(), given.bad_rows)
    count = 0
    shown, rows_done = Progress("scoring", unit="rows"), 0
    for number, block in enumerate(_blocks(given.input, product, skip=parts.done)):
        if number >= parts.done:
            rows = rows_of(block.table, product)
            stored = None
            if given.by_entity:
                stored = look_up_all(settings, product, block.table, rows)
            parts.write(number, _beside_keys(block, product, scorer.score(rows, block.first_row, stored)))
        rows_done += len(block.table)
        shown.show(rows_done)
        count = number + 1
    if not count:
        raise DataError(given.input.name, "(rows)", "has no rows")
    scored = parts.join(count)
    results.give(ScoreResult(scored, model.pin.version, str(given.out)))
    results.say(f"{scored} rows scored by version {model.pin.version}: {given.out}")
    return 0


def _check(given: argparse.Namespace, product: Product) -> None:
    """Raise `ScoreError` for arguments that cannot be met, before anything is read."""
    rules = [
        (given.input.exists(), f"INPUT: {given.input} is not there"),
        (given.out.suffix in SUFFIXES, f"--out: {given.out.name} must end in {' or '.join(SUFFIXES)}"),
        (given.out.parent.is_dir(), f"--out: the folder {given.out.parent} is not there"),
        (given.force or not given.out.exists(), f"--out: {given.out} exists; --force writes over it"),
        (not given.by_entity or product.entity is not None, "--by-entity: product.yaml names no entity"),
    ]
    for holds, rule in rules:
        if not holds:
            raise ScoreError(rule)


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


def _facts(given: argparse.Namespace, product: Product, model: Model) -> ScoringFacts:
    files = sorted(given.input.rglob("*")) if given.input.is_dir() else [given.input]
    told = [file.stat() for file in files if file.is_file()]
    return ScoringFacts(
        source=str(given.input.resolve()),
        bytes=sum(one.st_size for one in told),
        modified=max((one.st_mtime for one in told), default=0.0),
        product=product.name,
        schema_digest=product.schema.digest,
        model_version=model.pin.version,
        model_sha256=model.pin.sha256,
        options=(given.bad_rows, "by entity" if given.by_entity else "by features"),
    )


def _blocks(place: Path, product: Product, *, skip: int) -> Iterator[Block]:
    """The input's rows, block by block; of the first `skip` blocks only the numbers of rows are of use."""
    given = _format(product)
    kind: Literal["folder", "file"] = "folder" if place.is_dir() else "file"
    source = Source(kind=kind, place=str(place.resolve()), base=Path(), format=given)
    first_row = number = 0
    with streams(source) as opened:
        for stream in opened:
            wanted = _needed(product, stream)
            types = {name: kind for name, kind in _types(product).items() if name in wanted}
            for table in typed_blocks(stream, types, given, skip=skip - number):
                yield Block(table, first_row + 1)
                first_row += len(table)
                number += 1


def _types(product: Product) -> dict[str, ColumnType]:
    """The types of the product's columns; a key that numbers the rows of its table is a column here."""
    keys = product.entity.columns if product.entity else ()
    return {name: KEY_TYPES[kind] for name, kind in keys} | column_types(product)


def _format(product: Product) -> Format:
    """How the product's own table is written; an empty cell is missing, too, as most programs write it."""
    own = product.sources[0].format
    missing = None if own.missing is None else tuple(dict.fromkeys((*own.missing, "")))
    return msgspec.structs.replace(own, type=None, compression=None, missing=missing)


def _needed(product: Product, stream: Stream) -> set[str]:
    """The columns of the stream that are scored; raises `DataError` for one that the product does not know."""
    names = stream.dialect.names
    known = {*column_types(product), *product.excluded, *product.keys, *stream.dialect.index}
    unknown = [shown_value(name) for name in names if name not in known]
    if unknown:
        raise DataError(stream.name, HEADER, listed(unknown, "is not a column of this product", "are no columns of it"))
    wanted = {*product.feature_names, *product.keys} & set(names)
    if not wanted:
        raise DataError(stream.name, HEADER, "has no feature and no key of this product")
    return wanted


def _beside_keys(block: Block, product: Product, answers: pa.Table) -> pa.Table:
    """The number of each row, its key as far as the input has it, and its answer."""
    table = pa.table({ROW: pa.array(range(block.first_row, block.first_row + len(answers)), pa.int64())})
    for name in product.keys:
        if name in block.table.column_names:
            table = table.append_column(name, block.table[name])
    for name in answers.column_names:
        table = table.append_column(name, answers[name])
    return table


def run() -> int:
    """Score a table: the predictions of many rows at once."""
    return run_command("score", main)
