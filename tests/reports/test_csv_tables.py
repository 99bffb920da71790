"""CSV as people and libraries write it: blank lines, pandas' words for a missing value, line ends, quotes."""

import io

import pandas as pd
import pytest
from pandas._libs.parsers import STR_NA_VALUES
from support.packages import row_of
from support.products import SPEC

from beacon_core.domain.missing import PANDAS_MARKERS
from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
KEY, ROW = PRODUCT.entity.key, dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
NULLABLE = next(feature.name for feature in PRODUCT.features if feature.nullable)
EXCLUDED = next(iter(PRODUCT.excluded))
HEADER, LINE = ",".join(ROW), ",".join(map(str, ROW.values()))
CSV = {"Content-Type": "text/csv"}


def line_with(word):
    return ",".join(word if name == NULLABLE else str(value) for name, value in ROW.items())


def predictions(client, text):
    answer = client.post("/invocations", content=text.encode(), headers=CSV)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


BLANK_LINES = {
    "last": f"{HEADER}\n{LINE}\n\n",
    "several last": f"{HEADER}\n{LINE}\n\n\n\n",
    "first": f"\n\n{HEADER}\n{LINE}\n",
    "behind a byte order mark": f"\ufeff\n{HEADER}\n{LINE}\n",
    "below the header": f"{HEADER}\n\n{LINE}\n",
    "with blanks on it": f"{HEADER}\n{LINE}\n   \n \t \n",
    "Windows": f"{HEADER}\r\n\r\n{LINE}\r\n\r\n",
    "old Macs": f"{HEADER}\r\r{LINE}\r\r",
    "none at all": f"{HEADER}\n{LINE}",
    "control Z aside": f"{HEADER}\n{LINE}\n\x0c\n",
}


@pytest.mark.parametrize("form", BLANK_LINES)
def test_blank_lines_are_no_rows(inference, form):
    assert len(predictions(inference, BLANK_LINES[form])) == 1


def test_rows_keep_their_order_around_blank_lines(inference):
    other = line_with(str(ROW[NULLABLE] / 2))
    plain = predictions(inference, f"{HEADER}\n{LINE}\n{other}\n{LINE}\n")
    assert plain[0] != plain[1]
    assert predictions(inference, f"\n{HEADER}\n\n{LINE}\n\n\n{other}\n{LINE}\n\n") == plain


