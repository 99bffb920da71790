"""Ids: 64 bits at every door, exact to the last digit; a float, which rounds them, never comes between."""

import json
from importlib import resources
from itertools import count

import numpy as np
import pytest
from sqlalchemy import select
from support.packages import row_of
from support.products import SPEC
from support.waiting import until

from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions
from beacon_core.domain.integers import check_integer, whole_or_float
from beacon_core.feature_store.definitions import push_source_name
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
KEY, ROW = PRODUCT.entity.key, dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
FIRST = next(feature for feature in PRODUCT.features if feature.valid is not None)
# What the request leaves out comes from the store, and tells whose features those are.
SENT = {name: value for name, value in ROW.items() if name != FIRST.name}
V2, V1, MLFLOW = f"/v2/models/{PRODUCT.name}/infer", f"/v1/models/{PRODUCT.name}:predict", "/invocations"

# Neighbours that are one float64: who asks for one must not be answered for the other.
BIG = 2**53
NEIGHBOURS = [BIG - 1, BIG, BIG + 1, BIG + 2, -BIG, -BIG - 1, 2**63 - 2, 2**63 - 1, -(2**63), -(2**63) + 1]
# As the text of a number: the id that it is.
TAKEN = {str(number): number for number in [1700, -3, 0, *NEIGHBOURS]}
TAKEN |= {"1700.0": 1700, "1.7e3": 1700, "17000e-1": 1700, "1e3": 1000, "1E+3": 1000, "-0.0": 0, "-0": 0}
TAKEN |= {"9007199254740991.0": BIG - 1}
DIGITS = "1" * 400
REFUSED = [
    *(
        "17.5",
        "1e-400",
        "17.00000000000000000001",
        "4503599627370497.5",
        "9007199254740991.5",
        "1e99999999999999999999",
    ),
    *("9007199254740992.0", "9007199254740993.0", "1e16", "1e400", f"{DIGITS}.5", DIGITS, f"-{DIGITS}"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616"),
]
NO_NUMBERS = ['"1700"', '"1700.0"', '""', "true", "false", '{"a":17}']


def tensors(datatype="INT64", data=("<id>",), shape=(1,), features=()):
    """The entity's key as a tensor of V2, behind those of the features."""
    columns = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in dict(features).items()]
    return {"inputs": [*columns, {"name": KEY, "shape": shape, "datatype": datatype, "data": data}]}


# Each door: its path, and a body in which "<id>" stands for the id.
DOORS = {
    "native": ("/v1/predict", {"entity": {KEY: "<id>"}}),
    "native, features": ("/v1/predict", {"entity": {KEY: "<id>"}, "features": {FIRST.name: None}}),
    "native batch": ("/v1/predict/batch", {"rows": [{"entity": {KEY: "<id>"}}]}),
    "v1 instances": (V1, {"instances": [{KEY: "<id>"}]}),
    "v1 instances, features": (V1, {"instances": [{**SENT, KEY: "<id>"}]}),
    "v1 columns": (V1, {"inputs": {KEY: ["<id>"]}}),
    "v1 column vectors": (V1, {"inputs": {KEY: [["<id>"]]}}),
    "v1 scalars": (V1, {"inputs": {**SENT, KEY: "<id>"}}),
    "mlflow split": (MLFLOW, {"dataframe_split": {"columns": [KEY], "data": [["<id>"]]}}),
    "mlflow split, features": (
        MLFLOW,
        {"dataframe_split": {"columns": [KEY, *SENT], "data": [["<id>", *SENT.values()]]}},
    ),
    "mlflow records": (MLFLOW, {"dataframe_records": [{KEY: "<id>"}]}),
    "mlflow records, NaN": (MLFLOW, {"dataframe_records": [{**ROW, KEY: "<id>", FIRST.name: float("nan")}]}),
    "mlflow instances": (MLFLOW, {"instances": [{KEY: "<id>"}]}),
    "mlflow inputs": (MLFLOW, {"inputs": {KEY: ["<id>"]}}),
    "v2": (V2, tensors()),
    "v2, features": (V2, tensors(features=SENT)),
    "v2 column": (V2, tensors(data=[["<id>"]], shape=[1, 1])),
}
# The same as lines of text, where a number has no type.
CSV_DOORS = {
    "csv": f"{KEY}\n<id>\n",
    "csv, features": f"{','.join(SENT)},{KEY}\n{','.join(map(str, SENT.values()))},<id>\n",
}
numbers = count()


def ask(client, door, text):
    """The answer of a door, and the id of the prediction."""
    name = f"id-{next(numbers)}"
    headers = {"Idempotency-Key": name}
    if door in CSV_DOORS:
        headers["Content-Type"] = "text/csv"
        return client.post(MLFLOW, content=CSV_DOORS[door].replace("<id>", text), headers=headers), name
    path, body = DOORS[door]
    return client.post(path, content=json.dumps(body).replace('"<id>"', text), headers=headers), name


