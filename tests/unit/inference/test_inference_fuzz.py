"""Whatever is sent: never a 5xx, every answer strict JSON. BEACON_FUZZ_CASES is the number of cases a route gets."""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.fuzzing import cases, fuzzing
from support.packages import row_of
from support.products import SPEC

from beacon_core.platform.product_file import load_product

FEW = 80
PRODUCT = load_product(SPEC)
NAMES = PRODUCT.feature_names
FUZZ = fuzzing(FEW, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

# JSON texts of single values, the odd ones as a client could really type them.
ODD = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e308",
        "-0",
        "0.1e-400",
        "9" * 5000,
        "9" * 400,
        "true",
        "null",
    ),
    *(
        '"12"',
        '" 12 "',
        '"1_000"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\udfff\\ud800"',
        "[]",
        "{}",
        "[[]]",
        "01",
        "+1",
        ".5",
        "1.",
    ),
    *(
        "[" * 3000 + "]" * 3000,
        '{"a":' * 300 + "1" + "}" * 300,
        "",
        "'",
        "/**/1",
        "18446744073709551616",
        "-9223372036854775809",
    ),
]
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
).map(json.dumps)
number = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-(2**70), 2**70).map(str)
good = st.sampled_from(["0", "1", "5", "6.5", "24", "null"])
value = st.one_of(good, good, good, number, st.sampled_from(ODD), plain_json)
known = st.sampled_from(NAMES)
name = st.one_of(
    st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(["B", "RMM", "tract"]), st.text(max_size=6)
)


def text(key):
    return json.dumps(key)


def an_object(keys, values, **options):
    """JSON objects; keys may be there twice."""
    pairs = st.lists(st.tuples(keys, values), **options)
    return pairs.map(lambda found: "{" + ",".join(f"{text(key)}:{item}" for key, item in found) + "}")


def a_list(values, **options):
    return st.lists(values, **options).map(lambda found: "[" + ",".join(found) + "]")


VALID = {key: json.dumps(item) for key, item in zip(NAMES, row_of(PRODUCT), strict=True)}
# A whole row in which at most two values are odd: most bodies get past the parser.
nearly = st.dictionaries(known, value, max_size=2).map(
    lambda odd: "{" + ",".join(f"{text(key)}:{item}" for key, item in (VALID | odd).items()) + "}"
)
features = st.one_of(nearly, nearly, nearly, an_object(name, value, max_size=14), value)
identity = st.one_of(st.text(max_size=5).map(json.dumps), value)
row = st.one_of(
    features.map(lambda found: f'{{"features":{found}}}'),
    st.tuples(features, identity).map(lambda two: f'{{"features":{two[0]},"prediction_id":{two[1]}}}'),
    an_object(st.sampled_from(["features", "prediction_id", "rows", "x"]), st.one_of(features, value), max_size=4),
    value,
)
whole = nearly.map(lambda found: f'{{"features":{found}}}')
batch = st.one_of(
    a_list(whole, min_size=1, max_size=3).map(lambda found: f'{{"rows":{found}}}'),
    a_list(row, max_size=4).map(lambda found: f'{{"rows":{found}}}'),
    row,
)
values_in_order = st.dictionaries(known, value, max_size=2).map(lambda odd: f"[{','.join((VALID | odd).values())}]")
columns = st.one_of(values_in_order, a_list(value, max_size=14))
table = st.one_of(
    a_list(columns, max_size=3), a_list(features, max_size=3), columns, an_object(name, columns, max_size=4), value
)
size = st.integers(-2, 14).map(str) | st.sampled_from(["4294967296", "1e3", "true", "null", "1" * 30])
datatype = st.sampled_from(['"FP64"', '"FP64"', '"FP32"', '"INT64"', '"BOOL"', '"BYTES"', '"X"', "7"])
fitting = values_in_order.map(
    lambda found: f'{{"name":"features","shape":[1,{len(NAMES)}],"datatype":"FP64","data":{found}}}'
)
tensor = fitting | st.tuples(name, a_list(size, max_size=3), datatype, table, st.one_of(st.just("{}"), plain_json)).map(
    lambda t: f'{{"name":{text(t[0])},"shape":{t[1]},"datatype":{t[2]},"data":{t[3]},"parameters":{t[4]}}}'
)
infer = st.tuples(st.one_of(a_list(tensor, max_size=3), value), st.one_of(st.just("[]"), plain_json)).map(
    lambda t: f'{{"inputs":{t[0]},"outputs":{t[1]}}}'
)
forms = an_object(
    st.sampled_from(["instances", "inputs", "dataframe_records", "dataframe_split", "params"]),
    table,
    min_size=1,
    max_size=2,
)
split = st.tuples(a_list(name.map(text), max_size=13), table).map(
    lambda t: f'{{"dataframe_split":{{"columns":{t[0]},"data":{t[1]}}}}}'
)

