"""Every dialect of CSV that people have: each is read as it was meant, and what was found is shown."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from support.kaggle import zipped

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.source import Source, parse_sources
from beacon_core.domain.spec import ProductError
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.raw import read_raw, streams
from beacon_core.sources.typed import read_typed

TYPES = {"name": ColumnType("text"), "size": ColumnType("float"), "rooms": ColumnType("int"), "new": ColumnType("bool")}
ROWS = [("Ann", 1.5, 3, True), ("Bo, Jr", 1234.25, 12, False), ("Cé", None, None, None), ("D", -0.125, 7, True)]
PLAIN = 'name,size,rooms,new\nAnn,1.5,3,yes\n"Bo, Jr",1234.25,12,no\nCé,,,\nD,-0.125,7,yes\n'


def source(folder: Path, content: str | bytes, **said: object) -> Source:
    (folder / "table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    (found,) = parse_sources(folder / "product.yaml", {"file": "table.csv", "format": said})
    return found


def typed(found: Source, types: dict[str, ColumnType]) -> tuple[pa.Table, str]:
    with streams(found) as opened:
        table, dialect = read_typed(next(opened), types, found.format)
    return table, dialect.text


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def column(folder: Path, cells: list[str], kind: str, **said: object) -> list[object]:
    content = "x;y\n" + "".join(f"{cell};1\n" for cell in cells)
    given = {"delimiter": ";"} | said
    return typed(source(folder, content, **given), {"x": ColumnType(kind)})[0]["x"].to_pylist()


EUROPEAN = 'name;size;rooms;new\nAnn;1,5;3;ja\n"Bo, Jr";1.234,25;12;nein\n'
DIALECTS = {
    "plain": (PLAIN, {}, "CSV, UTF-8, delimiter ',', 4 columns, missing an empty cell"),
    "semicolons": (
        PLAIN.replace('"Bo, Jr"', "Bo. Jr").replace(",", ";").replace("Bo. Jr", "Bo, Jr"),
        {},
        "delimiter ';'",
    ),
    "decimal commas and thousands": (
        "name;size;rooms;new\nAnn;1,5;3;true\nBo, Jr;1.234,25;12;false\nCé;;;\nD;-0,125;7;true\n",
        {},
        "decimal comma, thousands '.'",
    ),
    "thousands in quotes": (PLAIN.replace("1234.25", '"1,234.25"'), {}, "thousands ','"),
    "a blank for thousands": (PLAIN.replace("1234.25", "1 234.25"), {}, "thousands ' '"),
    "a Swiss file": (PLAIN.replace("1234.25", "1'234.25"), {}, '"\'"'),
    "tabs": (PLAIN.replace('"Bo, Jr"', "Bo. Jr").replace(",", "\t").replace("Bo. Jr", "Bo, Jr"), {}, "delimiter '\\t'"),
    "a byte order mark": ("\ufeff" + PLAIN, {}, "UTF-8"),
    "UTF-16": (PLAIN.encode("utf-16"), {}, "utf-16"),
    "Windows": (PLAIN.encode("cp1252"), {}, "Windows-1252"),
    "an encoding that is said": (PLAIN.encode("cp437"), {"encoding": "cp437"}, "cp437"),
    "a line for Excel": ("sep=,\r\n" + PLAIN, {}, "CSV, UTF-8, delimiter ',', 4 columns"),
    "a line for Excel, and no header": (
        "\ufeffsep=,\n" + PLAIN.partition("\n")[2],
        {"header": False, "names": ["name", "size", "rooms", "new"]},
        "no header",
    ),
    "gzip": (gzip.compress(PLAIN.encode()), {}, "gzip"),
    "zip": (zipped("inside.csv", PLAIN.encode()), {}, "zip"),
    "question marks": (PLAIN.replace(",,,", ",?,?,?"), {}, "missing ?"),
    "marks that are said": (PLAIN.replace(",,,", ",-9,-9,-9"), {"missing": ["-9"]}, "missing -9"),
    "no header": (
        PLAIN.partition("\n")[2],
        {"header": False, "names": ["name", "size", "rooms", "new"]},
        "no header",
    ),
    "single quotes": (PLAIN.replace('"', "'"), {"quote": "'"}, "quote"),
    "an index": (
        "\n".join(f"{number or ''},{line}" for number, line in enumerate(PLAIN.splitlines())),
        {},
        "left out as an index: the first column",
    ),
    "a column that is said to be an index": (
        "\n".join(f"{'row' if not number else 7},{line}" for number, line in enumerate(PLAIN.splitlines())),
        {"index": ["row"]},
        "left out as an index: row",
    ),
    "names of rows, as R writes them": (
        "\n".join(
            f'"{"" if not number else f"row {number}"}",{line}' for number, line in enumerate(PLAIN.splitlines())
        ),
        {},
        "left out as an index: the first column, which has no name",
    ),
    "delimiters at the ends of the lines": (
        PLAIN.replace("\n", ",,\n"),
        {},
        "left out as an index: columns without a name",
    ),
    "aligned columns": (
        'name   size rooms\tnew\n  Ann 1.5   3\tyes\n"Bo, Jr" 1234.25\t12 no  \nCé ? ? ?\nD   -0.125 7 yes',
        {},
        "delimiter blanks",
    ),
    "aligned columns that are said": (
        "name size rooms new\nAnn  1.5 3 yes\n'Bo, Jr' 1234.25 12 no\nCé - - -\nD -0.125 7 yes\n",
        {"delimiter": " ", "quote": "'", "missing": ["-"]},
        "delimiter blanks",
    ),
    "Windows line ends": (PLAIN.replace("\n", "\r\n"), {}, ""),
    "blanks around cells": (PLAIN.replace(",1.5,", " , 1.5 ,"), {}, ""),
}


@pytest.mark.parametrize(("content", "said", "shown"), DIALECTS.values(), ids=DIALECTS)
def test_a_dialect_is_read_and_shown(content: str | bytes, said: dict[str, object], shown: str, tmp_path: Path) -> None:
    table, text = typed(source(tmp_path, content, **said), TYPES)
    assert rows(table) == ROWS
    assert shown in text


def test_what_is_found_can_be_said(tmp_path: Path) -> None:
    found = read_raw(source(tmp_path, DIALECTS["decimal commas and thousands"][0])).dialect
    assert found.format == {"delimiter": ";", "decimal": ",", "thousands": ".", "missing": [""]}
    said = source(tmp_path, DIALECTS["decimal commas and thousands"][0], **found.format)
    assert rows(typed(said, TYPES)[0]) == ROWS
    assert read_raw(said).dialect.format == found.format


def test_a_damaged_byte_makes_no_other_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be text in UTF-8, has the byte 0xe9 in line 6"):
        read_raw(source(tmp_path, PLAIN.encode() + b"\xe9,1,2,yes\n"))
    assert read_raw(source(tmp_path, PLAIN.encode("latin-1") + b"\x81,1,2,yes\n")).dialect.encoding == "latin-1"
    with pytest.raises(DataError, match=r"must be text in UTF-8, has the byte 0xe9 in line 4"):
        read_raw(source(tmp_path, PLAIN.encode("latin-1"), encoding="utf-8"))


NUMBERS = {
    "0.1": 0.1,
    "0.1000000000000000055511151231257827021181583404541015625": 0.1,
    "123456789012345678901234567890": 1.2345678901234568e29,
    "2.2250738585072011e-308": 2.2250738585072011e-308,
    "5e-324": 5e-324,
    "9007199254740993": 9007199254740992.0,
    "+.5": 0.5,
    "5.": 5.0,
    "1E+2": 100.0,
}


def test_long_decimals_are_the_nearest_doubles(tmp_path: Path) -> None:
    assert column(tmp_path, list(NUMBERS), "float") == list(NUMBERS.values())


WHOLE = {
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "9007199254740993": 2**53 + 1,
    "9007199254740993.0": 2**53 + 1,
    "17.0": 17,
    "17.": 17,
    "+7": 7,
    "1e3": 1000,
    "-0": 0,
}


def test_whole_numbers_never_pass_through_a_float(tmp_path: Path) -> None:
    assert column(tmp_path, list(WHOLE), "int") == list(WHOLE.values())
    assert column(tmp_path, ["9223372036854775807", "1"], "int") == [2**63 - 1, 1]  # all plain: the fast road


@pytest.mark.parametrize(
    "cell", ["9223372036854775808", "2.5", "3.0000000000000000001", "1e30", "1e400", "0x10", "inf"]
)
def test_what_is_no_whole_number_of_64_bits_is_refused(cell: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table.csv: x: must be a whole number such as .* in row 2"):
        column(tmp_path, ["1", cell], "int")


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999", "0x10", "1_000", "five", "5%", "1,5"])
def test_what_is_no_number_is_refused(cell: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x: must be a finite number such as .* in row 3"):
        column(tmp_path, ["1.25", "2", cell], "float", decimal=".")


def test_a_comma_that_may_be_two_things_must_be_said(tmp_path: Path) -> None:
    cells = ["1,234", "2,345"]
    with pytest.raises(DataError, match=r"the number '1,234' may be 1.234 or 1234: say format.decimal"):
        column(tmp_path, cells, "float")
    assert column(tmp_path, cells, "float", decimal=",") == [1.234, 2.345]
    assert column(tmp_path, cells, "int", thousands=",") == [1234, 2345]
    assert column(tmp_path, [*cells, "0,5"], "float") == [1.234, 2.345, 0.5]
    assert column(tmp_path, [*cells, "1,234,567"], "int") == [1234, 2345, 1234567]


def test_a_group_that_is_none_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has '12,34' in row 3"):
        column(tmp_path, ["1,234", "1,234,567", "12,34"], "int", thousands=",")


FLAGS = ["true", "False", "YES", "no", "T", "f", "y", "N", "1", "0", "1.0", "0.0", " True "]


def test_flags_in_any_case(tmp_path: Path) -> None:
    assert column(tmp_path, FLAGS, "bool") == [True, False] * 6 + [True]
    with pytest.raises(DataError, match=r"x: must be true or false .* has '2' in row 2"):
        column(tmp_path, ["1", "2"], "bool")


def test_text_is_stripped_and_composed_and_never_a_number(tmp_path: Path) -> None:
    cells = [" a ", "e\u0301", "\u00e9", "007", "1e3", "true", "0"]
    assert column(tmp_path, cells, "text") == ["a", "\u00e9", "\u00e9", "007", "1e3", "true", "0"]


def test_a_level_called_like_a_mark_is_a_level(tmp_path: Path) -> None:
    found = source(tmp_path, "x;y\nnull;1\nNaN;1\nNA;1\nNone;1\n;1\n")
    assert typed(found, {"x": ColumnType("text")})[0]["x"].to_pylist() == [None, None, None, "None", None]
    levels = ("null", "NaN", "0")
    assert typed(found, {"x": ColumnType("text", levels)})[0]["x"].to_pylist() == ["null", "NaN", None, "None", None]


def test_an_empty_text_is_no_level_where_other_marks_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x: must be text, or NA, has '' in row 2"):
        column(tmp_path, ["a", "", "NA"], "text", missing=["NA"])


TIMES = {
    "ISO": (["2024-01-31", "2024-02-01"], ["2024-01-31", "2024-02-01"]),
    "day first": (["31/01/2024", "1/2/2024"], ["2024-01-31", "2024-02-01"]),
    "month first": (["1/31/2024", "2/1/2024"], ["2024-01-31", "2024-02-01"]),
    "dots": (["31.01.2024", "01.02.2024"], ["2024-01-31", "2024-02-01"]),
    "slashes, year first": (["2024/01/31", "2024/2/1"], ["2024-01-31", "2024-02-01"]),
    "digits": (["20240131", "20240201"], ["2024-01-31", "2024-02-01"]),
    "words": (["31 Jan 2024", "1 February 2024"], ["2024-01-31", "2024-02-01"]),
    "American words": (["Jan 31, 2024", "Feb 1, 2024"], ["2024-01-31", "2024-02-01"]),
    "words of spreadsheets": (["5-Jan-20", "17-Feb-99"], ["2020-01-05", "1999-02-17"]),
    "digits at midnight": (["20140502T000000", "20140503T0000"], ["2014-05-02", "2014-05-03"]),
    "months": (["1749-01", "2024-12"], ["1749-01-01", "2024-12-01"]),
    "months in words": (["Jan 2024", "December 2024"], ["2024-01-01", "2024-12-01"]),
    "at midnight": (["2024-01-31 00:00:00", "2024-02-01T00:00"], ["2024-01-31", "2024-02-01"]),
    "equal either way": (["01/01/2024", "02/02/2024"], ["2024-01-01", "2024-02-02"]),
}


@pytest.mark.parametrize(("cells", "days"), TIMES.values(), ids=TIMES)
def test_dates_in_the_formats_that_tables_have(cells: list[str], days: list[str], tmp_path: Path) -> None:
    wanted = [date.fromisoformat(day) for day in days]
    assert column(tmp_path, [*cells, ""], "date") == [*wanted, None]
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in wanted]
    assert column(tmp_path, cells, "timestamp") == midnights


def test_timestamps_with_zones_without_and_with_halves_of_the_day(tmp_path: Path) -> None:
    noon = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert column(tmp_path, ["2024-07-01T12:00:00Z", "2024-07-01 14:00+02:00"], "timestamp") == [noon, noon]
    assert column(tmp_path, ["2024-07-01 12:00:00.0000009"], "timestamp") == [noon]
    assert column(tmp_path, ["20240701T120000", "20240731T0930"], "timestamp")[0] == noon
    assert column(tmp_path, ["20240701T120000Z", "20240701 14:00+0200"], "timestamp") == [noon, noon]
    assert column(tmp_path, ["7/1/2024 12:00 PM", "7/31/2024 1:30 am"], "timestamp")[0] == noon
    found = source(tmp_path, "x,y\n2024-07-01 14:00,1\n")
    zone = ColumnType("timestamp", zone="Europe/Berlin")
    assert typed(found, {"x": zone})[0]["x"].to_pylist() == [noon]
    assert column(tmp_path, ["1719835200"], "timestamp", dates={"x": "unix"}) == [noon]
    assert column(tmp_path, ["01-07-24 12h"], "timestamp", dates={"x": "%d-%m-%y %Hh"}) == [noon]


CHANGES = {
    "another order": (["31/01/2024", "13/02/2024", "02/28/2024"], "changes its format in row 3: '02/28/2024'"),
    "another mark": (["2024-01-31", "2024/02/01"], "changes its format in row 2: '2024/02/01', before it '2024-01-31'"),
    "a zone": (["2024-01-31 10:00", "2024-01-31 10:00Z"], "changes its format in row 2: .* with or without a zone"),
    "no date": (["2024-01-31", "soon"], "must be a time such as .* has 'soon' in row 2"),
    "no such day": (["2024-02-30"], "must be a time such as .* has '2024-02-30' in row 1"),
    "unclear": (["03/04/2024", "05/06/2024"], "may begin with the day or with the month, as in '03/04/2024'"),
}


@pytest.mark.parametrize(("cells", "rule"), CHANGES.values(), ids=CHANGES)
def test_a_column_has_one_format(cells: list[str], rule: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"table.csv: x: {rule}"):
        column(tmp_path, cells, "timestamp")


def test_a_date_has_no_time_of_day(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a date .* in row 2; with a time of day its type is timestamp"):
        column(tmp_path, ["2024-01-31", "2024-01-31 10:00"], "date")


def test_a_header_of_numbers_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(header\): looks like a row .*say header: false"):
        read_raw(source(tmp_path, "1.5,2\n2.5,3\n"))
    with pytest.raises(DataError, match=r"names 1 columns, the first line has 2"):
        read_raw(source(tmp_path, "1.5,2\n2.5,3\n", header=False, names=["a"]))


def test_rows_beyond_one_block_keep_their_numbers(tmp_path: Path) -> None:
    cells = [f"{number}.25" for number in range(100_000)]
    found = source(tmp_path, "x,y\n" + "".join(f"{cell},{'z' * 90}\n" for cell in cells))
    assert typed(found, {"x": ColumnType("float")})[0]["x"].to_pylist() == [float(cell) for cell in cells]
    cells[99_990] = "no"
    found = source(tmp_path, "x,y\n" + "".join(f"{cell},{'z' * 90}\n" for cell in cells))
    with pytest.raises(DataError, match="has 'no' in row 99991"):
        typed(found, {"x": ColumnType("float")})
    cells[99_990] = "1,2"
    found = source(tmp_path, "x,y\n" + "".join(f"{cell},{'z' * 90}\n" for cell in cells))
    with pytest.raises(DataError, match=r"\(row 99991\): has 3 fields, the header has 2"):
        typed(found, {"x": ColumnType("float")})


@pytest.mark.parametrize(
    ("cells", "sign", "wanted"),
    [
        (["$1.5", "-$2", "$-3", "+$4", "$ 5"], "$", [1.5, -2, -3, 4, 5]),
        (["5%", "12.5 %", "-7\u00a0%", "NA"], "%", [5, 12.5, -7, None]),
        (['"$1,234.50"', '"US$"', "US$7"], "US$", "with the sign 'US$' (format.signs)"),
        (["$5", "€6"], "$", "has '€6' in row 2"),
        (["$5", "6"], "$", "has '6' in row 2"),
        (["--$5", "$$6", "$7$", "$"], "$", "'--$5' in row 1, '$$6' in row 2, '$7$' in row 3"),
        (["$5"], "", "can be said, as format.signs: {x: '$'}"),
    ],
)
def test_numbers_with_a_sign(tmp_path: Path, cells: list[str], sign: str, wanted: object) -> None:
    said = {"signs": {"x": sign}} if sign else {}
    if isinstance(wanted, list):
        assert column(tmp_path, cells, "float", **said) == wanted
        return
    with pytest.raises(DataError) as caught:
        column(tmp_path, cells, "float", **said)
    assert str(wanted) in caught.value.rule


def test_signs_hide_no_marks_of_thousands(tmp_path: Path) -> None:
    cells = ["$1,234.50", "$12.00", "-$1,000,000.25"]
    assert column(tmp_path, cells, "float", signs={"x": "$"}) == [1234.5, 12, -1000000.25]
    cells = ["1.234,50 €", "12,00 €", "-1.000.000,25 €"]
    assert column(tmp_path, cells, "float", signs={"x": "€"}) == [1234.5, 12, -1000000.25]


@pytest.mark.parametrize("sign", ["", "1", "a b", ".", "123456789"])
def test_what_is_no_sign(tmp_path: Path, sign: str) -> None:
    with pytest.raises(ProductError, match=r"signs\.x: must be a currency"):
        source(tmp_path, "x,y\n1,2\n", signs={"x": sign})


def test_a_fault_below_a_line_for_excel_is_found_in_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        typed(source(tmp_path, "sep=;\nx;y\n1;2\n3;4;5\n6;7\n"), {"x": ColumnType("int")})
    assert (caught.value.column, caught.value.rule) == ("(row 2)", "has 3 fields, the header has 2")
