"""Write a product for a table: products/NAME/product.yaml and policy.yaml, each line with the reason for it.

Exit 0 written, 1 refused, 65 bad data, 75 try again later.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.product import Product
from beacon_core.domain.yaml_text import YamlError, parse_yaml
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.settings import Settings
from beacon_core.sources.raw import read_raw
from beacon_retraining.proposal.propose import Proposal, Wanted, check_name, propose
from beacon_retraining.proposal.write import existing, place_of, source_now, write_product

MOST_SHOWN = 12


class NewProductError(ConfigurationError):
    """What the command was asked for cannot be done."""


def main(_settings: Settings) -> int:
    """Propose a product and write it."""
    given = _arguments()
    if rule := check_name(given.name):
        raise NewProductError(f"NAME {rule}, is {given.name!r}")
    folder = given.products / given.name
    data = place_of(given.data, folder, _format(given.format))
    there = existing(folder, data)
    if there and not given.force:
        raise NewProductError(f"{there[0]} exists; --force writes over it")
    raw = read_raw(source_now(data, folder))
    keys = whole_names(given.key, raw.table.column_names)
    proposal = propose(raw, Wanted(given.target, keys, given.time))
    product = write_product(folder, given.name, data, raw, proposal)
    _report(product, proposal, raw.dialect.text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = CommandParser(description=__doc__)
    parser.add_argument("name", metavar="NAME", help="of the product: lower-case letters, digits, - and _")
    parser.add_argument("--data", required=True, metavar="FILE", help="the table: a file, a folder, an address")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("--key", nargs="+", default=[], metavar="COLUMN", help="the columns that entities are known by")
    parser.add_argument("--time", metavar="COLUMN", help="the column that says when a row was so")
    parser.add_argument(
        "--format",
        default="",
        metavar="YAML",
        help="what the file does not tell of its form, as source.format says it: "
        "'{header: false, names: [size, price]}', '{dates: {sold: \"%%d/%%m/%%y\"}}'",
    )
    parser.add_argument("--products", type=Path, default=Path("products"), metavar="FOLDER", help="of all products")
    parser.add_argument("--force", action="store_true", help="write over a product that exists")
    return parser.parse_args()


def _format(text: str) -> dict[str, Any]:
    """The mapping that --format gives; its keys are checked with the source."""
    try:
        found = parse_yaml(text.encode()) if text.strip() else {}
    except YamlError as error:
        raise NewProductError(f"--format is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise NewProductError(
            f"--format must be a mapping such as '{{header: false, names: [size, price]}}', is {text!r}"
        )
    return found


def whole_names(words: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that words name, several in one text or one in several; as they are where they name none."""
    words = " ".join(words).split(" ") if words else []
    names: list[str] = []
    at = 0
    while at < len(words):
        ends = range(len(words), at, -1)
        end = next((end for end in ends if " ".join(words[at:end]) in columns), at + 1)
        names.append(" ".join(words[at:end]))
        at = end
    return tuple(names)


class NewResult(msgspec.Struct, frozen=True):
    """The product that was written."""

    file: str
    """Its product.yaml."""
    rows: int
    """Rows of the table."""
    target: str
    """The column to predict."""
    features: list[str]
    """The features' names."""
    excluded: dict[str, str]
    """The columns that were left out, and why."""
    notes: list[str]
    """What a person should check."""


def _report(product: Product, proposal: Proposal, read_as: str) -> None:
    say = results.say
    folder = product.file.parent
    names = [feature.name for feature in proposal.features]
    results.give(
        NewResult(
            str(product.file), proposal.rows, product.target.name, names, dict(proposal.excluded), list(proposal.notes)
        )
    )
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    say(f"{product.file}: {proposal.rows} rows, target {product.target.name}")
    say(f"  read as {read_as}")
    say(f"  {len(names)} feature{'s' * (len(names) != 1)}: {', '.join(names[:MOST_SHOWN])}{more}")
    for name, why in list(proposal.excluded.items())[:MOST_SHOWN]:
        say(f"  left out: {name}: {why}")
    if len(proposal.excluded) > MOST_SHOWN:
        say(f"  left out: {len(proposal.excluded) - MOST_SHOWN} more, see `excluded`")
    for note in proposal.notes:
        say(f"  check: {note}")
    say(f"next: read {product.file}; then\n  make check PRODUCT={folder}\n  make run PRODUCT={folder}")


def run() -> int:
    """Write a product for a table: product.yaml and policy.yaml, with reasons."""
    return run_command("new", main)
