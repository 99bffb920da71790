"""explanation.npz: the exported model taken apart into terms, with training rows.

core's model_package/explanation/file.py says what is in it.

It is made of the model's ONNX alone, so that it does not matter which library trained it. What is written was compared
with the model on training rows; a model whose terms do not add up to its answers is explained by sampling.
"""

import numpy as np
import onnx
from numpy.typing import NDArray

from beacon_core.domain.masking import message_of
from beacon_core.domain.schema import Schema
from beacon_core.model_package.explanation.file import (
    ExplanationFile,
    Index,
    Kernel,
    Matrix,
    Slopes,
    Terms,
    encode_explanation,
)
from beacon_core.model_package.explanation.players import players_of
from beacon_core.model_package.explanation.terms import TermExplainer, kernel_shares
from beacon_core.platform.job import log
from beacon_retraining.packaging.coordinates import Coordinates, find_players
from beacon_retraining.packaging.graph_terms import (
    GraphReader,
    GraphTerms,
    KernelTerm,
    LinearTerm,
    NoTermsError,
    TreesTerm,
)
from beacon_retraining.packaging.tree_node import UnknownTreesError, read_trees
from beacon_retraining.packaging.tree_paths import PathTable, count_rows

BACKGROUND_ROWS = 64
"""Rows that sampling walks from: evenly from the lowest answer to the highest."""
SHARE_ROWS = 10_000
"""Training rows, at most, by which shares and means are counted."""
KERNEL_ROWS = 1000
MOST_KERNEL_STEPS = 20_000_000
"""Points x players x steps of the integration: more take longer than sampling does."""
CHECKED_ROWS = 50
RELATIVE_TOLERANCE = 1e-4
"""How far the terms may be from the model, as a share of the answers' spread: trees answer in float32."""
FLOAT32_STEPS = 8 * float(np.finfo(np.float32).eps)
"""And as a share of the largest answer: a model may be in float32 altogether."""


def make_explanation(model: bytes, schema: Schema, columns: Matrix, predictions: Matrix) -> bytes:
    """explanation.npz of a serialized model; `predictions` (rows,) are its own of `columns` (rows, columns)."""
    names, player = players_of(schema)
    rows = columns.astype(np.float32)
    reader = GraphReader(onnx.load_from_string(model))
    is_log = reader.top()[1] and bool((predictions > 0).all())
    order = np.argsort(predictions, kind="stable")
    few = _evenly(len(rows), BACKGROUND_ROWS)
    background = rows[order[few]]
    try:
        terms = _terms(reader, reader.terms(), rows[_evenly(len(rows), SHARE_ROWS)], player, len(names))
        answers = np.log(predictions) if is_log else predictions
        checked = _checked(terms, len(names), rows[order[_evenly(len(rows), CHECKED_ROWS)]], answers, order)
    except (NoTermsError, UnknownTreesError) as error:
        log.info("explanations are sampled: %s", message_of(error))
        checked = None
    return encode_explanation(ExplanationFile(names, player, background, is_log, checked))


def _terms(reader: GraphReader, found: GraphTerms, rows: NDArray[np.float32], player: Index, players: int) -> Terms:
    kernels = [term for term in found.terms if isinstance(term, KernelTerm)]
    _check_kernels(kernels, players)
    coordinates = Coordinates(reader, list(dict.fromkeys(term.tensor for term in found.terms)), rows)
    values = coordinates.values
    of_column = find_players(coordinates, rows, player, players)
    paths, base = PathTable(of_column), found.constant
    slope = np.zeros(len(of_column))
    for term in found.terms:
        first = coordinates.first[term.tensor]
        if isinstance(term, TreesTerm):
            trees = read_trees(term.node)
            counts = count_rows(trees, values[:, first:])
            paths.add(trees, counts, term.factor, first)
            base += term.factor * trees.base
        elif isinstance(term, LinearTerm):
            slope[first : first + len(term.weights)] += term.weights
    leaves, leaves_base = paths.leaves()
    kernel = _kernel(kernels, coordinates, of_column)
    used = np.flatnonzero(slope)
    slopes = Slopes(slope[used], used, of_column[used], values[:, used].mean(axis=0))
    base += leaves_base + float(kernel.absent.prod(axis=0) @ kernel.weight) + float(slopes.slope @ slopes.mean)
    return Terms(base, 0.0, coordinates.graph, coordinates.outputs, leaves, kernel, slopes)


def _check_kernels(terms: list[KernelTerm], players: int) -> None:
    """Raise `NoTermsError` before anything slow."""
    if len(terms) > 1:
        raise NoTermsError("the model adds several kernels")
    for term in terms:
        points, columns = term.points.shape
        if points * min(columns, players) ** 2 > 2 * MOST_KERNEL_STEPS:
            raise NoTermsError(f"the kernel has {points} points of {columns} columns")


def _kernel(terms: list[KernelTerm], coordinates: Coordinates, of_column: Index) -> Kernel:
    if not terms:
        empty, nothing = np.zeros(0), np.zeros(0, np.int64)
        return Kernel(empty, np.zeros((0, 0)), nothing, nothing, np.zeros((0, 0)))
    (term,) = terms
    columns = coordinates.first[term.tensor] + np.arange(term.points.shape[1])
    columns = columns[np.argsort(of_column[columns], kind="stable")]
    point = np.ascontiguousarray(term.points[:, columns - coordinates.first[term.tensor]])
    player = of_column[columns]
    kernel = Kernel(term.weights, point, columns, player, np.zeros((0, 0)))
    _, starts = np.unique(player, return_index=True)
    rows = coordinates.values[_evenly(len(coordinates.values), KERNEL_ROWS)]
    absent = sum(kernel_shares(kernel, starts, row) for row in rows) / len(rows)
    return Kernel(term.weights, point, columns, player, np.asarray(absent))


def _checked(terms: Terms, players: int, rows: NDArray[np.float32], answers: Matrix, order: NDArray[np.int64]) -> Terms:
    """The terms with their tolerance; raises `NoTermsError` where they do not add up to the model's answers."""
    wanted = answers[order[_evenly(len(order), CHECKED_ROWS)]]
    tolerance = RELATIVE_TOLERANCE * float(answers.std()) + FLOAT32_STEPS * float(np.abs(answers).max())
    explainer = TermExplainer(terms, players)
    sums = np.array([terms.base + explainer.contributions(row[None]).sum() for row in rows])
    worst = float(np.abs(sums - wanted).max())
    if not worst <= tolerance:
        raise NoTermsError(f"the terms differ from the model by {worst:g}, at most {tolerance:g} may be")
    return Terms(terms.base, tolerance, terms.graph, terms.tensors, terms.leaves, terms.kernel, terms.slopes)


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most so many places, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)
