"""The compiled trees of this machine, where it has a C compiler."""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from beacon_core.model_package import tree_kernel


@functools.cache
def built_kernels() -> tuple[Any, ...]:
    """The function, built once; none without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trees.so"
        tree_kernel.build(compiler, file)
        return (tree_kernel.load(file),)
