"""The compiled trees: as numpy answers, and never a read of foreign memory; all else is as without them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kernels import built_kernels

from beacon_core.model_package import tree_kernel
from beacon_core.model_package.tree_kernel import MOST_LEAVES, MOST_TREES, KernelPart, TreeKernel
from beacon_core.model_package.tree_masks import TreeMasks, TreeTables

ALL = 0xFFFFFFFF
LEAVES = np.arange(2.0 * MOST_LEAVES).reshape(2, MOST_LEAVES)

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture
def add() -> Any:
    (function,) = built_kernels()
    return function


def tables(seed: int, branches: int = 400, trees: int = 60, columns: int = 5) -> TreeTables:
    """Branches at random, which leave each tree its last leaf."""
    random = np.random.default_rng(seed)
    return TreeTables(
        column=random.integers(0, columns, branches),
        threshold=random.choice(np.round(random.normal(size=50), 2), branches),
        tree=random.integers(0, trees, branches),
        mask=(random.integers(0, 2**32, branches, dtype=np.uint64) | 1).astype(np.uint32),
        leaves=random.normal(size=(trees, MOST_LEAVES)),
    )


@needs_compiler
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("trees", [1, 60, 700])
def test_random_trees_answer_as_by_numpy(add: Any, seed: int, trees: int) -> None:
    own = tables(seed, trees=trees)
    random = np.random.default_rng(seed)
    values = [*own.threshold, *np.nextafter(own.threshold, 9), np.inf, -np.inf, np.nan]
    rows = random.choice(np.array(values, np.float64), (300, 7))
    np.testing.assert_allclose(TreeMasks(own, add)(rows), TreeMasks(own)(rows), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(TreeMasks(own, add)(np.asfortranarray(rows)), TreeMasks(own, add)(rows))


@needs_compiler
@pytest.mark.parametrize(
    ("columns", "leaves"),
    [
        ([(-1, np.zeros(1), np.full((2, 2), ALL))], LEAVES),
        ([(0, np.zeros(3), np.full((2, 2), ALL))], LEAVES),
        ([(0, np.zeros(1), np.full((2, 3), ALL))], LEAVES),
        ([], LEAVES[:, 1:]),
        ([], np.zeros((MOST_TREES + 1, MOST_LEAVES))),
    ],
)
def test_tables_that_do_not_fit_each_other_are_refused(add: Any, columns: Any, leaves: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"of (2|513) trees are|of column"):
        TreeKernel(add, [KernelPart(columns, leaves)])


@needs_compiler
def test_rows_without_a_column_of_the_trees_are_refused(add: Any) -> None:
    with pytest.raises(ValueError, match="need 5 columns, not 4"):
        TreeMasks(tables(0), add)(np.zeros((3, 4)))


@needs_compiler
def test_a_tree_without_a_leaf_reads_no_foreign_memory(add: Any) -> None:
    part = KernelPart([(0, np.zeros(1), np.zeros((2, 2), np.uint32))], LEAVES)
    assert TreeKernel(add, [part])(np.zeros((1, 1))).tolist() == [LEAVES[0, 0] + LEAVES[1, 0]]


@needs_compiler
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_row_has_the_same_answer_alone_and_beside_others(add: Any, rows: int) -> None:
    own = TreeMasks(tables(0, trees=700), add)
    values = np.random.default_rng(0).normal(size=(rows, 5))
    assert own(values).tolist() == [own(row[None])[0] for row in values]


@needs_compiler
def test_it_is_built_for_its_environment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    file = tree_kernel.library(str(tmp_path))
    assert tree_kernel.load(file) is None
    monkeypatch.setattr(tree_kernel, "library", lambda: file)
    assert tree_kernel.main() == 0
    made = file.stat().st_mtime_ns
    assert tree_kernel.main() == 0
    assert file.stat().st_mtime_ns == made
    assert [each.name for each in (tmp_path / "lib").iterdir()] == [file.name]
    assert tree_kernel.load(file) is not None


@pytest.mark.parametrize(
    ("compiler", "reason"), [("no-such-compiler", "there is no C compiler"), ("false", "ended with 1")]
)
def test_without_a_compiler_that_works_it_says_so(
    compiler: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tree_kernel, "library", lambda: tmp_path / "trees.so")
    monkeypatch.setenv("CC", compiler)
    assert tree_kernel.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("batches of trees go through numpy: ")
    assert told.endswith(f"{reason}\n")


def test_what_is_no_library_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "trees.so"
    file.write_text("no library")
    assert tree_kernel.load(file) is None
