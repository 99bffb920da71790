"""What foreign code and foreign graphs may do: real pickles and graphs, in the process that registration starts."""

import json
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.foreign.model_file import find_file
from beacon_retraining.foreign.package_model import make_graph
from beacon_retraining.foreign.sandbox import Limits, cut_off
from beacon_retraining.packaging.conversion import convert
from beacon_retraining.training.answers import answers_of
from beacon_retraining.training.columns import ModelColumn

COLUMNS = [ModelColumn("a"), ModelColumn("b")]
NUMBERS = np.array([[1.0, 2], [-3, 4], [5, 6]])
LIMITS = Limits(seconds=60, memory=6 << 30)


class Runs:
    """A pickle of it runs `code` when it is loaded, and is what `value` says."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return eval, (f"exec({self.code!r}, {{}}) or dict()",)


def tried(folder: Path, content: bytes, limits: Limits = LIMITS) -> str:
    """Why a model is refused."""
    (folder / "model").write_bytes(content)
    with pytest.raises(ForeignModelError) as refused:
        make_graph(find_file(folder / "model", "the model"), COLUMNS, NUMBERS, 1.0, limits)
    return str(refused.value)


def test_a_pickle_sees_no_secret_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import json, os, resource, socket
try:
    socket.create_connection({server.getsockname()!r}, 5)
    reached = True
except OSError:
    reached = False
limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)]
open({str(tmp_path / "proof")!r}, "w").write(json.dumps([dict(os.environ), os.getcwd(), reached, limits]))
"""
        assert tried(tmp_path, pickle.dumps(Runs(code))) == "the model: holds a dict, which has no method predict"
    variables, place, reached, limits = json.loads((tmp_path / "proof").read_text())
    assert "secret" not in str(variables)
    assert variables["HOME"] == place
    assert not Path(place).exists(), "its folder goes with it"
    assert limits == [[6 << 30] * 2, [60] * 2]
    assert reached is not bool(cut_off())


def test_a_pickle_that_hangs_and_one_that_eats_memory_are_ended(tmp_path: Path) -> None:
    hanging = pickle.dumps(Runs("import time; time.sleep(999)"))
    assert "did not end within 3 s" in tried(tmp_path, hanging, Limits(seconds=3))
    assert tried(tmp_path, pickle.dumps(Runs("bytearray(64 << 30)"))) == "the model: needs more memory than 6 GiB"
    missing = b"\x80\x04cnobodys.module\nThing\n."
    assert "needs the module nobodys, which is not here" in tried(tmp_path, missing)


def graph(*nodes: onnx.NodeProto, constants: tuple[onnx.TensorProto, ...] = ()) -> bytes:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.array([1]), "axis"), *constants],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def endless() -> bytes:
    """A Loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Identity", ["was"], ["is"])],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, [None, 2]),
        ],
    )
    return graph(
        helper.make_node("Loop", ["", "true", "x"], ["z"], body=body),
        helper.make_node("ReduceSum", ["z", "axis"], ["y"]),
        constants=(numpy_helper.from_array(np.array(True), "true"),),
    )


def test_a_graph_that_loops_one_that_eats_memory_and_one_of_wrong_answers(tmp_path: Path) -> None:
    assert "did not end within 5 s and was stopped: does it loop?" in tried(tmp_path, endless(), Limits(seconds=5))
    large = graph(
        helper.make_node("ConstantOfShape", ["much"], ["z"]),
        helper.make_node("ReduceSum", ["z"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["x", "axis"], ["rows"]),
        helper.make_node("Add", ["rows", "sum"], ["y"]),
        constants=(numpy_helper.from_array(np.array([1 << 33]), "much"),),
    )
    assert "ONNX Runtime cannot run it" in tried(tmp_path, large)
    negative = graph(helper.make_node("ReduceSum", ["x", "axis"], ["s"]), helper.make_node("Log", ["s"], ["y"]))
    numbers = tried_with(tmp_path, negative, np.array([[1.0, 2], [-3, 1]]))
    assert "answers nan to row 2" in numbers
    mixing = graph(
        helper.make_node("ReduceSum", ["x", "axis"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["mean"]),
        helper.make_node("Sub", ["s", "mean"], ["y"]),
    )
    assert "otherwise when it comes in a batch" in tried(tmp_path, mixing)


def tried_with(folder: Path, content: bytes, numbers: np.ndarray) -> str:
    (folder / "model").write_bytes(content)
    with pytest.raises(ForeignModelError) as refused:
        make_graph(find_file(folder / "model", "the model"), COLUMNS, numbers, 1.0, LIMITS)
    return str(refused.value)


@pytest.mark.parametrize(
    ("predicted", "told"),
    [
        (np.array(["red", "blue", "red"]), "predicts text"),
        (np.array(["red", "blue", "red"], dtype=object), "predicts text"),
        (np.ones((3, 2)), "gives 2 outputs to 3 rows"),
        (np.ones(1), r"answers of shape \(1,\) to 3 rows"),
    ],
)
def test_answers_that_are_not_one_number_per_row(predicted: np.ndarray, told: str) -> None:
    with pytest.raises(ForeignModelError, match=told):
        answers_of(predicted, 3)


def test_a_library_that_the_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "lightgbm":
                raise OSError("libgomp.so.1: cannot open shared object file")  # as LightGBM's wheel says it

    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Lacking(), *sys.meta_path])
    with pytest.raises(ForeignModelError, match=r"libgomp.so.1.*install the package libgomp1"):
        convert.lightgbm()
