"""A foreign model's file as a graph that a package can hold: checked, converted, wrapped, tried, compared."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError, naming
from beacon_retraining.foreign import sandbox
from beacon_retraining.foreign.model_file import UNPICKLE, ModelFile
from beacon_retraining.foreign.sandbox import Limits, SandboxTask
from beacon_retraining.packaging.conversion.binding import TEXT, Binding, bind
from beacon_retraining.packaging.conversion.graph import package_graph
from beacon_retraining.packaging.conversion.graph_checks import read_graph
from beacon_retraining.packaging.conversion.parity import check_parity
from beacon_retraining.training.columns import ModelColumn

DEFAULT_LIMITS = Limits()
HASHED_AT_ONCE = 1 << 20


class WrappedModel(msgspec.Struct, frozen=True):
    """The graph of a package, its answers (rows,) to the rows it was tried on, and what is known of the original.

    `parity` is the largest difference from the original's own answers, in the target's unit.
    """

    content: bytes
    answers: Matrix
    parity: float
    algorithm: str
    libraries: dict[str, str]
    takes: tuple[str, ...]
    sha256: str


def check_trust(file: ModelFile, *, trust_pickle: bool) -> None:
    """Raise `ForeignModelError` for a pickle that nobody vouches for."""
    if file.kind == "pickle" and not trust_pickle:
        raise ForeignModelError(f"{file.name}: is a pickle: {UNPICKLE}")


def check_file(file: ModelFile, columns: Sequence[ModelColumn]) -> None:
    """Check what needs no process of its own: the graph of an ONNX file, and what it takes."""
    if file.kind == "onnx":
        with naming(file.name):
            bind(read_graph(file.path.read_bytes()), columns)


def make_graph(
    file: ModelFile, columns: Sequence[ModelColumn], numbers: Matrix, spread: float, limits: Limits = DEFAULT_LIMITS
) -> WrappedModel:
    """Convert and wrap the model, and compare it with the original on `numbers` (rows, columns).

    `spread` is the target's standard deviation. Raises `ForeignModelError`. No foreign code runs in this process.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / sandbox.NUMBERS, numbers)
        task = SandboxTask("convert", str(file.path.resolve()), file.name, file.kind, tuple(columns), limits)
        facts = sandbox.run(task, folder)
        original = _answers(folder, len(numbers), file.name)
        with naming(file.name):
            content, binding = package_graph((folder / sandbox.MODEL).read_bytes(), facts, columns)
        (folder / sandbox.MODEL).write_bytes(content)
        sandbox.run(msgspec.structs.replace(task, action="try"), folder)
        answers = _answers(folder, len(numbers), file.name)
    with naming(file.name):
        parity = check_parity(answers, original, spread)
    takes = tuple(_takes(binding, columns))
    sha256 = _digest(file.path)
    return WrappedModel(content, answers, parity, facts.algorithm, facts.libraries, takes, sha256)


def _answers(folder: Path, rows: int, name: str) -> Matrix:
    """What the process answered: finite numbers, one per row; raises `ForeignModelError`."""
    try:
        found = np.load(folder / sandbox.ANSWERS, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ForeignModelError(f"{name}: the process gave no answers that can be read: {error}") from error
    if found.shape != (rows,) or found.dtype != np.float64:
        raise ForeignModelError(f"{name}: gives answers of shape {found.shape} to {rows} rows, must be one per row")
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise ForeignModelError(
            f"{name}: answers {found[wrong[0]]} to row {wrong[0] + 1} and to {len(wrong) - 1} more of {rows}: "
            "every answer must be finite"
        )
    return np.asarray(found, np.float64)


def _takes(binding: Binding, columns: Sequence[ModelColumn]) -> list[str]:
    """How each column comes to the model, for the card."""
    kinds = {place: entry.element_type for entry in binding.inputs for place in entry.places}
    found = []
    for place, column in enumerate(columns):
        if place not in kinds:
            how = "not taken"
        elif column.kind == "text" and kinds[place] == TEXT:
            how = "as text"
        elif place in binding.recodings:
            how = "as the number that the model gave the level"
        elif column.kind == "text":
            how = "as the number of the level, in the order of the manifest's list"
        elif column.kind == "flag":
            how = "as 0 or 1"
        else:
            continue
        found.append(f"{column.name} {how}")
    return found or ["every column as a number"]


def _digest(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(HASHED_AT_ONCE):
            found.update(chunk)
    return found.hexdigest()
