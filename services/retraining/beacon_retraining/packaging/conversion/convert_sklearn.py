"""Convert a scikit-learn estimator by skl2onnx. It runs in the sandbox alone.

In double, as scikit-learn computes: in float32 a scaled value on a tree's threshold may take the other branch. Where
ONNX Runtime has no double kernel of an operator, in float32. The trees of forests compare values that scikit-learn
rounds to float32 first; skl2onnx leaves that out, so it is put before them (`CastTransformer`). Imputers are left out:
a package's rows are complete.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common import tree_ensemble
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
from skl2onnx.sklapi import CastTransformer
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.tree import BaseDecisionTree

from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion.binding import bind, places_of
from beacon_retraining.packaging.conversion.convert import floats_below, rounded_down
from beacon_retraining.packaging.conversion.converted import CLASSIFIER, Converted, first_line, libraries
from beacon_retraining.packaging.conversion.facts import ModelFacts
from beacon_retraining.packaging.conversion.wrap import feeds
from beacon_retraining.training.answers import answers_of
from beacon_retraining.training.columns import ModelColumn, notebook_table

FEATURES = "features"
OPSETS = {"": 18, "ai.onnx.ml": 3}
UNDONE = {"exp": ("Exp",), "expm1": ("Exp", "Minus1")}
"""numpy's functions that undo a logarithm of the target, as operators."""
ROUNDING_TREES = (BaseDecisionTree, RandomForestRegressor, ExtraTreesRegressor, GradientBoostingRegressor)
"""Trees that round their values to float32 before they compare them."""


def of_estimator(model: Any, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    """Convert a fitted estimator or pipeline, and let it answer `numbers` (rows, columns)."""
    if not hasattr(model, "predict"):
        raise ForeignModelError(f"holds a {type(model).__name__}, which has no method predict")
    whole, (model, undone) = model, _undone(model)
    if is_classifier(model) or hasattr(model, "classes_"):
        raise ForeignModelError(CLASSIFIER.format(type(_last(model)).__name__))
    names = tuple(map(str, getattr(model, "feature_names_in_", ())))
    places = places_of(names, columns) if names else _all(model, columns)
    chosen = [columns[place] for place in places]
    table: Any = notebook_table(columns, numbers)[[column.name for column in chosen]]
    by_name = bool(names) and _selects_columns(model)
    if names:
        table.columns = list(names)
    elif not by_name:
        table = numbers[:, list(places)]
    if not by_name and any(column.kind == "text" for column in chosen):
        table = table if not names else _as_numbers(table, numbers[:, list(places)])
    try:
        answers = answers_of(whole.predict(table), len(numbers))
    except ForeignModelError:
        raise
    except Exception as error:
        raise ForeignModelError(
            f"cannot predict the given rows: {type(error).__name__}: {first_line(error)}. It gets text, numbers, and "
            "True or False as product.yaml has them, however the file spells them"
        ) from error
    content = _exported(model, columns, chosen, numbers, answers, undone, by_name=by_name)
    facts = ModelFacts(
        algorithm=f"scikit-learn, {type(_last(model)).__name__}",
        libraries=libraries("scikit-learn", "skl2onnx"),
        names=tuple(column.name for column in chosen),
    )
    return Converted(content, answers, facts)


def _exported(
    model: Any,
    columns: Sequence[ModelColumn],
    chosen: Sequence[ModelColumn],
    numbers: Matrix,
    answers: Matrix,
    undone: Sequence[str],
    *,
    by_name: bool,
) -> bytes:
    """The form, of those that run, that is nearest to the original."""
    _register_boosters()
    _mend_flags()
    tried: list[tuple[float, bytes]] = []
    reasons: list[str] = []
    for kind in (DoubleTensorType, FloatTensorType):
        for rounds in (False, True):
            estimator = _rounding(model) if rounds else model
            if estimator is None:
                continue
            try:
                exported = _converted(_with_float_thresholds(estimator), chosen, kind, by_name=by_name)
                _append(exported, undone)
                names = tuple(column.name for column in chosen)
                binding = bind(exported, columns, names)
                content = exported.SerializeToString()
                (found,) = open_session(content).run([binding.output], feeds(binding, columns, numbers))
            except Exception as error:  # noqa: BLE001 - the converters' exceptions have no common base
                reasons.append(_reason(error))
                continue
            tried.append((float(np.abs(np.ravel(found) - answers).max()), content))
    if not tried:
        raise ForeignModelError(f"cannot be converted by skl2onnx: {reasons[-1]}")
    return min(tried, key=lambda each: each[0])[1]


def _converted(model: Any, chosen: Sequence[ModelColumn], kind: Any, *, by_name: bool) -> ModelProto:
    if by_name:
        types = [
            (column.name, StringTensorType([None, 1]) if column.kind == "text" else kind([None, 1]))
            for column in chosen
        ]
    else:
        types = [(FEATURES, kind([None, len(chosen)]))]
    exported: ModelProto = convert_sklearn(model, initial_types=types, target_opset=OPSETS)
    for node in exported.graph.node:
        if node.op_type == "Imputer":
            node.CopyFrom(helper.make_node("Identity", list(node.input), list(node.output)))
    return exported


def _undone(model: Any) -> tuple[Any, Sequence[str]]:
    """The regressor inside a TransformedTargetRegressor, and the operators that undo the transformation.

    Any other model is itself, and nothing is to undo.
    """
    if not isinstance(model, TransformedTargetRegressor):
        return model, ()
    operators = UNDONE.get(getattr(model.inverse_func, "__name__", ""))
    if operators is None:
        raise ForeignModelError(
            f"is a TransformedTargetRegressor whose inverse_func is none of {', '.join(UNDONE)} of numpy: no other can "
            "be written as ONNX; train on the target as it is, or put the inverse into an ONNX file of your own"
        )
    return model.regressor_, operators


def _append(exported: ModelProto, operators: Sequence[str]) -> None:
    """Put operators behind the output; `Minus1` takes 1 away."""
    for at, operator in enumerate(operators):
        (output,) = exported.graph.output
        name = f"undone_{at}"
        inputs = [output.name]
        if operator == "Minus1":
            kind = helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)
            exported.graph.initializer.append(numpy_helper.from_array(np.array(1, kind), f"one_{at}"))
            inputs.append(f"one_{at}")
        exported.graph.node.append(helper.make_node({"Minus1": "Sub"}.get(operator, operator), inputs, [name]))
        output.name = name


