"""Reads an ONNX node of trees: the one reader for the form for batches and for explanations."""

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from beacon_retraining.errors import RetrainError

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]
BRANCHES = frozenset({b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GT", b"BRANCH_GTE"})


class UnknownTreesError(RetrainError):
    """The trees are of a kind that is not read; the message says which."""


class Trees(NamedTuple):
    """The nodes of all trees (arrays of equal length); a row goes right where its `column` is above `threshold`.

    `tree` is the number of each node's tree, from 0. `left` and `right` are positions in these arrays, and so are the
    `roots`, by tree; `value` is of leaves, and 0 elsewhere. `is_double` says that the answers are added up in double.
    """

    tree: Index
    column: Index
    threshold: Matrix
    left: Index
    right: Index
    is_leaf: NDArray[np.bool_]
    value: Matrix
    roots: Index
    base: float
    is_double: bool


def read_trees(node: onnx.NodeProto) -> Trees:
    """The trees of a TreeEnsembleRegressor with one target; raises `UnknownTreesError` for other kinds."""
    found = attributes_of(node)
    aggregate, transform = found.get("aggregate_function", b"SUM"), found.get("post_transform", b"NONE")
    if found.get("n_targets", 1) != 1 or aggregate not in {b"SUM", b"AVERAGE"} or transform != b"NONE":
        raise UnknownTreesError("the trees have several targets, or are not added up")
    modes = np.array(found["nodes_modes"])
    is_leaf = modes == b"LEAF"
    unknown = set(np.unique(modes).tolist()) - {b"LEAF", *BRANCHES}
    if unknown:
        raise UnknownTreesError(f"the trees branch by {', '.join(sorted(name.decode() for name in unknown))}")
    ids, number = np.array(found["nodes_treeids"]), np.array(found["nodes_nodeids"])
    place = {key: at for at, key in enumerate(zip(ids.tolist(), number.tolist(), strict=True))}
    yes, no = (_places(place, ids, found[f"nodes_{side}nodeids"], is_leaf) for side in ("true", "false"))
    threshold = _numbers(found, "nodes_values")
    # Below t is at most the number before t, and a row that is above goes where the comparison says no.
    open_end = (modes == b"BRANCH_LT") | (modes == b"BRANCH_GTE")
    turned = (modes == b"BRANCH_GT") | (modes == b"BRANCH_GTE")
    value = np.zeros(len(ids))
    leaves = zip(found["target_treeids"], found["target_nodeids"], strict=True)
    np.add.at(value, [place[key] for key in leaves], _numbers(found, "target_weights"))
    tree = np.unique(ids, return_inverse=True)[1]
    roots = np.setdiff1d(np.arange(len(ids)), np.concatenate([yes[~is_leaf], no[~is_leaf]]))
    share = 1.0 if aggregate == b"SUM" else 1.0 / len(roots)
    return Trees(
        tree=tree.astype(np.int64),
        column=np.array(found["nodes_featureids"], np.int64),
        threshold=np.where(open_end, np.nextafter(threshold, -np.inf), threshold),
        left=np.where(turned, no, yes),
        right=np.where(turned, yes, no),
        is_leaf=is_leaf,
        value=value * share,
        roots=roots[np.argsort(tree[roots], kind="stable")],
        base=float(_numbers(found, "base_values").sum()),
        is_double="nodes_values_as_tensor" in found,
    )


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _places(
    place: dict[tuple[int, int], int], tree: NDArray[Any], nodes: list[int], is_leaf: NDArray[np.bool_]
) -> NDArray[np.int64]:
    pairs = zip(tree.tolist(), nodes, is_leaf.tolist(), strict=True)
    return np.array([0 if leaf else place[number, node] for number, node, leaf in pairs], np.int64)


def _numbers(found: dict[str, Any], name: str) -> Matrix:
    """An attribute that may be a tensor (of doubles) or a list of float32."""
    tensor = found.get(f"{name}_as_tensor")
    values = numpy_helper.to_array(tensor) if tensor is not None else np.array(found.get(name, ()), np.float32)
    return values.astype(np.float64)
