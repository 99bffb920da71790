"""Charsets: every spelling of UTF-8, and of ASCII, which is part of it, is taken; any other is refused by name."""

import json

import pytest
from support.packages import row_of
from support.products import SPEC
from support.service import Service
from support.settings import Settings

from beacon_core.feature_store.definitions import push_source_name
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
KEY, VALUES = PRODUCT.entity.key, row_of(PRODUCT)
ROW = dict(zip(PRODUCT.feature_names, VALUES, strict=True))
TENSOR = {"name": "features", "shape": [1, len(VALUES)], "datatype": "FP64", "data": VALUES}
CSV = f"{','.join(ROW)}\n{','.join(map(str, VALUES))}\n"
ACTUAL = {"entity": {KEY: 7}, "value": 20, "observed_at": "2026-01-31T12:00:00Z"}

JSON_DOORS = {
    "/v1/predict": {"features": ROW},
    "/v1/predict/batch": {"rows": [{"features": ROW}]},
    f"/v2/models/{PRODUCT.name}/infer": {"inputs": [TENSOR]},
    f"/v1/models/{PRODUCT.name}:predict": {"instances": [VALUES]},
    "/invocations": {"instances": [VALUES]},
    "/v1/actuals": ACTUAL,
}
TAKEN = [
    *("utf-8", "UTF-8", "Utf-8", "utf8", "UTF8", "utf_8", '"utf-8"', '"UTF-8"', '"utf8"', "'utf-8'"),
    *("us-ascii", "US-ASCII", '"us-ascii"', "ascii", "ASCII"),
]
REFUSED = [
    *("latin-1", "latin1", "iso-8859-1", "ISO-8859-1", '"iso-8859-1"', "windows-1252", "utf-16", "utf-16le", "utf-32"),
    *("utf-7", "utf-80", "xutf-8", "utf-8-sig", "", '""', "utf", "nonsense", "utf-8 latin-1", "*", "null"),
]
SHAPES = [
    *("{}; charset={}", "{};charset={}", "{} ; Charset={}", "{}; CHARSET={};", "{}; v=1; charset={}"),
    "{};\tcharset = {};v=1",
]


@pytest.mark.parametrize("charset", TAKEN)
@pytest.mark.parametrize("path", JSON_DOORS)
def test_utf_8_and_ascii_are_taken_in_every_spelling(inference, path, charset):
    for shape in SHAPES:
        kind = shape.format("application/json", charset)
        answer = inference.post(path, content=json.dumps(JSON_DOORS[path]), headers={"Content-Type": kind})
        assert answer.status_code == 200, (kind, answer.text)


@pytest.mark.parametrize("charset", REFUSED)
@pytest.mark.parametrize("path", JSON_DOORS)
def test_any_other_charset_is_refused_by_name(inference, path, charset):
    for shape in SHAPES:
        kind = shape.format("application/json", charset)
        answer = inference.post(path, content=json.dumps(JSON_DOORS[path]), headers={"Content-Type": kind})
        error = answer.json()
        assert (answer.status_code, error["code"]) == (415, "unsupported_media_type"), (kind, answer.text)
        assert error["field"] == "Content-Type"
        assert "utf-8" in error["error"]


@pytest.mark.parametrize("twice", ["utf-8; charset=latin-1", "latin-1; charset=utf-8"])
def test_two_charsets_are_taken_only_if_both_are_utf_8(inference, twice):
    headers = {"Content-Type": f"application/json; charset={twice}"}
    assert inference.post("/v1/predict", json={"features": ROW}, headers=headers).status_code == 415
    headers = {"Content-Type": "application/json; charset=utf8; charset=UTF-8"}
    assert inference.post("/v1/predict", json={"features": ROW}, headers=headers).status_code == 200


def test_csv_is_csv_in_every_spelling(inference):
    for kind in ("text/csv", "Text/CSV", "TEXT/CSV; header=present"):
        for charset in ("", *(f"; charset={name}" for name in TAKEN)):
            answer = inference.post("/invocations", content=CSV, headers={"Content-Type": kind + charset})
            assert answer.status_code == 200, (kind + charset, answer.text)
    for name in REFUSED:
        answer = inference.post("/invocations", content=CSV, headers={"Content-Type": f"text/csv; charset={name}"})
        assert answer.status_code == 415, name


@pytest.mark.parametrize("path", ["/get-online-features", "/push"])
def test_feature_serving_takes_and_refuses_the_same(features, path):
    columns = {KEY: [900_003], EVENT_TIME: ["2026-01-31T12:00:00Z"], **{name: [value] for name, value in ROW.items()}}
    bodies = {
        "/get-online-features": {"feature_service": PRODUCT.feature_service, "entities": {KEY: [1]}},
        "/push": {"push_source_name": push_source_name(PRODUCT), "df": columns, "to": "online"},
    }
    for names, status in ((TAKEN, 200), (REFUSED, 415)):
        for name in names:
            headers = {"Content-Type": f"application/json; charset={name}"}
            assert features.post(path, json=bodies[path], headers=headers).status_code == status, name


def test_the_consoles_form_is_refused_in_another_charset(tmp_path):
    from beacon_console.app import create

    with Service(create(Settings(home=tmp_path, console_token="a token"))) as console:
        for charset, status in (("latin-1", 415), ("utf-16", 415), ("UTF8", 401)):
            kind = f"application/x-www-form-urlencoded; charset={charset}"
            answer = console.post("/models/1/decision", b"decision=approved", [("Content-Type", kind)])
            assert answer.status == status
