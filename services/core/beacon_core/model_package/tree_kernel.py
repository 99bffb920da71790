"""The trees' bit masks by compiled code, which takes a quarter of numpy's time; optional.

`python -m beacon_core.model_package.tree_kernel` compiles tree_kernel.c for the environment that runs it, where the
machine has a C compiler. Without the library, numpy does the same.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("tree_kernel.c")
FUNCTION = "beacon_add_trees"
MOST_LEAVES = 32
"""Of one tree: the bits of a mask."""
MOST_TREES = 512
"""Of one part: the source has room for so many masks."""
FLAGS = ("-O3", "-shared", "-fPIC", "-std=c99")

_DOUBLE = ctypes.c_double
Matrix = NDArray[np.float64]
Masks = NDArray[np.uint32]


class ColumnTable(ctypes.Structure):
    """The struct of the same name in the source."""

    _fields_ = (
        ("column", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("thresholds", ctypes.c_void_p),
        ("lines", ctypes.c_void_p),
    )


class _Part(ctypes.Structure):
    """The struct `Part` of the source."""

    _fields_ = (
        ("tables", ctypes.POINTER(ColumnTable)),
        ("columns", ctypes.c_int64),
        ("leaves", ctypes.c_void_p),
        ("trees", ctypes.c_int64),
    )


class KernelPart(NamedTuple):
    """Some of an ensemble's trees.

    A column has its place, its thresholds (count,), and its lines of masks (count + 1, trees); `leaves` is
    (trees, MOST_LEAVES).
    """

    columns: Sequence[tuple[int, Matrix, Masks]]
    leaves: Matrix


class TreeKernel:
    """An ensemble of trees, ready for the compiled function `add`; what does not change is bound once.

    Raises `ValueError` for other shapes than a part's: compiled code would read foreign memory.
    """

    def __init__(self, add: Any, parts: Sequence[KernelPart]) -> None:
        self._add = add
        self._width = 0
        self._kept: list[Any] = []  # whose addresses the structs have
        self._parts = (_Part * len(parts))(*map(self._bind, parts))

    def _bind(self, part: KernelPart) -> _Part:
        trees = len(part.leaves)
        if part.leaves.shape != (trees, MOST_LEAVES) or trees > MOST_TREES:
            raise ValueError(f"the leaves of {trees} trees are {part.leaves.shape}")
        tables = (ColumnTable * len(part.columns))()
        for number, (column, thresholds, lines) in enumerate(part.columns):
            if column < 0 or lines.shape != (len(thresholds) + 1, trees):
                raise ValueError(f"the lines of column {column} are {lines.shape}, of {len(thresholds)} thresholds")
            own = np.ascontiguousarray(thresholds, np.float64), np.ascontiguousarray(lines, np.uint32)
            self._kept.append(own)
            tables[number] = ColumnTable(column, len(thresholds), *(each.ctypes.data for each in own))
            self._width = max(self._width, column + 1)
        leaves = np.ascontiguousarray(part.leaves, np.float64)
        self._kept += (tables, leaves)
        return _Part(tables, len(tables), leaves.ctypes.data, trees)

    def __call__(self, values: Matrix) -> Matrix:
        """The sum of the trees' answers, (rows,), to complete `values` (rows, columns)."""
        rows, width = values.shape
        if width < self._width:
            raise ValueError(f"the trees need {self._width} columns, not {width}")
        sums = np.zeros(rows)
        # For one row, an array's `ctypes.data` costs more than the trees: bytes are handed over as they are.
        content = values.astype(np.float64, copy=False).tobytes()
        if rows:
            self._add(self._parts, len(self._parts), content, rows, width, ctypes.byref(_DOUBLE.from_buffer(sums.data)))
        return sums


def library(prefix: str = sys.prefix) -> Path:
    """Where the library of this source is, in the environment `prefix`, if it is there."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return Path(prefix) / "lib" / f"beacon-trees-{digest}.so"


def build(compiler: str, file: Path) -> None:
    """Compile the library; raises `subprocess.CalledProcessError`."""
    made = file.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, *FLAGS, "-o", str(made), str(SOURCE)], check=True)  # noqa: S603 - a compiler of the user's
    made.replace(file)


def load(file: Path) -> Any:
    """The compiled function; None where the library is missing, or is not for this machine."""
    try:
        add = getattr(ctypes.CDLL(str(file)), FUNCTION)
    except (OSError, AttributeError):
        return None
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    add.argtypes = [pointer, number, pointer, number, number, pointer]
    add.restype = None
    return add


@functools.cache
def compiled() -> Any:
    """The function of this environment; None where it has none."""
    return load(library())


def main() -> int:
    """Compile it for this environment; status 1, after one line, where that cannot be."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        sys.stderr.write("batches of trees go through numpy: there is no C compiler\n")
        return 1
    if not library().exists():
        try:
            build(compiler, library())
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"batches of trees go through numpy: {compiler} ended with {error.returncode}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
