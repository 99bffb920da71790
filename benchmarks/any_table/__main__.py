"""Figures of any table: a user's own where one is named, else tables drawn from a fixed seed."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from any_table import checking, first_answer, materialization, requests, text_error
from any_table.tables import Table, drawn
from tests.system.products.tables import goods, weather

LARGE, WIDE = 1_000_000, 30
ENTITIES, FEW = 200_000, 100_000
ROWS = 1000
PARTS = ("first-answer", "requests", "check", "materialization", "text-error")


def main() -> None:
    """Measure the parts and print a row of a table for each figure."""
    parser = argparse.ArgumentParser(prog="make bench-products", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--file", type=Path, help="a table as CSV")
    parser.add_argument("--target", default="", help="the column to predict")
    parser.add_argument("--key", default="", help="the column that entities are known by")
    parser.add_argument("--time", default="", help="the column that says when a row was so")
    given = parser.parse_args()
    if given.file and not given.target:
        parser.error("--file needs --target")
    mine = Table("mine", given.file.resolve(), given.target, given.key, given.time) if given.file else None
    print("| figure | table | value |\n| --- | --- | --- |")
    measures = {
        "first-answer": _first_answers,
        "requests": _requests,
        "check": _checks,
        "materialization": _materializations,
        "text-error": _text_errors,
    }
    for part in given.parts:
        for table, value in measures[part](mine):
            print(f"| {part} | {table} | {value} |", flush=True)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.0f}, on {os.cpu_count()} cores.")


Figures = Iterator[tuple[str, str]]


def _first_answers(mine: Table | None) -> Figures:
    def made(folder: Path) -> Iterator[Table]:
        for table in (goods(), weather()):
            options = dict(zip(table.options[::2], table.options[1::2], strict=True))
            file = table.write(folder)
            yield Table(table.name, file, table.target, options.get("--key", ""), options.get("--time", ""))

    with tempfile.TemporaryDirectory() as folder:
        tables = [mine] if mine else list(made(Path(folder)))
        for table in tables:
            yield table.name, _in_folder(partial(first_answer.measure, table))


def _requests(_mine: Table | None) -> Figures:
    yield "10 features: 3 of text, and none", _in_folder(requests.measure)


def _checks(mine: Table | None) -> Figures:
    name = mine.name if mine else f"{LARGE:,} rows x {WIDE} columns"
    numbers = WIDE - 5  # beside a key, a target and three of text
    yield name, _in_folder(lambda own: checking.measure(mine or drawn(own, "large", LARGE, numbers), own))


def _materializations(mine: Table | None) -> Figures:
    for rows, numbers in ((ENTITIES, 7), (FEW, 27)):
        name = mine.name if mine else f"{rows:,} entities x {numbers + 3} features"
        with tempfile.TemporaryDirectory() as folder:
            table = mine or drawn(Path(folder), "entities", rows, numbers)
            for store, value in materialization.measure(table, Path(folder)).items():
                yield f"{name}, {store}", value
        if mine:
            return


def _text_errors(mine: Table | None) -> Figures:
    name = mine.name if mine else f"{ROWS:,} rows, 7 numbers and 3 of text"
    yield name, _in_folder(lambda own: text_error.measure(mine or drawn(own, "texts", ROWS), own))


def _in_folder(work: Callable[[Path], str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder))


if __name__ == "__main__":
    main()
