"""The batch form: a model's graph without its trees, and the trees as tables (beacon_core.model_package.batch_model).

It is made of the exported model alone, so that both are one model. A model without trees, or with trees of another kind
or size, has no such form: its batches go through the model itself.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import RunOptions

from beacon_core.model_package.batch_model import COLUMNS, FEATURES, TABLES, TREES, BatchModel
from beacon_core.model_package.tree_masks import ALL_LEAVES, MOST_LEAVES, TreeTables, table_bytes
from beacon_core.platform.job import log
from beacon_retraining.packaging import export

MOST_TABLE_BYTES = 8_000_000
"""Memory for the tables, in each worker of inference."""
RELATIVE_TOLERANCE = 1e-9
"""How far the form's answers may be from the model's, as a share of the largest: they are equal but for rounding."""


def make_batch_form(model: bytes, columns: NDArray[np.float64], predictions: NDArray[np.float64]) -> bytes | None:
    """The batch form, if it gives the model's own `predictions` (rows,) of `columns` (rows, columns); else None."""
    batch = to_batch_form(model)
    if batch is None:
        return None
    answers = open_batch_model(batch).predict(columns.astype(np.float32))
    worst = float(np.abs(answers - predictions).max())
    if not worst <= RELATIVE_TOLERANCE * float(np.abs(predictions).max()):
        log.warning("the form for batches differs from the model by %g: it is left out", worst)
        return None
    return batch


def to_batch_form(content: bytes) -> bytes | None:
    """The batch form of a serialized model; None where it has none."""
    model = onnx.load_from_string(content)
    graph = model.graph
    ensembles = [node for node in graph.node if node.op_type == export.TREE_OPERATOR]
    tables = _tables(ensembles[0]) if len(ensembles) == 1 else None
    if tables is None or table_bytes(tables) > MOST_TABLE_BYTES:
        return None
    (trees,) = ensembles
    taken = trees.input[0]
    graph.node.remove(trees)
    for node in graph.node:
        node.input[:] = [TREES if name == trees.output[0] else name for name in node.input]
    graph.input.append(helper.make_tensor_value_info(TREES, TensorProto.FLOAT, [None, 1]))
    if not _is_features(graph, taken):
        graph.node.append(helper.make_node("Identity", [taken], [COLUMNS]))
        graph.output.append(helper.make_tensor_value_info(COLUMNS, TensorProto.DOUBLE, [None, None]))
    for name, values in zip(TABLES, tables, strict=True):
        constant = numpy_helper.from_array(np.ascontiguousarray(values), f"constant_{name}")
        graph.initializer.append(constant)
        graph.node.append(helper.make_node("Identity", [constant.name], [name]))
        graph.output.append(helper.make_tensor_value_info(name, constant.data_type, constant.dims))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def open_batch_model(content: bytes) -> BatchModel:
    """The batch form in ONNX Runtime, as serving opens it."""
    parts_only = RunOptions()
    parts_only.only_execute_path_to_fetches = True
    return BatchModel(export.open_session(content), parts_only)


def _is_features(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a tensor is the features themselves, in double."""
    (made_by,) = [node for node in graph.node if name in node.output]
    return made_by.op_type == "Cast" and list(made_by.input) == [FEATURES]


def _tables(ensemble: onnx.NodeProto) -> TreeTables | None:
    """The tables of an ensemble; None for one that bit masks cannot answer exactly."""
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in ensemble.attribute}
    modes = np.array(found["nodes_modes"])
    is_leaf = modes == b"LEAF"
    is_sum = found.get("n_targets") == 1 and found.get("aggregate_function") == b"SUM"
    if not is_sum or not (modes[~is_leaf] == b"BRANCH_LEQ").all():
        return None
    tree = np.array(found["nodes_treeids"])
    starts = np.flatnonzero(np.diff(tree, prepend=-1))
    leaf_counts = np.add.reduceat(is_leaf, starts)
    if leaf_counts.max() > MOST_LEAVES:
        return None
    weights = numpy_helper.to_array(found["target_weights_as_tensor"])
    value = np.zeros(len(tree))
    value[is_leaf] = weights
    left, right = (np.array(found[f"nodes_{side}nodeids"]) for side in ("true", "false"))
    leaves = np.zeros((len(starts), MOST_LEAVES))
    masks = np.full(len(tree), ALL_LEAVES)
    for number, start in enumerate(starts.tolist()):
        _mask_tree(start, left, right, is_leaf, value, masks, leaves[number])
    leaves[0] += numpy_helper.to_array(found["base_values_as_tensor"])[0]
    branch = ~is_leaf
    number_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(tree)))
    return TreeTables(
        column=np.array(found["nodes_featureids"])[branch],
        threshold=numpy_helper.to_array(found["nodes_values_as_tensor"])[branch],
        tree=number_of[branch],
        mask=masks[branch],
        leaves=leaves,
    )


def _mask_tree(
    start: int,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    is_leaf: NDArray[np.bool_],
    value: NDArray[np.float64],
    masks: NDArray[np.uint32],
    leaves: NDArray[np.float64],
) -> None:
    """Fill one tree's `masks` by node, and its `leaves` by bit; its nodes begin at `start`, numbered from 0."""
    bit = MOST_LEAVES

    def leaves_below(node: int) -> int:
        nonlocal bit
        if is_leaf[node]:
            bit -= 1
            leaves[bit] = value[node]
            return 1 << bit
        on_left = leaves_below(start + int(left[node]))
        masks[node] = int(ALL_LEAVES) ^ on_left
        return on_left | leaves_below(start + int(right[node]))

    leaves_below(start)
