"""Data files as strangers' programs leave them: each is read as it was meant, or refused in one line before training.

`make data ARGS="check FILE"`, the stage validate, and what `make run` prints all read through one reader.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.kaggle import zipped
from support.products import csv_text, write_product

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT
from beacon_core.sources.rows import read_rows
from beacon_core.sources.table import as_file, load_table
from beacon_laptop.example import example_requests
from beacon_retraining.data.validate import validate

ROWS = 40
NUMBER, WHOLE = (
    "must be a finite number such as 5, -0.25 or 1e3, or NA",
    "must be a whole number such as 5, -17.0 or 1e3",
)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Two features, one of them whole, an excluded note, and a file without a fault."""
    table = {
        "size": [round(10 + row * 0.37, 2) for row in range(ROWS)],
        "rooms": [row * 7 % 5 for row in range(ROWS)],
        "price": [100 + row * 13 % 29 for row in range(ROWS)],
    }
    excluded = {"note": "free text", "id": "names the row"}
    return write_product(tmp_path / "product", table, "price", columns={"rooms": {"type": "int"}}, excluded=excluded)


@pytest.fixture
def text(product: Product) -> str:
    return product.sample_path.read_text()


def read_columns(file: Path, product: Product) -> dict[str, np.ndarray]:
    """The columns of a file in the format of the product's source; NaN where a value is missing."""
    table = load_table(product, sources=(as_file(product.sources[0], file),)).table
    return {name: table[name].cast("float64").to_numpy() for name in table.column_names if name not in product.keys}


def refusal(file: Path, product: Product) -> DataError:
    """The one refusal that every door gives."""
    with pytest.raises(DataError) as of_reader:
        read_columns(file, product)
    with pytest.raises(DataError) as of_validate:
        validate(file, product)
    assert str(of_reader.value) == str(of_validate.value)
    assert "\n" not in str(of_reader.value)
    return of_reader.value


def put(product: Product, content: str | bytes) -> Path:
    """Write the file in the sample's place, for everybody who reads it there."""
    product.sample_path.write_bytes(content.encode() if isinstance(content, str) else content)
    return product.sample_path


def cell(row: int, column: int, value: str) -> Callable[[str], str]:
    """Write `value` into a cell; row 0 is the header."""

    def alter(text: str) -> str:
        table = [line.split(",") for line in text.splitlines()]
        table[row][column] = value
        return "\n".join(map(",".join, table)) + "\n"

    return alter


def every(alter: Callable[[int, str], str]) -> Callable[[str], str]:
    """Change each line; the header is number 0."""
    return lambda text: "".join(alter(number, line) + "\n" for number, line in enumerate(text.splitlines()))


