"""The Structs of requests and answers for the OpenAPI document, with the ranges, categories and units of product.yaml.

`described` is the one place that adds them to a field. Where msgspec has no type, the schema is written by hand: either
of two lists (it allows one list in a union), and exactly one of several fields.
"""

from collections.abc import Collection, Iterable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS
from beacon_inference.protocols import messages, mlflow, open_inference, v1
from beacon_inference.protocols.native_types import (
    CLIENT_ID,
    ClientId,
    Type,
    batch_type,
    closed,
    entity_type,
    row_type,
)
from beacon_inference.protocols.tensor_data import DTYPE_OF

Source = Annotated[str, Meta(extra_json_schema={"enum": ["request", "store"]})]


class Shapes(NamedTuple):
    """The types that depend on product.yaml."""

    row: Type
    batch: Type
    prediction: Type
    predictions: Type
    logged: Type
    explain: tuple[Type, ...]
    explanations: Type
    v1_explanations: Type
    actual: Type
    actuals: Type
    error: Type
    mlflow_error: Type
    infer: Type
    v1: Type
    invocation: Type


def shapes(product: Product, settings: Settings) -> Shapes:
    """Build the types for a product."""
    entity = entity_type(product)
    row = row_type(product, entity)
    many = Meta(min_length=1, max_length=settings.max_batch_rows)
    error = {"code": one_of(STATUS_OF, "for programs; stable")}
    prediction = _prediction(product)
    response = described(messages.PredictionResponse, **prediction)
    low, high = product.target.valid
    unit = f" ({product.target.unit})" if product.target.unit else ""
    by_id, by_entity = ("prediction_id",), ("entity", "observed_at")
    actual = annotated(
        described(
            messages.ActualRequest,
            value=Annotated[float, Meta(ge=low, le=high, description=f"true value{unit}")],
            prediction_id=ClientId,
            entity=None if entity is None else entity | None,
            source=ClientId,
        ),
        exactly_one(by_id, by_entity) if product.entity else exactly_one(by_id),
    )
    explanations = list_of(_explanation(product))
    return Shapes(
        row=row,
        batch=batch_type(row, settings.max_batch_rows),
        prediction=response,
        predictions=described(messages.BatchResponse, predictions=list_of(response)),
        logged=described(messages.LoggedPredictionResponse, **prediction),
        explain=_explain(row),
        explanations=described(messages.ExplanationsResponse, explanations=explanations),
        v1_explanations=described(messages.V1ExplanationsResponse, explanations=explanations),
        actual=actual,
        actuals=msgspec.defstruct("Actuals", [("actuals", list_of(actual, many))], forbid_unknown_fields=True),
        error=described(messages.ErrorResponse, **error),
        mlflow_error=described(messages.MlflowErrorResponse, **error),
        infer=_infer(),
        **_tables(product, many),
    )


def described(struct: type[msgspec.Struct], **types: Type) -> Type:
    """Copy the Struct with other types for the named fields: more precise ones, or those of Raw JSON."""
    fields: list[tuple[str, Type] | tuple[str, Type, Any]] = []
    for field in msgspec.structs.fields(struct):
        kind = types.pop(field.name, field.type)
        if field.required:
            fields.append((field.name, kind))
        elif isinstance(field.default, msgspec.Raw):
            fields.append((field.name, kind | msgspec.UnsetType, msgspec.UNSET))
        else:
            fields.append((field.name, kind, field.default))
    if types:
        raise AssertionError(f"{struct.__name__} has no {', '.join(types)}")
    closed = struct.__struct_config__.forbid_unknown_fields
    doc = {"__doc__": struct.__doc__}
    return msgspec.defstruct(struct.__name__, fields, namespace=doc, forbid_unknown_fields=closed)


def annotated(kind: Type, more: Meta) -> Type:
    """The type with further metadata."""
    return Annotated[kind, more]


def list_of(kind: Type, more: Meta | None = None) -> Type:
    """A list of a type that is made at run time."""
    return annotated(list[kind], more or Meta())


def one_of(values: Iterable[str], description: str | None = None) -> Type:
    """One of these strings."""
    return Annotated[str, Meta(description=description, extra_json_schema={"enum": list(values)})]


def either(*types: Type) -> Type:
    """One of these types, even if two of them are lists."""
    return Annotated[Any, Meta(extra_json_schema={"anyOf": [msgspec.json.schema(kind) for kind in types]})]