def test_lines_of_blanks_alone_are_no_table(inference):
    for text in ("", "\n", "\n\n \n", f"{HEADER}\n", f"{HEADER}\n\n\n", f"\n{HEADER}"):
        answer = inference.post("/invocations", content=text.encode(), headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body"), text


def test_too_many_rows_are_told_and_blank_lines_are_not_counted(inference):
    assert len(predictions(inference, HEADER + f"\n\n{LINE}" * 1000 + "\n" * 5000)) == 1000
    answer = inference.post("/invocations", content=(HEADER + f"\n{LINE}" * 1001).encode(), headers=CSV)
    assert (answer.status_code, answer.json()["code"]) == (422, "batch_too_large")


def test_the_words_are_those_of_the_pandas_at_hand():
    assert PANDAS_MARKERS == STR_NA_VALUES


@pytest.mark.parametrize("word", sorted(PANDAS_MARKERS))
def test_pandas_words_for_missing_are_missing(inference, word):
    imputed = inference.post("/v1/predict", json={"features": ROW | {NULLABLE: None}}).json()
    assert imputed["imputed"] == [NULLABLE]
    for text in (word, f" {word} ", f'"{word}"'):
        answer = inference.post("/invocations", content=f"{HEADER}\n{line_with(text)}\n".encode(), headers=CSV)
        assert answer.status_code == 200, (text, answer.text)
        assert answer.json()["predictions"] == [imputed["prediction"]]
        assert answer.headers["beacon-imputed"] == NULLABLE


@pytest.mark.parametrize("word", sorted(PANDAS_MARKERS))
def test_a_missing_id_is_no_entity(inference, word):
    text = f"{HEADER},{KEY}\n{LINE},{word}\n{LINE},1\n"
    headers = CSV | {"Idempotency-Key": f"csv-{sorted(PANDAS_MARKERS).index(word)}"}
    answer = inference.post("/invocations", content=text.encode(), headers=headers)
    assert answer.status_code == 200, answer.text
    found = [inference.get(f"/v1/predictions/{headers['Idempotency-Key']}{row}").json() for row in ("", ".1")]
    assert [each["entity"] for each in found] == [None, {KEY: 1}]


@pytest.mark.parametrize(
    "options", [{}, {"na_rep": "NA"}, {"na_rep": "NULL"}, {"quoting": 1}, {"lineterminator": "\r\n"}]
)
def test_what_pandas_writes_is_taken(inference, options):
    rows = [{**ROW, KEY: 1}, {**ROW, KEY: None}, {**ROW, NULLABLE: None, KEY: 3}]
    text = pd.DataFrame(rows).to_csv(index=False, **options)
    assert "1.0" in text  # beside a gap pandas writes whole numbers so
    assert len(predictions(inference, text)) == 3
    assert len(pd.read_csv(io.StringIO(text))) == 3


WORDS = ["none", "Null", "NAN", "nil", "missing", "?", "-", "undefined", "#VALUE!", "N.A.", "0x1", "1_0", "yes"]


@pytest.mark.parametrize("word", WORDS)
def test_any_other_word_is_refused_with_the_rule(inference, word):
    answer = inference.post("/invocations", content=f"{HEADER}\n{line_with(word)}\n".encode(), headers=CSV)
    error = answer.json()
    code = "not_finite" if word == "NAN" else "invalid_type"
    assert (answer.status_code, error["code"], error["field"]) == (422, code, f"rows[0].{NULLABLE}")
    assert "missing" in error["error"]


JSON_DOORS = {
    "/v1/predict": lambda row: {"features": row},
    "/v1/predict/batch": lambda row: {"rows": [{"features": row}]},
    f"/v1/models/{PRODUCT.name}:predict": lambda row: {"instances": [row]},
    f"/v2/models/{PRODUCT.name}/infer": lambda row: {
        "inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in row.items()]
    },
    "/invocations": lambda row: {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
}


@pytest.mark.parametrize("path", JSON_DOORS)
def test_in_json_a_word_is_a_string_and_null_is_missing(inference, path):
    """JSON has a value of its own for it: one reason for all words, at every door."""
    make = JSON_DOORS[path]
    assert inference.post(path, json=make(ROW | {NULLABLE: None})).status_code == 200
    for word in [*sorted(PANDAS_MARKERS), *WORDS]:
        answer = inference.post(path, json=make(ROW | {NULLABLE: word}))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_type"), (word, answer.text)
        assert "must be a number or null, not a string" in answer.json()["error"]


def test_a_column_without_a_name_is_told_by_its_place(inference):
    for header, place in ((f",{HEADER}", 1), (f"{HEADER},", len(ROW) + 1), (f"{HEADER}, ", len(ROW) + 1)):
        line = f"0,{LINE}" if place == 1 else f"{LINE},0"
        answer = inference.post("/invocations", content=f"{header}\n{line}\n".encode(), headers=CSV)
        assert answer.status_code == 422
        assert f"the header's column {place} has no name" in answer.json()["error"]


HEADERS = {
    "two unknown": (f"{HEADER},rooms,age2", "rows", "unknown feature rooms"),
    "a name of another case": (HEADER.lower(), "rows", f"; did you mean {PRODUCT.feature_names[0]}?"),
    "all unknown": (",".join(f"c{number}" for number in range(14)), "rows", "unknown feature c9; and 4 more"),
    "two without a name": (f",{HEADER},", "header", f"the header's columns 1, {len(ROW) + 2} have no name"),
    "without a name, beside unknown ones": (
        f",{HEADER},rooms",
        "header",
        "column 1 has no name; unknown feature rooms",
    ),
    "excluded, beside an unknown one": (f"{HEADER},{EXCLUDED},rooms", "rows", f"{EXCLUDED} is excluded: "),
}


@pytest.mark.parametrize("form", HEADERS)
def test_a_header_is_refused_with_all_that_is_wrong_in_it(inference, form):
    header, field, said = HEADERS[form]
    cells = ",".join("x" for _ in header.split(","))  # whatever the cells are
    answer = inference.post("/invocations", content=f"{header}\n{cells}\n".encode(), headers=CSV)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_feature")
    assert answer.json()["field"] == field
    assert said in answer.json()["error"]
    for name in ("rooms", "age2"):
        assert (name in header.split(",")) == (f"unknown feature {name}" in answer.json()["error"])


V2 = f"/v2/models/{PRODUCT.name}/infer"
TABLES = {
    "a data frame": ("/invocations", {"dataframe_split": {"columns": ["rooms", *ROW, "age2"], "data": [[0] * 14]}}),
    "columns": (
        "/invocations",
        {"inputs": {"rooms": [0], **{name: [value] for name, value in ROW.items()}, "age2": [0]}},
    ),
    "columns of V1": (f"/v1/models/{PRODUCT.name}:predict", {"inputs": {**ROW, "rooms": 0, "age2": 0}}),
    "tensors": (
        V2,
        {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [0]} for name in (*ROW, "rooms", "age2")]},
    ),
}


@pytest.mark.parametrize("form", TABLES)
def test_other_tables_are_refused_with_all_of_their_unknown_columns(inference, form):
    path, body = TABLES[form]
    answer = inference.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert "unknown feature rooms" in answer.json()["error"]
    assert "unknown feature age2" in answer.json()["error"]


def test_blanks_around_names_and_values_are_no_part_of_them(inference):
    plain = predictions(inference, f"{HEADER}\n{LINE}\n")
    assert predictions(inference, f"{HEADER.replace(',', ' , ')}\n {LINE.replace(',', ' , ')} \n") == plain