AS_MEANT: dict[str, Callable[[str], str | bytes]] = {
    "a blank last line": lambda text: text + "\n",
    "many blank last lines": lambda text: text + "\n\n \t\n\r\n",
    "blank lines in the middle": every(lambda number, line: line + "\n" * (number % 3 == 0)),
    "blank lines before the header": lambda text: "\n  \n" + text,
    "lines of blanks in the middle": every(lambda number, line: line + "\n   " * (number % 5 == 0)),
    "lines of only commas at the end": lambda text: text + ",,\n,,,,,\n , ,\t\n",
    "Windows line ends": lambda text: text.replace("\n", "\r\n"),
    "old Mac line ends": lambda text: text.replace("\n", "\r"),
    "line ends of all kinds": every(lambda number, line: line + ("", "\r", "\r\r")[number % 3]),
    "no final line end": lambda text: text.rstrip("\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "a byte order mark and quotes": lambda text: "\ufeff" + text.replace("size", '"size"'),
    "everything quoted": every(lambda _, line: '"' + line.replace(",", '","') + '"'),
    "blanks around everything": every(lambda _, line: " " + line.replace(",", " ,\t ") + " "),
    "quoted line ends in an excluded column": every(
        lambda number, line: line + (',"one\n\ntwo, ""three"""' if number else ",note")
    ),
    "letters of other languages in an excluded column": every(
        lambda number, line: line + (",żółć 屋" if number else ",note")
    ),
    "columns in another order": every(lambda _, line: ",".join(reversed(line.split(",")))),
    "whole numbers as pandas writes them beside gaps": every(
        lambda number, line: line if not number else "{},{}.0,{}".format(*line.split(","))
    ),
    "an index without a name": every(lambda number, line: f"{number or ''},{line}"),
    "pandas' index, written and read and written": every(lambda number, line: f"{number or 'Unnamed: 0'},{line}"),
    "a comma too many in each line": every(lambda _, line: line + ","),
    "two empty columns without a name": every(lambda _, line: f",{line},"),
    "semicolons": lambda text: text.replace(",", ";"),
    "semicolons and decimal commas": lambda text: text.replace(",", ";").replace(".", ","),
    "tabs": lambda text: text.replace(",", "\t"),
    "bars": lambda text: text.replace(",", "|"),
    "UTF-16 with its mark": lambda text: text.encode("utf-16"),
    "UTF-16 without its mark": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "Latin-1": lambda text: every(lambda number, line: f"{line},{'é' if number else 'note'}")(text).encode("latin-1"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
    "a zip of one file": lambda text: zipped("whatever.csv", text.encode()),
    "JSON lines": lambda text: "\n".join(json.dumps(row) for row in csv.DictReader(io.StringIO(text))),
    "a list of JSON objects": lambda text: json.dumps(list(csv.DictReader(io.StringIO(text)))),
    "whole numbers as decimals and powers": every(
        lambda number, line: line if not number else "{},{}0e-1,+{}.".format(*line.split(","))
    ),
}  # fmt: skip


@pytest.mark.parametrize("alter", AS_MEANT.values(), ids=AS_MEANT)
def test_a_file_is_read_as_it_was_meant(alter: Callable[[str], str | bytes], product: Product, text: str) -> None:
    plain = validate(product.sample_path, product)
    file = put(product, alter(text))
    assert validate(file, product).equals(plain)
    assert read_columns(file, product)["rooms"].tolist() == plain["rooms"].tolist()
    assert len(read_rows(product)) == len(plain) == ROWS
    assert example_requests(product)[0] == {"entity": {"item_id": 1}}


REFUSED: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "an empty file": (lambda text: "", "(file): is empty"),
    "only blank lines": (lambda text: "\n\n  \n", "(file): is empty"),
    "only a byte order mark": (lambda text: "\ufeff", "(file): is empty"),
    "only the header": (lambda text: text.splitlines()[0], "(rows): has 0 rows, must have at least 1"),
    "the header and blank lines": (lambda text: text.splitlines()[0] + "\n\n,,\n", "(rows): has 0 rows"),
    "a line of only commas in the middle": (
        lambda text: text.replace("\n", "\n,,\n", 5),
        "(row 1): contains only delimiters",
    ),
    "a comma too many in the rows": (
        every(lambda number, line: line + "," * (number > 0)),
        "(row 1): has 4 fields, the header has 3",
    ),
    "a comma too many in the header": (cell(0, 2, "price,"), "(row 1): has 3 fields, the header has 4"),
    "everything about the header": (
        cell(0, 0, "SIZE,,note,note,garden"),
        "(header): size is missing; 'SIZE', 'garden' are not columns of this product; 'note' is in the header twice; "
        "column 2 has no name: a delimiter too many, or an index?; renamed?",
    ),
    "all names missing": (lambda text: "a,b,c\n1,2,3\n", "rooms, price are missing; 'a', 'b', 'c' are not columns"),
    "no header": (lambda text: text.partition("\n")[2], "is the first line data? Then say format.header: false"),
    "a name twice": (cell(0, 1, "size"), "(header): rooms is missing; 'size' is in the header twice"),
    "one column": (lambda text: "size\n1\n2\n", "(header): rooms, price are missing"),
    "a zero byte": (cell(9, 1, "1\0"), "(file): contains NUL bytes, in line 10"),
    "zero bytes at the end": (lambda text: text + "\0" * 512, "(file): contains NUL bytes"),
    "a workbook of Excel": (lambda text: zipped("xl/workbook.xml", text.encode()), "(file): is a workbook of Excel"),
    "an old workbook of Excel": (lambda text: b"\xd0\xcf\x11\xe0" + text.encode(), "(file): is a workbook of Excel"),
    "half a zip": (lambda text: b"PK\x03\x04" + text.encode(), "(file): is not a whole zip file"),
    "half a gzip": (lambda text: gzip.compress(text.encode())[:-20], "(file): is not whole gzip"),
    "half a Parquet file": (lambda text: b"PAR1" + text.encode(), "(file): is not a whole Parquet file"),
    "JSON with a fault": (lambda text: '{"size": 1}\n{"size": }\n', "(file): is not JSON, in line 2"),
    "JSON in JSON": (lambda text: '{"size": 1, "rooms": [1], "price": 2}', "rooms: holds a list or an object"),
    "a page": (lambda text: "\ufeff\n <!doctype html><p>" + text, "(file): is HTML or XML"),
    "a quote that nobody ends": (cell(12, 1, '"3'), "(file): is not CSV, in line 13"),
    "a row cut off": (lambda text: text[: text.rindex(",")], f"(row {ROWS}): has 2 fields, the header has 3, cut off"),
    "a decimal comma": (cell(4, 0, "1,5"), "(row 4): has 4 fields, the header has 3"),
}  # fmt: skip


@pytest.mark.parametrize(("alter", "said"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_in_one_line(
    alter: Callable[[str], str | bytes], said: str, product: Product, text: str
) -> None:
    file = put(product, alter(text))
    error = refusal(file, product)
    assert str(error).startswith("items.csv: ")
    assert said in str(error)
    example_requests(product)  # what `make run` looks at first; the job says why it is refused


CELLS: dict[str, tuple[int, str, str]] = {
    "text": (0, "yes", NUMBER),
    "nothing": (0, "", NUMBER),
    "Python's underscores": (0, "1_000", NUMBER),
    "nan": (0, "nan", NUMBER),
    "NaN with a sign": (0, "-NaN", NUMBER),
    "inf": (0, "inf", NUMBER),
    "Infinity": (0, "-Infinity", NUMBER),
    "beyond the largest double": (0, "1e999", NUMBER),
    "400 digits": (0, "9" * 400, NUMBER),
    "hexadecimal": (0, "0x10", NUMBER),
    "full-width digits": (0, "\uff11\uff12", NUMBER),
    "Arabic digits": (0, "\u0661\u0662", NUMBER),
    "a minus sign of typographers": (0, "\u22125", NUMBER),
    "a percent": (0, "5%", NUMBER),
    "a currency": (0, "$5", NUMBER),
    "an exponent of Fortran": (0, "1d3", NUMBER),
    "half a number": (0, "1e", NUMBER),
    "two numbers": (0, "1 2", NUMBER),
    "a formula": (0, "=A1+1", NUMBER),
    "True": (1, "True", WHOLE),
    "a date": (1, "2024-01-01", WHOLE),
    "half a room": (1, "2.5", WHOLE),
    "nearly a whole room": (1, "3.0000000000000004", WHOLE),
    "a whole number that is none": (1, "inf", WHOLE),
    "text in the target": (2, "high", NUMBER),
}


@pytest.mark.parametrize(("column", "value", "rule"), CELLS.values(), ids=CELLS)
def test_a_cell_is_refused_with_the_rule(column: int, value: str, rule: str, product: Product, text: str) -> None:
    file = put(product, cell(17, column, value)(text))
    error = refusal(file, product)
    assert error.column == ("size", "rooms", "price")[column]
    assert error.rule.startswith(rule)
    assert " in row 17" in error.rule
    example_requests(product)


@pytest.mark.parametrize(
    ("column", "written", "value"),
    [
        (1, "17.0", 17),
        (1, "1e3", 1000),
        (1, " 5 ", 5),
        (1, "-0", 0),
        (1, "+7.", 7),
        (0, ".5", 0.5),
        (0, "1E+2", 100),
        (0, "5\u00a0", 5),
    ],
)
def test_a_cell_is_a_number_however_it_is_spelt(
    column: int, written: str, value: float, product: Product, text: str
) -> None:
    file = put(product, cell(17, column, written)(text))
    assert list(read_columns(file, product).values())[column][16] == value
    assert validate(file, product).iloc[16, 1 + column] == value


def test_many_bad_cells_are_counted_and_the_first_shown(product: Product, text: str) -> None:
    file = put(product, every(lambda number, line: line.replace(",", "x,", 1) if number > 30 else line)(text))
    error = refusal(file, product)
    assert error.rule.endswith("'21.1x' in row 31, '21.47x' in row 32, '21.84x' in row 33 and 7 more")
    file = put(product, cell(3, 0, "z" * 100_000)(text))
    assert len(str(refusal(file, product))) < 200


@pytest.mark.parametrize(
    ("missing", "gaps"),
    [(["NA"], ["NA", " NA "]), (["", "?"], ["", "  ", "?"]), (["-999", "nan"], ["-999", "nan"]), ([], [])],
)
def test_a_mark_of_a_missing_value_is_what_product_yaml_says(
    missing: list[str], gaps: list[str], tmp_path: Path
) -> None:
    table = {"size": [*gaps, 1.5, -2.5], "price": [float(number) for number in range(len(gaps) + 2)]}
    product = write_product(tmp_path, table, "price", source={"format": {"missing": missing}})
    found = read_columns(product.sample_path, product)["size"]
    assert [value != value for value in found] == [True] * len(gaps) + [False, False]
    assert found[len(gaps) :].tolist() == [1.5, -2.5]
    (tmp_path / "items.csv").write_text(csv_text(table | {"price": ["x", *table["price"][1:]]}))
    marks = " or ".join(mark or "an empty cell" for mark in sorted(missing))
    rule = "must be a finite number such as 5, -0.25 or 1e3" + (f", or {marks}, has 'x'" if marks else ", has 'x'")
    assert rule in str(refusal(product.sample_path, product))


def test_a_file_that_is_not_there_or_a_folder_is_named(product: Product, tmp_path: Path) -> None:
    assert "items.csv: (file): cannot be read: No such file" in str(refusal(tmp_path / "items.csv", product))
    (tmp_path / "items.csv").mkdir()
    assert "items.csv: (file): cannot be read: Is a directory" in str(refusal(tmp_path / "items.csv", product))
    product.sample_path.unlink()
    assert example_requests(product) == [{"features": {"size": 10.0, "rooms": 0.0}}]


def test_rows_are_read_as_far_as_they_are_asked_for(product: Product, text: str) -> None:
    header, _, rows = text.partition("\n")
    file = put(product, header + "\n" + rows * 200 + "yes,1,1\n")
    assert read_rows(product, rows=1) == [{"item_id": 1, "size": 10.0, "rooms": 0, "price": 100.0}]
    assert "size: must be" in str(refusal(file, product))
    assert len(validate(file, product, quick=True)) == 1000


def test_the_row_to_paste_is_the_fullest(product: Product) -> None:
    full = {"size": ["NA", "NA", 3.25, 4.5], "rooms": ["NA", "2.0", "3.0", 4], "price": [1, 2, 3, 4]}
    put(product, csv_text(full))
    entity, features = example_requests(product)
    assert entity == {"entity": {"item_id": 3}}
    assert features == {"features": {"size": 3.25, "rooms": 3}}
    put(product, csv_text(full | {"size": ["NA"] * 4}))
    entity, features = example_requests(product)
    assert entity == {"entity": {"item_id": 2}}
    assert features == {"features": {"rooms": 2}}


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (
            cell(17, 1, "2.5"),
            "items.csv: rooms: must be a whole number such as 5, -17.0 or 1e3, or NA, has '2.5' in row 17",
        ),
        (lambda text: text + "\n\n", None),
    ],
    ids=["cell", "blank last lines"],
)
def test_the_command_says_the_same_in_one_line(
    alter: Callable[[str], str], said: str | None, product: Product, text: str, tmp_path: Path
) -> None:
    file = put(product, alter(text))
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / "data.py", "check", file],
        env={"PATH": "", "BEACON_HOME": str(tmp_path), "BEACON_PRODUCT": str(product.file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if said is None:
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{ROWS} rows checked, no rule broken" in done.stdout
        return
    assert done.returncode == 65
    assert done.stderr.startswith(f"data: {said}")
    assert done.stderr == f"data: {refusal(file, product)}\n"