def _rounding(model: Any) -> Any:
    """The pipeline with a rounding to float32 before its trees; None where it has none, or they come first."""
    if not isinstance(model, Pipeline) or len(model.steps) < 2 or not isinstance(model[-1], ROUNDING_TREES):
        return None
    changed = copy.copy(model)
    changed.steps = [*model.steps[:-1], ("float32", CastTransformer(dtype=np.float32)), model.steps[-1]]
    return changed


def _with_float_thresholds(model: Any) -> Any:
    """The model with thresholds of HistGradientBoosting that float32 holds: skl2onnx rounds them to the nearest."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        changed = copy.copy(model)
        changed.steps = [*model.steps[:-1], (name, _with_float_thresholds(last))]
        return changed
    if not isinstance(model, HistGradientBoostingRegressor):
        return model
    changed = copy.deepcopy(model)
    for trees in changed._predictors:
        for tree in trees:
            tree.nodes["num_threshold"] = floats_below(tree.nodes["num_threshold"])
    return changed


def _lightgbm_step(scope: Any, operator: Any, container: Any) -> None:
    """The converter of LightGBM in onnxmltools, of a model whose thresholds float32 holds."""
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm  # noqa: PLC0415

    model = copy.copy(operator.raw_operator)
    model._Booster = rounded_down(model.booster_)
    operator.raw_operator = model
    convert_lightgbm(scope, operator, container)


def _register_boosters() -> None:
    """Teach skl2onnx the regressors of LightGBM and XGBoost, which may be a step of a pipeline."""
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # noqa: PLC0415

    for library, name, converter in (
        ("lightgbm", "LGBMRegressor", _lightgbm_step),
        ("xgboost", "XGBRegressor", convert_xgboost),
    ):
        try:
            kind = getattr(__import__(library), name)
        except (OSError, ImportError):
            continue
        shapes = calculate_linear_regressor_output_shapes
        update_registered_converter(kind, name, shapes, converter, options={"split": None})


@functools.cache
def _mend_flags() -> None:
    """Let skl2onnx 1.20 write the trees of HistGradientBoosting: it writes a flag as a boolean, which onnx refuses."""
    original = tree_ensemble.add_node

    def add_node(*given: Any, nodes_missing_value_tracks_true: Any = 0, **named: Any) -> None:
        original(*given, nodes_missing_value_tracks_true=int(nodes_missing_value_tracks_true), **named)

    tree_ensemble.add_node = add_node


def _all(model: Any, columns: Sequence[ModelColumn]) -> tuple[int, ...]:
    width = int(getattr(model, "n_features_in_", len(columns)))
    return places_of([f"x{at}" for at in range(width)], columns)


def _selects_columns(model: Any) -> bool:
    """Whether the first step takes a table apart by its columns."""
    while isinstance(model, Pipeline):
        model = model.steps[0][1]
    return isinstance(model, ColumnTransformer)


def _as_numbers(table: Any, numbers: Matrix) -> Any:
    """The same table with level numbers for text: an estimator without a ColumnTransformer takes numbers alone."""
    found = table.copy()
    for at, name in enumerate(table.columns):
        found[name] = numbers[:, at]
    return found


def _last(model: Any) -> Any:
    while isinstance(model, Pipeline):
        model = model[-1]
    return model


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"
