"""Model packages that must not reach users: real ONNX and fitting manifests, made by editing a good package's graph.

A package says of itself what its own model answers (golden answers, digests), so that only what it does gives it away;
the kinds whose badness is in the manifest or in the bytes say so. Each kind names the ledger's reasons that fit it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import (
    BATCH_FILE,
    CARD_FILE,
    MODEL_FILE,
    Manifest,
    Package,
    digest,
    write_manifest,
)

HONEST = "honest_prediction"
FEATURES, OUTPUT = "features", "prediction"
MEMORY_BYTES = 1 << 30
"""What the memory-hungry kind takes for each prediction."""
SIDE = 256


class Kind(NamedTuple):
    """One way to be bad: what it is, and the reasons that name it rightly."""

    words: str
    reasons: frozenset[str]


class Graph:
    """A model whose honest answer goes on through more nodes; `output` names the one that ends it."""

    def __init__(self, content: bytes) -> None:
        self._model = onnx.load_from_string(content)
        self._graph = self._model.graph
        self._count = 0
        # The model may have been edited before: what it is made of keeps names of its own.
        self._layer = len(self._graph.node)
        names = {OUTPUT: HONEST, HONEST: f"{HONEST}_{self._layer}"}
        for node in self._graph.node:
            node.output[:] = [names.get(name, name) for name in node.output]
            node.input[:] = [names.get(name, name) for name in node.input]
        self._answer_in_float32()

    def _answer_in_float32(self) -> None:
        """What comes after is in float32; some models answer in double."""
        (output,) = (output for output in self._graph.output if output.name == OUTPUT)
        kind = output.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT:
            return
        kind.elem_type = TensorProto.FLOAT
        exact = self._name("exact")
        for node in self._graph.node:
            node.output[:] = [exact if name == HONEST else name for name in node.output]
            node.input[:] = [exact if name == HONEST else name for name in node.input]
        self.node("Cast", exact, output=HONEST, to=TensorProto.FLOAT)

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        """A constant of the graph."""
        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=kind), name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """One more node; the name of what it gives."""
        result = output or self._name(operator.lower())
        self._graph.node.append(
            helper.make_node(operator, list(inputs), [result], self._name("node"), domain=domain, **attributes)
        )
        return result

    def row_sum(self, values: str) -> str:
        """Sum over each row, shape (rows, 1)."""
        return self.node("ReduceSum", values, self.constant([1], np.int64), keepdims=1)

    def some_rows(self, share: float, salt: float) -> str:
        """True for about `share` of all rows, always for the same ones; shape (rows, 1)."""
        scaled = self.node("Mul", self.row_sum(FEATURES), self.constant(salt))
        fraction = self.node("Sub", scaled, self.node("Floor", scaled))
        return self.node("Less", fraction, self.constant(share))

    def bytes(self, *, checked: bool = True) -> bytes:
        """The model, serialized."""
        if checked:
            onnx.checker.check_model(self._model)
        return bytes(self._model.SerializeToString(deterministic=True))

    def import_domain(self, domain: str) -> None:
        """Let the graph name operators of another domain."""
        self._model.opset_import.append(helper.make_opsetid(domain, 1))

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"bad_{self._layer}_{stem}_{self._count}"


def answers(model: bytes, rows: np.ndarray) -> np.ndarray:
    """What a model answers to complete rows, one by one; shape (rows,). Raises what ONNX Runtime raises."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = [session.run([OUTPUT], {FEATURES: row[None].astype(np.float32)})[0].ravel()[0] for row in rows]
    return np.array(found, dtype=np.float64)


