"""What cannot become a package is refused before anything runs, with its name and what to do."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.foreign import model_file
from beacon_retraining.foreign.model_file import find_file
from beacon_retraining.foreign.package_model import check_trust
from beacon_retraining.packaging.conversion import graph_checks
from beacon_retraining.packaging.conversion.binding import bind
from beacon_retraining.packaging.conversion.graph_checks import read_graph
from beacon_retraining.training.columns import ModelColumn

COLUMNS = [ModelColumn("a"), ModelColumn("b")]
TRUTH = numpy_helper.from_array(np.array(True))


def model(
    *nodes: onnx.NodeProto,
    outputs: tuple[str, ...] = ("y",),
    kind: int = TensorProto.FLOAT,
    shape: tuple[int | None, ...] = (None, 1),
    domains: tuple[tuple[str, int], ...] = (("", 18), ("ai.onnx.ml", 3)),
    input_shape: tuple[int | None, ...] = (None, 2),
    constants: tuple[onnx.TensorProto, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or (helper.make_node("ReduceSum", ["x", "axis"], ["y"]),),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(name, kind, shape) for name in outputs],
        [numpy_helper.from_array(np.array([1]), "axis"), *constants],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def custom(domain: str, operator: str = "Secret", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, ["x"], ["y"], "n", domain=domain, **attributes)


def outside(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def inside_a_branch(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node in a graph inside a node: a check of the outer nodes alone does not see it."""
    branch = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=branch)


def test_a_plain_graph_is_taken() -> None:
    assert bind(read_graph(model().SerializeToString()), COLUMNS).output == "y"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (model(custom("com.microsoft")), "operator Secret of domain com.microsoft is a custom one"),
        (model(inside_a_branch(custom("my.own"))), "operator Secret of domain my.own is a custom one"),
        (model(custom("")), "operator Secret is unknown in opset 18 of domain ai.onnx"),
        (model(custom("", "RandomNormalLike")), "RandomNormalLike gives other answers each time"),
        (model(domains=(("", 99),)), "needs opset 99 of ai.onnx, at most"),
        (model(domains=(("", 18), ("ai.onnx.ml", 77))), "needs opset 77 of ai.onnx.ml, at most"),
        (model(domains=(("", 5),)), "has opset 5 of ai.onnx, at least 7"),
        (model(custom("ai.onnx.ml", "Normalizer"), domains=(("", 18),)), "Normalizer of domain ai.onnx.ml"),
        (
            model(constants=(outside("../../etc/passwd"),)),
            r"'w' lies in another file \('../../etc/passwd'\).*onnx.save",
        ),
        (model(helper.make_node("Constant", [], ["y"], value=outside("w.bin"))), r"lies in another file \('w.bin'\)"),
        (model(helper.make_node("ReduceSum", ["nothing", "axis"], ["y"])), "breaks a rule of ONNX"),
    ],
)
def test_a_graph_that_inference_cannot_run(broken: onnx.ModelProto, told: str) -> None:
    with pytest.raises(ForeignModelError, match=told):
        read_graph(broken.SerializeToString())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (model().SerializeToString()[:-20], "cut off"),
        (b"\x08\x08" + bytes(range(255)), "cut off|has no graph"),
        (b"\x08\x08", "has no graph"),
    ],
)
def test_bytes_that_are_no_graph(content: bytes, told: str) -> None:
    with pytest.raises(ForeignModelError, match=told):
        read_graph(content)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (model(input_shape=(None, 5)), "takes 5 columns; the product has 2: a, b"),
        (model(input_shape=(1, 2)), "takes exactly 1 rows: export it with a free number of rows"),
        (model(input_shape=(None, 2, 3)), "has 3 dimensions"),
        (model(kind=TensorProto.STRING), "output 'y' is text: a classifier"),
        (model(kind=TensorProto.INT64), "output 'y' is int64: a classifier"),
        (model(shape=(None, 3)), "must be one number per row"),
        (model(outputs=("y", "x2")), r"has 2 outputs \(y, x2\)"),
    ],
)
def test_a_graph_of_another_form(broken: onnx.ModelProto, told: str) -> None:
    with pytest.raises(ForeignModelError, match=told):
        bind(broken, COLUMNS)


def test_a_map_as_output_is_a_classifiers() -> None:
    broken = model()
    broken.graph.output[0].CopyFrom(
        helper.make_value_info("y", onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence()))
    )
    with pytest.raises(ForeignModelError, match="is no tensor: a classifier"):
        bind(broken, COLUMNS)


def test_the_size_is_told_before_the_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    with file.open("wb") as opened:  # two GB of which nothing is written
        opened.write(b"\x08\x08")
        opened.truncate(2_000_000_000)
    with pytest.raises(ForeignModelError, match=r"has 2,000 MB, at most 1,000 MB may be"):
        find_file(file, "large.onnx")
    with file.open("r+b") as opened:
        opened.truncate(graph_checks.MOST_BYTES + 1)
    with pytest.raises(ForeignModelError, match=r"large.onnx: has 100 MB, at most 100 MB may be: inference holds it"):
        find_file(file, "large.onnx")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04", "a zip"),
        (b'{"weights": 1}', "JSON of another library"),
        (b"hello", "no model of a known format: ONNX, LightGBM's text"),
    ],
)
def test_a_file_of_no_known_format(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)  # its name does not count
    with pytest.raises(ForeignModelError, match=told):
        find_file(tmp_path / "model.onnx", "model.onnx")


def test_a_folder_without_mlflows_file_and_one_that_leads_out(tmp_path: Path) -> None:
    with pytest.raises(ForeignModelError, match="is a folder without MLflow's file MLmodel"):
        find_file(tmp_path, "m")
    (tmp_path / "MLmodel").write_text("flavors: {pytorch: {data: x}, python_function: {}}")
    with pytest.raises(ForeignModelError, match="has the flavours pytorch, python_function; onnx, lightgbm"):
        find_file(tmp_path, "m")
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {pickled_model: ../../secret.pkl}}")
    with pytest.raises(ForeignModelError, match=r"flavors.sklearn.pickled_model: must be a file in the folder"):
        find_file(tmp_path, "m")
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {pickled_model: model.pkl}}")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(1))
    assert find_file(tmp_path, "m") == (tmp_path / "model.pkl", "pickle", "m/model.pkl")


def test_a_pickle_is_not_loaded_unless_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(pickle.dumps(1))  # whatever it is called
    file = find_file(tmp_path / "model.onnx", "model.onnx")
    with pytest.raises(ForeignModelError, match=r"is a pickle: to load a pickle runs code .* give --trust-pickle"):
        check_trust(file, trust_pickle=False)
    check_trust(file, trust_pickle=True)


def test_every_kind_is_told_by_its_first_bytes() -> None:
    heads = {b"CBM1": "catboost", b"tree\nversion": "lightgbm", b'{"learner":': "xgboost", b"{L\x00": "xgboost"}
    assert {head: model_file.kind_of(head, "m") for head in heads} == heads
