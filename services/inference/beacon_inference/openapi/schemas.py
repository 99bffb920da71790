"""The document's schemas: shapes of requests and answers, with ranges, categories and units from product.yaml."""

from collections.abc import Iterable
from typing import Any

from beacon_core.domain.errors import STATUS_OF
from beacon_core.domain.integers import INT64
from beacon_core.domain.product import Feature, Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.operations import Json, ref
from beacon_inference.protocols.open_inference import NUMPY_OF, OUTPUTS

STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
TIME: Json = {"type": "string", "format": "date-time"}
ANY_OBJECT: Json = {"type": "object"}


def schemas(product: Product, settings: Settings) -> Json:
    """Build every schema."""
    return (
        _request_schemas(product, settings)
        | _answer_schemas(product)
        | _log_schemas(product, settings)
        | _open_inference_schemas()
        | _foreign_schemas(product, settings)
    )


def closed(properties: Json, required: tuple[str, ...] | None = None, **more: Any) -> Json:
    """Describe an object with these properties and no other; all are required unless told otherwise."""
    wanted = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": wanted} | more


def nullable(schema: Json) -> Json:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def given(*names: str, without: Iterable[str]) -> Json:
    """Require that these members are there and not null, and that the others are not there, or null."""
    some, none = {"not": {"type": "null"}}, {"type": "null"}
    return {"required": list(names), "properties": dict.fromkeys(names, some) | dict.fromkeys(without, none)}


def feature_schema(feature: Feature) -> Json:
    """One feature: a number in its valid range or one of the categories, null where it is missing."""
    never = "" if feature.nullable else "; never imputed: the request or the feature store must know it"
    described: Json = {"description": f"{feature.title} ({feature.unit}){never}", "examples": [feature.example]}
    if feature.categories is not None:
        return described | {"type": ["number", "null"], "enum": [*feature.categories, None]}
    low, high = feature.valid or (0, 0)
    kind = "integer" if feature.is_whole else "number"
    return described | {"type": [kind, "null"], "minimum": low, "maximum": high}


def _request_schemas(product: Product, settings: Settings) -> Json:
    features = {feature.name: feature_schema(feature) for feature in product.features}
    key = {"type": "integer", "minimum": INT64[0], "maximum": INT64[-1]}
    row = {
        "features": nullable(ref("Features")),
        "entity": nullable(ref("Entity")),
        "prediction_id": nullable(ref("ClientId")),
    }
    minimum = product.serving.min_features
    return {
        "ClientId": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
            "description": "An id that the client makes.",
        },
        "Features": closed(features, (), description="Absent or null: looked up, or imputed."),
        "Entity": closed(
            {product.entity.key: key},
            description=f"The {product.entity.name} whose features are looked up. A key written with a fraction or an "
            "exponent, such as 17.0, is taken below 2^53: larger ones may have been rounded.",
        ),
        "PredictRequest": closed(
            row,
            (),
            description=f"Features, an entity, or both (the request's values win); at least {minimum} must be known.",
        ),
        "BatchRequest": closed(
            {
                "rows": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": settings.max_batch_rows,
                    "items": ref("PredictRequest"),
                }
            }
        ),
    }


def _answer_schemas(product: Product) -> Json:
    names = {"type": "array", "items": {"enum": list(product.feature_names)}}
    model = closed({"name": STRING, "version": STRING, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}})
    interval = closed({"low": NUMBER, "high": NUMBER, "coverage": NUMBER}, description="Conformal, in `unit`.")
    sources = {"type": "object", "additionalProperties": {"enum": ["request", "store"]}}
    prediction = {
        "prediction": {"type": "number", "description": f"{product.target.title}, in `unit`"},
        "unit": {"const": product.target.unit},
        "interval": interval,
        "prediction_id": ref("ClientId"),
        "model": model,
        "imputed": names | {"description": "features that had no value"},
        "out_of_range": names | {"description": "features outside what training saw"},
        "sources": sources | {"description": "where each value came from"},
    }
    error = {
        "error": STRING | {"description": "for people"},
        "code": {"enum": list(STATUS_OF), "description": "for programs; stable"},
        "field": {"type": ["string", "null"], "description": "path of the offending value"},
        "request_id": STRING,
    }
    of_mlflow = {"error_code": {"enum": ["BAD_REQUEST", "INTERNAL_ERROR"]}, "message": STRING}
    number_or_null = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
    actual = closed({"value": NUMBER, "observed_at": TIME, "received_at": TIME, "source": STRING})
    logged = prediction | {
        "time": TIME,
        "entity": nullable(closed({product.entity.key: {"type": "integer"}})),
        "features": number_or_null | {"description": "those that the request gave"},
        "served": nullable(number_or_null | {"description": "those that the feature store gave"}),
        "shadow": nullable(closed({"version": STRING, "prediction": NUMBER})),
        "latency_seconds": NUMBER,
        "request_id": STRING,
        "trace_id": STRING,
        "actual": nullable(actual),
    }
    return {
        "Prediction": closed(prediction),
        "BatchPrediction": closed({"predictions": {"type": "array", "items": ref("Prediction")}}),
        "LoggedPrediction": closed(logged),
        "Error": {"type": "object", "properties": error, "required": list(error)},
        "MlflowError": {"type": "object", "properties": error | of_mlflow, "required": [*error, *of_mlflow]},
    }


