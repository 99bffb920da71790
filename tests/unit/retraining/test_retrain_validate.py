"""Every file of the bad set is refused before training, by column and rule; every file of the good set passes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_retraining.data.validate import check_shift, kolmogorov_smirnov, validate

Table = list[list[str]]


def change(column: str, value: str, rows: slice = slice(16, 17)) -> Callable[[Table], None]:
    """Write `value` into `column` of the data rows `rows`, counted from 0."""

    def apply(table: Table) -> None:
        for row in table[1:][rows]:
            row[table[0].index(column)] = value

    return apply


def rename(old: str, new: str) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        table[0][table[0].index(old)] = new

    return apply


def drop(column: str) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        place = table[0].index(column)
        for row in table:
            del row[place]

    return apply


def append(column: str) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        table[0].append(column)
        for row in table[1:]:
            row.append("1")

    return apply


def keep(rows: int) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        del table[1 + rows :]

    return apply


def multiply(table: Table) -> None:
    table.extend(table[1:] * 200)


def ten_times(table: Table) -> None:
    table.extend(table[1:] * 9)


def leak(column: str) -> Callable[[Table], None]:
    """Make a feature from the target, in the feature's own range."""

    def apply(table: Table) -> None:
        target, place = table[0].index("MEDV"), table[0].index(column)
        for row in table[1:]:
            row[place] = str(float(row[target]) / 10 + 1)

    return apply


def reverse_columns(table: Table) -> None:
    for row in table:
        row.reverse()


BAD_TABLES = [
    (drop("RM"), "(header)", "RM is missing"),
    (drop("MEDV"), "(header)", "MEDV is missing"),
    (append("PRICE"), "(header)", "'PRICE' is not a column of this product"),
    (append("RM"), "(header)", "'RM' is in the header twice"),
    (rename("RM", "ROOMS"), "(header)", "RM is missing; 'ROOMS' is not a column of this product; renamed?"),
    (rename("RM", "rm"), "(header)", "RM is missing; 'rm' is not a column of this product; renamed?"),
    (keep(0), "(rows)", "has 0 rows, must have at least 400"),
    (keep(399), "(rows)", "has 399 rows, must have at least 400"),
    (multiply, "(rows)", "must have at most 100000"),
    (change("RM", "0.5"), "RM", "must be between 1 and 20, has 0.5 in row 17"),
    (change("RM", "21"), "RM", "must be between 1 and 20"),
    (change("MEDV", "-1"), "MEDV", "must be between 0 and 100, has -1.0 in row 17"),
    (
        change("MEDV", "NA", slice(0, 110)),
        "MEDV",
        "is the target, and has no value in 110 of 506 rows; at most 20% may",
    ),
    (change("CHAS", "2"), "CHAS", "must be one of 0, 1, has 2.0 in row 17"),
    (change("RAD", "4.5"), "RAD", "must be one of 1, 2, 3, 4, 5, 6, 7, 8, 24"),
    (change("TAX", "n/a"), "TAX", "must be a finite number such as 5, -0.25 or 1e3, or NA, has 'n/a' in row 17"),
    (change("TAX", ""), "TAX", "must be a finite number such as 5, -0.25 or 1e3, or NA, has '' in row 17"),
    (change("TAX", "nan"), "TAX", "must be a finite number"),
    (change("TAX", "1e999"), "TAX", "must be a finite number"),
    (change("TAX", "inf"), "TAX", "must be a finite number"),
    (change("TAX", "=A1+1"), "TAX", "must be a finite number"),
    (change("TAX", "30\n0"), "TAX", "must be a finite number"),
    (change("LSTAT", "NA", slice(None)), "LSTAT", "holds no value at all"),
    (change("LSTAT", "NA", slice(0, 150)), "LSTAT", "must have a value in at least 80% of the rows"),
    (ten_times, "(rows)", "4554 of 5060 rows repeat an earlier one (first: row 507)"),
    (leak("RM"), "RM", "leaks the target: its rank correlation with MEDV is 1.00"),
    (change("RM", '"6.5\n"'), "RM", "must be a finite number"),
    (change("AGE", "x", slice(0, 5)), "AGE", "'x' in row 1, 'x' in row 2, 'x' in row 3 and 2 more"),
]