def find(client, name):
    """A prediction as the log has it."""
    return json.loads(client.get(f"/v1/predictions/{name}").content)


@pytest.fixture(scope="module")
def known(features):
    """Entities whose features differ: the value of the first one tells them apart."""
    ids = sorted(set(TAKEN.values()))
    values = np.linspace(*FIRST.valid, len(ids)).tolist()
    columns = {KEY: ids, EVENT_TIME: ["2026-01-31T12:00:00Z"] * len(ids)}
    columns |= {name: [value] * len(ids) for name, value in ROW.items()} | {FIRST.name: values}
    body = {"push_source_name": push_source_name(PRODUCT), "df": columns, "to": "online"}
    answer = features.post("/push", json=body)
    assert answer.status_code == 200, answer.text
    return dict(zip(ids, values, strict=True))


@pytest.mark.parametrize("door", [*DOORS, *CSV_DOORS])
def test_an_id_is_exact_from_the_door_to_the_log(inference, known, door):
    for text, number in TAKEN.items():
        answer, name = ask(inference, door, text)
        assert answer.status_code == 200, (text, answer.text)
        found = find(inference, name)
        assert found["entity"] == {KEY: number}, text
        assert found["served"][FIRST.name] == known[number], f"{text} was answered for another entity"


@pytest.mark.parametrize("door", [*DOORS, *CSV_DOORS])
def test_what_is_no_id_is_refused_by_name(inference, door):
    for text in REFUSED if door in CSV_DOORS else [*REFUSED, *NO_NUMBERS]:
        answer, _ = ask(inference, door, text)
        error = answer.json()
        assert (answer.status_code, error["code"]) == (422, "invalid_entity"), (text[:40], error)
        assert KEY in error["error"]
        assert error["field"]


@pytest.mark.parametrize("door", CSV_DOORS)
@pytest.mark.parametrize("text", ["true", "abc", "1_000", "0x11", "17-", "--17", "inf", "1" * 5000, "\u0661\u0667"])
def test_a_word_in_csv_is_no_id(inference, door, text):
    answer, _ = ask(inference, door, text)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_entity"), answer.text


@pytest.mark.parametrize("door", [*DOORS, *CSV_DOORS])
def test_an_id_of_five_thousand_digits_is_the_clients_fault(inference, door):
    answer, _ = ask(inference, door, "9" * 5000)
    assert answer.status_code in {400, 422}, answer.text