def exactly_one(*groups: Collection[str]) -> Meta:
    """Require the fields of one group, not null, and that the first field of every other group is absent or null."""
    some, none = {"not": {"type": "null"}}, {"type": "null"}
    rules = [
        {
            "required": list(group),
            "properties": dict.fromkeys(group, some)
            | {other[0]: none for other in map(tuple, groups) if other != tuple(group)},
        }
        for group in groups
    ]
    return Meta(extra_json_schema={"oneOf": rules})


def _prediction(product: Product) -> dict[str, Type]:
    target = product.target
    names = one_of(product.feature_names)
    return {
        "prediction": Annotated[float, Meta(description=f"{target.title}, in `unit`")],
        "unit": Annotated[str, Meta(extra_json_schema={"const": target.unit})],
        "prediction_id": annotated(str, CLIENT_ID),
        "model": messages.ModelPin,
        "imputed": list_of(names, Meta(description="features that had no value")),
        "out_of_range": list_of(names, Meta(description="features outside what training saw")),
        "sources": Annotated[dict[str, Source], Meta(description="where each value came from")],
    }


def _explain(row: Type) -> tuple[Type, ...]:
    """The three forms of a request for explanations: a row as /v1/predict has it, several, a logged prediction."""
    fields = [field for field in msgspec.structs.fields(row) if field.name != "prediction_id"]
    one = closed("ExplainRequest", str(row.__doc__), [(field.name, field.type, None) for field in fields])
    rows = Annotated[list[one], Meta(extra_json_schema={"minItems": 1, "maxItems": MOST_EXPLAINED_ROWS})]  # type: ignore[valid-type]
    logged = Annotated[str, CLIENT_ID]
    return (
        one,
        closed("ExplainRowsRequest", "Rows.", [("rows", rows)]),
        closed("ExplainLoggedRequest", "A logged prediction.", [("prediction_id", logged)]),
    )


def _explanation(product: Product) -> Type:
    names = one_of([*product.feature_names, *(column.name for column in product.derived)])
    contribution = described(messages.Contribution, feature=names)
    return described(
        messages.ExplanationResponse,
        unit=Annotated[str, Meta(extra_json_schema={"const": product.target.unit})],
        contributions=list_of(contribution, Meta(description="in the order of product.yaml")),
    )


def _infer() -> Type:
    datatype = one_of(DTYPE_OF)
    shape = Annotated[list[int], Meta(min_length=1, max_length=2)]
    tensor = described(open_inference.Tensor, shape=shape, datatype=datatype, data=list[Any])
    names = (*open_inference.OUTPUTS, *open_inference.EXPLAINED_OUTPUTS)
    output = described(open_inference.RequestedOutput, name=one_of(names))
    inputs = list_of(tensor, Meta(min_length=1))
    flags = {"explain": "add base, contributions and their features", "binary_data_output": "answer in binary"}
    known = {name: {"type": "boolean", "description": text} for name, text in flags.items()}
    parameters = Annotated[dict[str, Any], Meta(extra_json_schema={"properties": known})]
    return described(
        open_inference.InferRequest, inputs=inputs, parameters=parameters | None, outputs=list_of(output) | None
    )


def _tables(product: Product, many: Meta) -> dict[str, Type]:
    """Rows and columns, as V1 and MLflow send them."""
    count = len(product.features)
    known = list(dict.fromkeys((*product.feature_names, *product.keys)))
    column = one_of(known)
    names = Meta(extra_json_schema={"propertyNames": {"enum": known}})
    texts = any(feature.is_text for feature in product.features) or any(
        kind == "text" for _, kind in (product.entity.columns if product.entity else ())
    )
    flags = any(feature.type == "bool" for feature in product.features)
    cell = float | (str if texts else None) | (bool if flags else None) | None
    values = list[cell]  # type: ignore[valid-type]
    lists = Annotated[list[Annotated[values, Meta(min_length=count, max_length=count)]], many]
    records = Annotated[list[Annotated[dict[str, cell], names]], many]  # type: ignore[valid-type]
    columns = Annotated[dict[str, Annotated[values, many]], names]
    split = described(mlflow.Split, columns=list_of(column), data=Annotated[list[values], many])
    instances, inputs = either(lists, records, None), either(lists, records, columns, None)
    forms = {"instances": instances, "inputs": inputs}
    invocation = described(mlflow.Invocation, dataframe_split=split | None, dataframe_records=records | None, **forms)
    return {
        "v1": annotated(described(v1.V1Request, **forms), exactly_one(*[(name,) for name in forms])),
        "invocation": annotated(invocation, exactly_one(*[(name,) for name in mlflow.FORMS])),
    }
