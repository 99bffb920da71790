"""Any foreign graph between `features` and `prediction`: it answers as it does by itself."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from beacon_core.model_package.session import open_session
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion.binding import bind
from beacon_retraining.packaging.conversion.graph_checks import read_graph
from beacon_retraining.packaging.conversion.wrap import feeds, wrap
from beacon_retraining.packaging.export import run_all
from beacon_retraining.training.columns import ModelColumn, notebook_table

NUMBERS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32)
COLUMNS = (ModelColumn("size"), ModelColumn("colour", "text", ("red", "grün", "b l u e")), ModelColumn("new", "flag"))


def linear(kind: int, width: int, *, rank: int = 2, double: bool = False, opset: int = 18) -> onnx.ModelProto:
    """`features` of a type and a width to the weighted sum of its columns."""
    answer = TensorProto.DOUBLE if double else TensorProto.FLOAT
    weights = np.arange(1, width + 1, dtype=np.float64 if double else np.float32)[:, None]
    nodes = [
        helper.make_node("Cast", ["input"], ["numbers"], to=answer),
        helper.make_node("MatMul", ["numbers", "weights"], ["sums"]),
        helper.make_node("Reshape", ["sums", "shape"], ["features"]),  # a name that the wrapping uses, too
    ]
    shape = [None] if rank == 1 else [None, 1]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", kind, [None, width])],
        [helper.make_tensor_value_info("features", answer, shape)],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([-1] if rank == 1 else [-1, 1]), "shape"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def by_name() -> onnx.ModelProto:
    """`colour` (text) and `size` to the size, plus 100 where the colour is `grün`."""
    nodes = [
        helper.make_node(
            "LabelEncoder", ["colour"], ["extra"], domain="ai.onnx.ml", keys_strings=["grün"], values_floats=[100.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["extra", "size"], ["answer"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "by name",
        [
            helper.make_tensor_value_info("colour", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("size", TensorProto.FLOAT, [None, 1]),
        ],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@given(
    st.sampled_from(NUMBERS),
    st.integers(1, 40),
    st.sampled_from((1, 2)),
    st.booleans(),
    st.sampled_from((7, 9, 13, 18, 21)),
    st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_a_matrix_of_any_type_and_width_is_answered_alike(
    kind: int, width: int, rank: int, double: bool, opset: int, rows: int
) -> None:
    model = linear(kind, width, rank=rank, double=double, opset=opset)
    columns = [ModelColumn(f"c{at}") for at in range(width)]
    numbers = np.random.default_rng(width).integers(-50, 50, (rows, width)).astype(float)
    wrapped = wrap(read_graph(model.SerializeToString()), bind(model, columns), columns)
    session = open_session(wrapped)
    assert [(one.name, one.type, one.shape[1]) for one in session.get_inputs()] == [
        ("features", "tensor(float)", width)
    ]
    assert [(one.name, one.type, one.shape[1]) for one in session.get_outputs()] == [
        ("prediction", "tensor(double)", 1)
    ]
    np.testing.assert_array_equal(run_all(session, numbers), numbers @ np.arange(1, width + 1))


def test_a_matrix_with_names_takes_its_columns_in_its_own_order() -> None:
    model = linear(TensorProto.FLOAT, 2)
    session = open_session(wrap(model, bind(model, COLUMNS, ("new", "size")), COLUMNS))
    np.testing.assert_array_equal(run_all(session, np.array([[5.0, 2, 1], [7, 0, 0]])), [1 + 2 * 5, 2 * 7])


def test_text_and_unseen_levels_come_as_text() -> None:
    model, numbers = by_name(), np.array([[1.0, 0, 1], [2, 1, 1], [3, 3, 0]])
    binding = bind(model, COLUMNS)
    session = open_session(wrap(read_graph(model.SerializeToString()), binding, COLUMNS))
    np.testing.assert_array_equal(run_all(session, numbers), [1, 102, 3])
    (own,) = InferenceSession(model.SerializeToString()).run(None, feeds(binding, COLUMNS, numbers))
    np.testing.assert_array_equal(own.ravel(), [1, 102, 3])
    assert notebook_table(COLUMNS, numbers)["colour"].tolist() == ["red", "grün", "(unseen)"]


def test_the_models_own_numbers_of_levels_are_used() -> None:
    model = linear(TensorProto.DOUBLE, 3, double=True)
    columns = [*COLUMNS[:2], ModelColumn("grade")]  # whose levels are the numbers 5 and 7.5
    binding = bind(model, columns, (), {"colour": {0.0: 2.0, 1.0: 0.0}, "grade": {5.0: 0.0, 7.5: 1.0}})
    session = open_session(wrap(model, binding, columns))
    numbers = np.array([[1.0, 0, 7.5], [1, 1, 5], [1, 2, 6]])
    np.testing.assert_array_equal(run_all(session, numbers), [1 + 2 * 2 + 3, 1, 1 - 2 - 3])


@pytest.mark.parametrize(
    ("model", "names", "told"),
    [
        (linear(TensorProto.FLOAT, 5), (), "takes 5 columns; the product has 3: size, colour, new"),
        (linear(TensorProto.FLOAT, 2), ("size", "price"), "takes 'price', which is no column of the product"),
        (linear(TensorProto.FLOAT16, 3), (), "takes FLOAT16"),
    ],
)
def test_what_does_not_fit_the_product_is_refused(model: onnx.ModelProto, names: tuple[str, ...], told: str) -> None:
    with pytest.raises(ForeignModelError, match=told):
        bind(model, COLUMNS, names)