def ask_in_binary(client, datatype, content):
    name = f"id-{next(numbers)}"
    tensor = {"name": KEY, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Idempotency-Key": name}
    headers["Content-Type"] = "application/octet-stream"
    return client.post(V2, content=head + content, headers=headers), name


TYPES = {"INT64": "<i8", "UINT64": "<u8", "INT32": "<i4", "UINT32": "<u4", "INT16": "<i2", "INT8": "i1"}
TYPES |= {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}
BINARY_TAKEN = [
    *(("INT64", number) for number in [1700, *NEIGHBOURS]),
    *(("UINT64", number) for number in (1700, BIG + 1, 2**63 - 1)),
    *((datatype, 1700) for datatype in ("INT32", "UINT32", "INT16", "FP64", "FP32", "FP16")),
    *(("INT8", -3), ("FP64", BIG - 1)),
]
BINARY_REFUSED = [
    *(("UINT64", 2**63), ("UINT64", 2**64 - 1), ("FP64", 17.5), ("FP64", 1e16), ("FP64", BIG), ("FP64", np.inf)),
    *(("FP32", 2**24), ("FP32", 1e9), ("FP32", 17.5), ("FP16", 2048), ("FP16", -2048), ("FP16", 65504)),
]


@pytest.mark.parametrize(("datatype", "number"), BINARY_TAKEN)
def test_a_binary_id_is_exact(inference, known, datatype, number):
    answer, name = ask_in_binary(inference, datatype, np.array([number], TYPES[datatype]).tobytes())
    assert answer.status_code == 200, answer.text
    found = find(inference, name)
    assert found["entity"] == {KEY: number}
    assert found["served"][FIRST.name] == known[number]


@pytest.mark.parametrize(("datatype", "number"), BINARY_REFUSED)
def test_a_binary_id_that_may_have_been_rounded_is_refused(inference, datatype, number):
    answer, _ = ask_in_binary(inference, datatype, np.array([number], TYPES[datatype]).tobytes())
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_entity"), answer.text
    assert KEY in answer.json()["error"]


@pytest.mark.parametrize(
    ("datatype", "text", "status"),
    [
        *(("UINT64", str(2**63 - 1), 200), ("UINT64", str(2**63), 422), ("UINT64", "-3", 422), ("UINT64", "1e16", 422)),
        *(("FP64", "1700", 200), ("FP64", "1700.0", 200), ("FP64", str(BIG - 1), 200), ("FP64", str(BIG + 1), 422)),
        *(("FP64", "1e16", 422), ("FP32", "1700", 200), ("FP32", str(2**24 + 1), 422), ("FP16", "2049", 422)),
        *(("INT16", "1700", 200), ("INT8", "1000", 422), ("INT32", str(BIG), 422), ("INT64", "1700.0", 200)),
        *(("BYTES", '"1700"', 422), ("BOOL", "true", 422)),
    ],
)
def test_an_id_fits_the_datatype_of_its_tensor(inference, known, datatype, text, status):
    body = json.dumps(tensors(datatype)).replace('"<id>"', text)
    answer = inference.post(V2, content=body)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("text", TAKEN)
def test_an_actual_finds_its_entity_and_not_its_neighbour(inference, known, text):
    number = TAKEN[text]
    mine, others = ask(inference, "native", str(number))[1], {}
    for other in {number - 1, number + 1} & set(known):
        others[other] = ask(inference, "native", str(other))[1]
    moment = find(inference, max([mine, *others.values()], key=lambda name: find(inference, name)["time"]))["time"]
    value = 10 + next(numbers) % 1000 / 100
    body = json.dumps({"entity": {KEY: "<id>"}, "value": value, "observed_at": moment})
    answer = inference.post("/v1/actuals", content=body.replace('"<id>"', text))
    assert answer.json() == {"outcomes": ["accepted"], "accepted": 1}
    # A prediction that is still in the spool shows no actual.
    assert until(lambda: find(inference, mine)["actual"], "the actual is joined")["value"] == value
    for name in others.values():
        assert find(inference, name)["actual"] is None


@pytest.mark.parametrize("text", [*REFUSED, *NO_NUMBERS], ids=lambda text: text[:30])
def test_an_actual_of_no_entity_is_refused(inference, text):
    actual = {"entity": {KEY: "<id>"}, "value": 20, "observed_at": "2026-01-31T12:00:00Z"}
    for body, field in ((actual, "entity"), ({"actuals": [actual]}, "actuals[0].entity")):
        answer = inference.post("/v1/actuals", content=json.dumps(body).replace('"<id>"', text))
        assert answer.status_code == 422, answer.text
        assert (answer.json()["code"], answer.json()["field"]) == ("invalid_entity", f"{field}.{KEY}")


def test_the_database_has_ids_to_their_last_digit(inference_server, inference, known):
    names = {ask(inference, "native", str(number))[1]: str(number) for number in NEIGHBOURS}
    engine = open_store(f"sqlite:///{inference_server.home / 'beacon.db'}")
    query = select(predictions.c.id, predictions.c.entity).where(predictions.c.id.in_(names))

    def kept():
        with engine.connect() as connection:
            return {row.id: row.entity for row in connection.execute(query)}

    until(lambda: kept().keys() == names.keys(), "the predictions are in the database")
    assert kept() == names
    engine.dispose()


@pytest.mark.parametrize("text", TAKEN)
def test_feature_serving_reads_an_id_exactly(features, known, text):
    body = json.dumps({"feature_service": PRODUCT.feature_service, "entities": {KEY: ["<id>"]}})
    answer = features.post("/get-online-features", content=body.replace('"<id>"', text))
    assert answer.status_code == 200, answer.text
    found = json.loads(answer.content)
    columns = dict(zip(found["metadata"]["feature_names"], found["results"], strict=True))
    assert columns[KEY]["values"] == [TAKEN[text]]
    assert columns[FIRST.name]["values"] == [known[TAKEN[text]]]


@pytest.mark.parametrize("text", [*REFUSED, *NO_NUMBERS, "null"], ids=lambda text: text[:30])
@pytest.mark.parametrize("path", ["/get-online-features", "/push"])
def test_feature_serving_refuses_what_is_no_id(features, path, text):
    body = {"feature_service": PRODUCT.feature_service, "entities": {KEY: ["<id>"]}}
    if path == "/push":
        columns = {KEY: ["<id>"], EVENT_TIME: ["2026-01-31T12:00:00Z"], **{name: [v] for name, v in ROW.items()}}
        body = {"push_source_name": push_source_name(PRODUCT), "df": columns, "to": "online"}
    answer = features.post(path, content=json.dumps(body).replace('"<id>"', text))
    assert answer.status_code == 422, answer.text
    assert KEY in answer.text


@pytest.mark.parametrize("text", [*TAKEN, *REFUSED], ids=lambda text: text[:30])
def test_the_rule_itself(text):
    value = whole_or_float(text) if any(mark in text for mark in ".eE") else int(text)
    if text in TAKEN:
        assert check_integer(value) == TAKEN[text]
    else:
        with pytest.raises(ValueError, match="must"):
            check_integer(value)


def test_the_docs_page_shows_answers_as_they_came():
    """JavaScript reads every number as a float; the page only sets the text out."""
    page = resources.files("beacon_inference").joinpath("docs.html").read_text(encoding="utf-8")
    assert "pretty(JSON.parse" not in page