BAD_BYTES = [
    (lambda content: b"", "(file)", "is empty"),
    (lambda content: content[:-20], "(row 506)", "cut off at the end"),
    (lambda content: content[: len(content) // 2], "(row", "fields, the header has 14"),
    (lambda content: b"\x93" + content, "(header)", "CRIM is missing"),
    (lambda content: b"<html><body>sign in</body></html>", "(file)", "is HTML"),
    (lambda content: b"PK\x03\x04" + content, "(file)", "is not a whole zip file"),
    (lambda content: content.replace(b"\n0.0", b'\n"0.0', 1), "(file)", "is not CSV"),
]


@pytest.fixture
def table(product: Product) -> Table:
    return [line.split(",") for line in product.sample_path.read_text().splitlines()]


def write(folder: Path, table: Table) -> Path:
    quoted = [['"' + value.replace('"', '""') + '"' if "\n" in value else value for value in row] for row in table]
    file = folder / "housing.csv"
    file.write_text("".join(",".join(row) + "\n" for row in quoted))
    return file


@pytest.mark.parametrize(("spoil", "column", "rule"), BAD_TABLES)
def test_a_bad_table_is_refused_by_column_and_rule(
    spoil: Callable[[Table], None], column: str, rule: str, table: Table, product: Product, tmp_path: Path
) -> None:
    spoil(table)
    with pytest.raises(DataError) as refused:
        validate(write(tmp_path, table), product)
    assert refused.value.file == "housing.csv"
    assert refused.value.column == column
    assert rule in refused.value.rule


@pytest.mark.parametrize(("spoil", "column", "rule"), BAD_BYTES)
def test_bad_bytes_are_refused_by_place_and_rule(
    spoil: Callable[[bytes], bytes], column: str, rule: str, product: Product, tmp_path: Path
) -> None:
    file = tmp_path / "housing.csv"
    file.write_bytes(spoil(product.sample_path.read_bytes()))
    with pytest.raises(DataError) as refused:
        validate(file, product)
    assert refused.value.column.startswith(column)
    assert rule in refused.value.rule


@pytest.mark.parametrize(
    "alter",
    [
        lambda table: None,
        reverse_columns,
        drop("B"),
        change("B", "no number at all"),
        change("RM", " 6.5 "),
        change("RM", "NA"),
        keep(400),
        lambda table: table.extend(table[1:6]),
        change("LSTAT", "NA", slice(0, 70)),
    ],
    ids=[
        "as it is",
        "columns reversed",
        "no B",
        "text in B",
        "spaces",
        "missing value",
        "fewest rows",
        "a few repeated rows",
        "a seventh missing",
    ],
)
def test_a_good_table_passes(alter: Callable[[Table], None], table: Table, product: Product, tmp_path: Path) -> None:
    alter(table)
    rows = validate(write(tmp_path, table), product)
    assert list(rows) == ["tract_id", *product.feature_names, "MEDV"]
    assert list(rows["tract_id"]) == list(range(1, len(table)))


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
    ],
    ids=["byte order mark", "Windows", "semicolons", "tabs", "UTF-16", "UTF-16 without its mark"],
)
def test_the_dialects_of_people_are_read_alike(
    encode: Callable[[str], bytes], product: Product, tmp_path: Path
) -> None:
    file = tmp_path / "housing.csv"
    file.write_bytes(encode(product.sample_path.read_text()))
    assert validate(file, product).equals(validate(product.sample_path, product))


def test_the_sample_keeps_its_values_and_its_gaps(product: Product) -> None:
    rows = validate(product.sample_path, product)
    assert len(rows) == 506
    assert rows["LSTAT"].isna().sum() == 20
    assert rows.loc[0, ["RM", "TAX", "MEDV"]].tolist() == [6.575, 296, 24]
    assert {str(kind) for kind in rows.dtypes} == {"int64", "float64"}
    assert not np.isinf(rows.to_numpy()).any()


def test_rows_unlike_the_last_accepted_ones_are_refused_by_column(product: Product) -> None:
    last = validate(product.sample_path, product)
    check_shift("new.csv", last.sample(frac=0.8, random_state=0), last, product)
    with pytest.raises(DataError, match=r"new.csv: DIS: is distributed unlike the last accepted data \(distance 0\."):
        check_shift("new.csv", last.assign(DIS=last["DIS"] * 3), last, product)
    with pytest.raises(DataError, match="MEDV: is distributed unlike"):
        check_shift("new.csv", last.assign(MEDV=last["MEDV"] + 10), last, product)


def test_the_quick_mode_sees_the_form_of_all_and_the_values_of_the_first_rows(
    table: Table, product: Product, tmp_path: Path
) -> None:
    table.extend([list(row) for row in table[1:] * 2])
    change("RM", "99", slice(1100, 1101))(table)
    assert len(validate(write(tmp_path, table), product, quick=True)) == 1000
    change("RM", "99", slice(10, 11))(table)
    with pytest.raises(DataError, match=r"RM: must be between 1 and 20, has 99\.0 in row 11"):
        validate(write(tmp_path, table), product, quick=True)
    table[-1].pop()
    with pytest.raises(DataError, match="cut off at the end"):
        validate(write(tmp_path, table), product, quick=True)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_distance_is_scipys(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    one, other = (np.round(generator.normal(mean, 1, size), decimals) for mean, size in ((0, 301), (0.3, 170)))
    gaps = np.array([np.nan, np.nan])
    found = kolmogorov_smirnov(np.concatenate([one, gaps]), np.concatenate([gaps, other]))
    assert found == pytest.approx(ks_2samp(one, other).statistic, abs=1e-12)
    assert kolmogorov_smirnov(other, one) == found
    assert kolmogorov_smirnov(one, one) == kolmogorov_smirnov(one, gaps) == 0
