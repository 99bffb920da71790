"""The batch form: a model's graph without its trees, and the trees as tables (beacon_core.model_package.batch_model).

It is made of the exported model alone, so that both are one model. A model without trees, or with trees of another kind
or size, has no such form: its batches go through the model itself.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from beacon_core.model_package.batch_model import (
    COLUMNS,
    FEATURES,
    ROWS_PER_RUN,
    SPREAD_TABLES,
    SPREAD_TREES,
    TABLES,
    TREES,
)
from beacon_core.model_package.session import open_batch_model
from beacon_core.model_package.tree_kernel import MOST_LEAVES
from beacon_core.model_package.tree_masks import ALL_LEAVES, TreeTables, table_bytes
from beacon_core.platform.job import log
from beacon_retraining.packaging import export
from beacon_retraining.packaging.spread_output import PREFIX
from beacon_retraining.packaging.tree_node import Trees, UnknownTreesError, read_trees
from beacon_retraining.training.batches import over_batches

MOST_TABLE_BYTES = 8_000_000
"""Memory for the tables, in each worker of inference."""
RELATIVE_TOLERANCE = 1e-9
"""How far the form's answers may be from the model's, as a share of the largest: they are equal but for rounding."""


def make_batch_form(
    model: bytes,
    columns: NDArray[np.float64],
    predictions: NDArray[np.float64],
    spreads: NDArray[np.float64],
) -> bytes | None:
    """The batch form, if it gives the model's own answers (rows,) to `columns` (rows, columns); else None."""
    batch = to_batch_form(model)
    if batch is None:
        return None
    form = open_batch_model(batch)

    def worst_of(part: slice) -> list[float]:
        # A graph without a spread has one output.
        pairs = zip(form.answers(columns[part].astype(np.float32)), (predictions, spreads), strict=False)
        return [float(np.abs(found[:, 0] - wanted[part]).max()) for found, wanted in pairs]

    worsts = np.max(over_batches(len(columns), ROWS_PER_RUN, worst_of), axis=0)
    for worst, wanted in zip(worsts.tolist(), (predictions, spreads), strict=False):
        if not worst <= RELATIVE_TOLERANCE * float(np.abs(wanted).max()):
            log.warning("the form for batches differs from the model by %g: it is left out", worst)
            return None
    return batch


def to_batch_form(content: bytes) -> bytes | None:
    """The batch form of a serialized model; None where it has none."""
    model = onnx.load_from_string(content)
    graph = model.graph
    ensembles = [node for node in graph.node if node.op_type == export.TREE_OPERATOR]
    of_spread = [node for node in ensembles if node.name.startswith(PREFIX)]
    of_model = [node for node in ensembles if node not in of_spread]
    tables = [_tables(node) for node in (*of_model, *of_spread)]
    found = [own for own in tables if own is not None]
    if len(of_model) != 1 or len(found) < len(tables) or sum(map(table_bytes, found)) > MOST_TABLE_BYTES:
        return None
    (trees,) = of_model
    taken = trees.input[0]
    _cut(graph, trees, found[0], TREES, TABLES)
    for node in of_spread:
        _cut(graph, node, found[1], SPREAD_TREES, SPREAD_TABLES)
    if not _is_features(graph, taken):
        graph.node.append(helper.make_node("Identity", [taken], [COLUMNS]))
        graph.output.append(helper.make_tensor_value_info(COLUMNS, TensorProto.DOUBLE, [None, None]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _cut(
    graph: onnx.GraphProto, trees: onnx.NodeProto, tables: TreeTables, answer: str, names: tuple[str, ...]
) -> None:
    """Take an ensemble out of the graph: its answer is the input `answer`, its tables are outputs of these names."""
    graph.node.remove(trees)
    for node in graph.node:
        node.input[:] = [answer if name == trees.output[0] else name for name in node.input]
    graph.input.append(helper.make_tensor_value_info(answer, TensorProto.FLOAT, [None, 1]))
    for name, values in zip(names, tables, strict=True):
        constant = numpy_helper.from_array(np.ascontiguousarray(values), f"constant_{name}")
        graph.initializer.append(constant)
        graph.node.append(helper.make_node("Identity", [constant.name], [name]))
        graph.output.append(helper.make_tensor_value_info(name, constant.data_type, constant.dims))


def _is_features(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a tensor is the features themselves, in double."""
    (made_by,) = [node for node in graph.node if name in node.output]
    return made_by.op_type == "Cast" and list(made_by.input) == [FEATURES]


def _tables(ensemble: onnx.NodeProto) -> TreeTables | None:
    """The tables of an ensemble; None for one that bit masks cannot answer exactly."""
    try:
        trees = read_trees(ensemble)
    except UnknownTreesError:
        return None
    # Trees of float32 add up in another order than the masks, which shows in their last digits.
    if not trees.is_double or np.bincount(trees.tree[trees.is_leaf]).max() > MOST_LEAVES:
        return None
    leaves = np.zeros((len(trees.roots), MOST_LEAVES))
    masks = np.full(len(trees.tree), ALL_LEAVES)
    for number, root in enumerate(trees.roots.tolist()):
        _mask_tree(root, trees, masks, leaves[number])
    leaves[0] += trees.base
    branch = ~trees.is_leaf
    return TreeTables(
        column=trees.column[branch],
        threshold=trees.threshold[branch],
        tree=trees.tree[branch],
        mask=masks[branch],
        leaves=leaves,
    )


def _mask_tree(root: int, trees: Trees, masks: NDArray[np.uint32], leaves: NDArray[np.float64]) -> None:
    """Fill one tree's `masks` by node, and its `leaves` by bit."""
    bit = MOST_LEAVES

    def leaves_below(node: int) -> int:
        nonlocal bit
        if trees.is_leaf[node]:
            bit -= 1
            leaves[bit] = trees.value[node]
            return 1 << bit
        on_left = leaves_below(int(trees.left[node]))
        masks[node] = int(ALL_LEAVES) ^ on_left
        return on_left | leaves_below(int(trees.right[node]))

    leaves_below(root)