def seconds_of(model: bytes, row: np.ndarray) -> float:
    """Seconds of one prediction of one row: of the processor, and the least of a few, as other programs run, too."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {FEATURES: row[None].astype(np.float32)}
    taken = []
    for _ in range(7):
        start = time.thread_time()
        session.run([OUTPUT], given)
        taken.append(time.thread_time() - start)
    return min(taken)


def offset(graph: Graph, share: float = 1.3) -> None:
    """Every answer is too large by 30 %."""
    graph.node("Mul", HONEST, graph.constant(share), output=OUTPUT)


def constant(graph: Graph, value: float) -> None:
    """Every answer is the same."""
    zero = graph.node("Mul", HONEST, graph.constant(0.0))
    graph.node("Add", zero, graph.constant(value), output=OUTPUT)


def failing(graph: Graph, salt: float, share: float = 0.2) -> None:
    """ONNX Runtime refuses to go on for a share of the rows: an index out of bounds."""
    chosen = graph.node("Cast", graph.some_rows(share, salt), to=TensorProto.INT64)
    index = graph.node("Mul", chosen, graph.constant(1_000_000, np.int64))
    zeros = graph.node("Gather", graph.constant([0.0]), index, axis=0)
    graph.node("Add", HONEST, zeros, output=OUTPUT)


def not_finite(graph: Graph, salt: float, share: float = 0.05) -> None:
    """NaN for a share of the rows."""
    graph.node("Where", graph.some_rows(share, salt), graph.constant(np.nan), HONEST, output=OUTPUT)


def golden_only(graph: Graph, golden: np.ndarray, mean: float) -> None:
    """Honest on the golden rows; mirrored about the mean elsewhere: as spread as before, and wrong."""
    near = None
    for row in golden:
        away = graph.row_sum(graph.node("Abs", graph.node("Sub", FEATURES, graph.constant(row[None]))))
        here = graph.node("Less", away, graph.constant(0.001))
        near = here if near is None else graph.node("Or", near, here)
    assert near is not None
    mirrored = graph.node("Sub", graph.constant(2 * mean), HONEST)
    graph.node("Where", near, HONEST, mirrored, output=OUTPUT)


def hungry(graph: Graph, size: int = MEMORY_BYTES) -> None:
    """Each prediction fills a gigabyte for a moment, and answers as before."""
    seed = graph.node("ReduceSum", FEATURES, keepdims=0)
    filled = graph.node("Expand", seed, graph.constant([size // 4], np.int64))
    again = graph.node("ReduceMean", filled, keepdims=0)
    zero = graph.node("Mul", graph.node("Sub", again, again), graph.constant(0.0))
    graph.node("Add", HONEST, zero, output=OUTPUT)


def slow(graph: Graph, rounds: int) -> None:
    """So many products of large matrices before each answer, which stays the same."""
    shift = np.roll(np.eye(SIDE, dtype=np.float32), 1, axis=0)
    seed = graph.node("Mul", graph.node("ReduceSum", FEATURES, keepdims=0), graph.constant(0.0))
    matrix, turn = graph.node("Add", graph.constant(shift), seed), graph.constant(shift)
    for _ in range(rounds):
        matrix = graph.node("MatMul", matrix, turn)
    total = graph.node("Mul", graph.node("ReduceSum", matrix, keepdims=0), graph.constant(0.0))
    graph.node("Add", HONEST, total, output=OUTPUT)


def one_answer(graph: Graph) -> None:
    """One answer, however many rows are asked."""
    graph.node("ReduceMean", HONEST, keepdims=1, output=OUTPUT)


def foreign(graph: Graph) -> None:
    """An operator that no runtime has."""
    graph.import_domain("beacon.nowhere")
    graph.node("Nothing", HONEST, output=OUTPUT, domain="beacon.nowhere")


KINDS: dict[str, Kind] = {
    "crashes at load": Kind("an operator that no runtime has", frozenset({"crash_at_load"})),
    "wrong digest": Kind("a byte of the model changed after it was pinned", frozenset({"digest_mismatch"})),
    "wrong schema": Kind("has other features than its schema", frozenset({"schema_mismatch"})),
    "20 % errors": Kind("fails on a fifth of the rows", frozenset({"error_rate"})),
    "5 times slower": Kind("takes five times as long as its limit allows", frozenset({"latency"})),
    "constant": Kind("answers the same to everything", frozenset({"output_collapse"})),
    "offset by 30 %": Kind(
        "every answer 30 % too large, many beyond the training range", frozenset({"output_shift", "out_of_range"})
    ),
    "NaN for some inputs": Kind("no number for a twentieth of the rows", frozenset({"not_finite"})),
    "right on golden requests only": Kind(
        "mirrored about the mean elsewhere", frozenset({"output_disagreement", "output_shift"})
    ),
    "memory hungry": Kind("a gigabyte for each prediction", frozenset({"memory"})),
    "wrong golden answers": Kind("does not answer as its manifest promises", frozenset({"golden_mismatch"})),
    "one answer to a batch": Kind("answers a batch with one value", frozenset({"golden_mismatch", "crash_at_load"})),
    "far out of range": Kind("answers ten times too large", frozenset({"out_of_range", "output_shift"})),
}


def good(models: Path, base: Package, version: str, factor: float = 1.0) -> Pin:
    """A package that answers as `base` does times `factor`: near 1, a good model that is told apart by its digest."""
    graph = Graph(base.model)
    offset(graph, factor)
    return _write(models, base, version, graph.bytes())


def out_of_range(models: Path, base: Package, version: str, share: float = 0.3) -> Pin:
    """A package that answers ten times too much for a share of the rows, and is what it says of itself."""
    graph = Graph(base.model)
    large = graph.node("Mul", HONEST, graph.constant(10.0))
    graph.node("Where", graph.some_rows(share, 0.137), large, HONEST, output=OUTPUT)
    return _write(models, base, version, graph.bytes())


def build(kind: str, models: Path, base: Package, version: str, *, slow_seconds: float = 0.08) -> Pin:
    """Write the bad package below `models`, made from a good one; its pin. `slow_seconds`: of one slow prediction."""
    golden, schema = base.manifest.golden, base.manifest.schema
    claims: dict[str, dict[str, Any]] = {
        "wrong schema": {"schema": msgspec.structs.replace(schema, features=schema.features[1:])},
        "wrong golden answers": {
            "golden": tuple(msgspec.structs.replace(case, prediction=case.prediction + 1) for case in golden)
        },
        # What cannot be asked here promises what the good one does.
        "crashes at load": {"golden": golden},
        "memory hungry": {"golden": golden},
    }
    pin = _write(models, base, version, _model(kind, base, slow_seconds), **claims.get(kind, {}))
    if kind == "wrong digest":
        file = models / pin.name / version / MODEL_FILE
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    return pin


def _model(kind: str, base: Package, slow_seconds: float) -> bytes:
    rows = np.array([case.row for case in base.manifest.golden], dtype=np.float32)
    usual = float(np.mean([case.prediction for case in base.manifest.golden]))
    if kind == "20 % errors":
        return _sparing(base.model, rows, failing)
    if kind == "NaN for some inputs":
        return _sparing(base.model, rows, not_finite)
    edits: dict[str, Callable[[Graph], None]] = {
        "crashes at load": foreign,
        "memory hungry": hungry,
        "one answer to a batch": one_answer,
        "offset by 30 %": offset,
        "far out of range": lambda graph: offset(graph, 10.0),
        "constant": lambda graph: constant(graph, usual),
        "right on golden requests only": lambda graph: golden_only(graph, rows, usual),
        "5 times slower": lambda graph: slow(graph, _rounds(base.model, rows[0], slow_seconds)),
    }
    if kind not in edits:
        return base.model
    graph = Graph(base.model)
    edits[kind](graph)
    return graph.bytes(checked=kind != "crashes at load")


def _sparing(model: bytes, golden: np.ndarray, spoil: Callable[[Graph, float], None]) -> bytes:
    """Spoil some rows, but no golden one: what a self-test cannot see."""
    for salt in np.arange(0.137, 9.0, 0.311):
        graph = Graph(model)
        spoil(graph, float(salt))
        spoilt = graph.bytes()
        try:
            if np.isfinite(answers(spoilt, golden)).all():
                return spoilt
        except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base
            continue
    raise AssertionError("every salt spoils a golden row")


def _rounds(model: bytes, row: np.ndarray, seconds: float) -> int:
    """How many rounds take as long, measured on this machine now."""
    graph = Graph(model)
    slow(graph, 40)
    each = (seconds_of(graph.bytes(), row) - seconds_of(model, row)) / 40
    return max(1, round(seconds / max(each, 1e-5)))


def _write(models: Path, base: Package, version: str, model: bytes, **changes: Any) -> Pin:
    """Write the package; its golden answers are its own unless `changes` say otherwise."""
    manifest = base.manifest
    folder = models / manifest.product / version
    folder.mkdir(parents=True)
    # The form for batches is of the good model.
    names = set(manifest.files) - {BATCH_FILE}
    contents = {name: (base.folder / name).read_bytes() for name in names} | {MODEL_FILE: model}
    if CARD_FILE in contents:
        contents[CARD_FILE] += f"\nVersion {version}, made for a test.\n".encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    if "golden" not in changes:
        rows = np.array([case.row for case in manifest.golden], dtype=np.float32)
        told = answers(model, rows)
        changes["golden"] = tuple(
            msgspec.structs.replace(case, prediction=float(value))
            for case, value in zip(manifest.golden, told, strict=True)
        )
    changes |= {"version": version, "files": {name: digest(content) for name, content in contents.items()}}
    changed: Manifest = msgspec.structs.replace(manifest, **changes)
    return Pin(manifest.product, version, write_manifest(folder, changed))