def _log_schemas(product: Product, settings: Settings) -> Json:
    low, high = product.target.valid
    fields = {
        "value": {
            "type": "number",
            "minimum": low,
            "maximum": high,
            "description": f"true value ({product.target.unit})",
        },
        "prediction_id": nullable(ref("ClientId")),
        "entity": nullable(ref("Entity")),
        "observed_at": nullable(TIME) | {"description": "when the value was true; now, where it goes by prediction id"},
        "source": nullable(ref("ClientId")),
    }
    either = [
        given("prediction_id", without=("entity",)),
        given("entity", "observed_at", without=("prediction_id",)),
    ]
    outcomes = {"type": "array", "items": {"enum": ["accepted", "corrected", "duplicate"]}}
    many = {"type": "array", "minItems": 1, "maxItems": settings.max_batch_rows, "items": ref("Actual")}
    return {
        "Actual": closed(fields, ("value",), oneOf=either),
        "Actuals": closed({"actuals": many}),
        "ActualsKept": closed({"outcomes": outcomes, "accepted": {"type": "integer"}}),
    }


def _open_inference_schemas() -> Json:
    shape = {"type": "array", "items": {"type": "integer"}}
    options = nullable(ANY_OBJECT)
    tensor = {"name": STRING, "shape": shape, "datatype": STRING, "parameters": options, "data": {"type": "array"}}
    described = {"name": STRING, "datatype": STRING, "shape": shape}
    asked = {"name": {"enum": list(OUTPUTS)}, "parameters": options}
    numeric = [name for name, dtype in NUMPY_OF.items() if dtype is not None]
    return {
        "Tensor": {
            "type": "object",
            "properties": tensor | {"shape": shape | {"minItems": 1, "maxItems": 2}, "datatype": {"enum": numeric}},
            "required": ["name", "shape", "datatype"],
            "description": "`data` is nested or flat, in row-major order, with null where a value is missing.",
        },
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": nullable(STRING),
                "parameters": options,
                "inputs": {"type": "array", "minItems": 1, "items": ref("Tensor")},
                "outputs": nullable(
                    {"type": "array", "items": {"type": "object", "properties": asked, "required": ["name"]}}
                ),
            },
            "required": ["inputs"],
            "description": "One tensor [rows, features], or one named tensor a feature.",
        },
        "InferResponse": closed(
            {
                "model_name": STRING,
                "model_version": STRING,
                "id": STRING,
                "outputs": {
                    "type": "array",
                    "items": {"type": "object", "properties": tensor, "required": ["name", "shape", "datatype"]},
                },
            },
            ("model_name", "model_version", "outputs"),
        ),
        "ModelMetadata": closed(
            {
                "name": STRING,
                "versions": {"type": "array", "items": STRING},
                "platform": STRING,
                "inputs": {"type": "array", "items": closed(described)},
                "outputs": {"type": "array", "items": closed(described)},
            }
        ),
    }


def _foreign_schemas(product: Product, settings: Settings) -> Json:
    count = len(product.features)
    value = {"type": ["number", "null"]}
    column = {"enum": [*product.feature_names, product.entity.key]}
    rows: Json = {"type": "array", "minItems": 1, "maxItems": settings.max_batch_rows}
    lists = rows | {"items": {"type": "array", "minItems": count, "maxItems": count, "items": value}}
    records = rows | {"items": {"type": "object", "propertyNames": column, "additionalProperties": value}}
    columns = {"type": "object", "propertyNames": column, "additionalProperties": rows | {"items": value}}
    instances = {"anyOf": [lists, records]}
    inputs = {"anyOf": [lists, records, columns]}
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": column},
            "data": rows | {"items": {"type": "array", "items": value}},
            "index": nullable({"type": "array"}),
        },
        "required": ["columns", "data"],
    }
    forms = {"dataframe_split": split, "dataframe_records": records, "instances": instances, "inputs": inputs}

    def one_of(names: list[str]) -> Json:
        return {
            "type": "object",
            "properties": {name: nullable(forms[name]) for name in names},
            "oneOf": [given(name, without=[other for other in names if other != name]) for name in names],
        }

    return {
        "V1Request": one_of(["instances", "inputs"]),
        "Invocation": one_of(list(forms)),
        "Predictions": closed({"predictions": {"type": "array", "items": NUMBER}}),
    }
