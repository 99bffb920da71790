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
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("tree_kernel.c")
FUNCTION = "beacon_add_trees"
MOST_LEAVES = 32
"""Of one tree: the bits of a mask."""
FLAGS = ("-O3", "-shared", "-fPIC", "-std=c99")

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


class TreeKernel:
    """Some trees, ready for the compiled function `add`.

    A column has its place, its thresholds (count,), and its lines of masks (count + 1, trees); `leaves` is
    (trees, MOST_LEAVES). Raises `ValueError` for other shapes: compiled code would read foreign memory.
    """

    def __init__(self, add: Any, columns: Sequence[tuple[int, Matrix, Masks]], leaves: Matrix) -> None:
        self._add = add
        self._trees = len(leaves)
        self._width = 1 + max((column for column, _, _ in columns), default=-1)
        # The addresses below are of these arrays.
        self._leaves = np.ascontiguousarray(leaves, np.float64)
        self._columns = [
            (column, np.ascontiguousarray(thresholds, np.float64), np.ascontiguousarray(lines, np.uint32))
            for column, thresholds, lines in columns
        ]
        if leaves.shape != (self._trees, MOST_LEAVES):
            raise ValueError(f"the leaves of {self._trees} trees are {leaves.shape}")
        for column, thresholds, lines in self._columns:
            if column < 0 or lines.shape != (len(thresholds) + 1, self._trees):
                raise ValueError(f"the lines of column {column} are {lines.shape}, of {len(thresholds)} thresholds")
        self._tables = (ColumnTable * len(columns))(
            *(ColumnTable(at, len(own), own.ctypes.data, lines.ctypes.data) for at, own, lines in self._columns)
        )

    def add_to(self, sums: Matrix, values: Matrix) -> None:
        """Add to `sums` (rows,) the sum of the trees' answers to complete `values` (rows, columns)."""
        rows, width = values.shape
        if width < self._width:
            raise ValueError(f"the trees need {self._width} columns, not {width}")
        values = np.ascontiguousarray(values, dtype=np.float64)
        remaining = np.empty(self._trees, np.uint32)
        tables = self._tables
        self._add(
            *(values.ctypes.data, rows, width, tables, len(tables)),
            *(self._leaves.ctypes.data, self._trees, remaining.ctypes.data, sums.ctypes.data),
        )


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
    add.argtypes = [pointer, number, number, pointer, number, pointer, number, pointer, pointer]
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