instances = a_list(nearly | values_in_order, min_size=1, max_size=2).map(lambda found: f'{{"instances":{found}}}')

ROUTES = {
    "/v1/predict": row,
    "/v1/predict/batch": batch,
    "/v2/models/boston-housing/infer": infer | fitting.map(lambda found: f'{{"inputs":[{found}]}}'),
    "/v1/models/boston-housing:predict": forms | instances,
    "/invocations": forms | split | instances,
}


@st.composite
def damaged(draw, bodies):
    """A body as bytes, now and then cut, with a byte changed, or something put in."""
    body = bytearray(draw(bodies).encode("utf-8", "surrogatepass"))
    kind = draw(st.sampled_from(["whole"] * 6 + ["cut", "byte", "insert"]))
    place = draw(st.integers(0, len(body)))
    if kind == "cut":
        del body[place:]
    elif kind == "byte" and place < len(body):
        body[place] = draw(st.integers(0, 255))
    elif kind == "insert":
        body[place:place] = draw(st.binary(max_size=4))
    return bytes(body)


headers = st.lists(
    st.sampled_from(
        [
            ("Idempotency-Key", "k"),
            ("Idempotency-Key", "\xff"),
            ("traceparent", "x" * 1000),
            ("X-Request-Id", "\x1b[31m"),
        ]
        + [("Content-Type", "text/csv"), ("Content-Encoding", "gzip"), ("Inference-Header-Content-Length", "7")]
    ),
    max_size=2,
)


def check(answer):
    assert answer.status < 500, answer.body
    body = answer.json()
    if answer.status >= 400:
        assert {"error", "code", "field", "request_id"} <= set(body)


@pytest.mark.parametrize("path", ROUTES)
def test_no_body_is_too_much(shared_service, path):
    statuses = {}

    @FUZZ
    @given(body=damaged(ROUTES[path]), extra=st.one_of(st.just([]), st.just([]), headers))
    def fuzz(body, extra):
        answer = shared_service.post(path, body, extra)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        check(answer)

    fuzz()
    print(path, statuses)
    assert sum(statuses.values()) >= cases(FEW)
    assert {200, 400, 422} <= set(statuses), "the fuzz gets to the model, and is refused by parser and rules"


tail = st.binary(max_size=200)
binary_size = st.one_of(st.integers(-1, 200), st.just(96), st.none(), st.booleans())


@FUZZ
@given(shape=st.lists(st.integers(-1, 13), max_size=3), size=binary_size, kind=datatype, tail=tail, name=name)
def check_binary(service, shape, size, kind, tail, name):
    parameters = json.dumps({"binary_data_size": size})
    given = f'{{"name":{text(name)},"shape":{shape},"datatype":{kind},"parameters":{parameters}}}'
    head = f'{{"inputs":[{given}]}}'
    extra = [("Inference-Header-Content-Length", str(len(head.encode()))), ("Content-Type", "application/octet-stream")]
    check(service.post("/v2/models/boston-housing/infer", head.encode() + tail, extra))


def test_no_binary_tensor_is_too_much(shared_service):
    check_binary(shared_service)
