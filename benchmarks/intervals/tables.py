"""The study's own tables: public ones that packages ship, and made ones whose noise is known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from any_table.tables import Table
from sklearn.datasets import load_diabetes

from beacon_retraining.data.dataset import Matrix

ROWS = 3000
Noise = Callable[[Matrix, Matrix], Matrix]
"""The noise's standard deviation, of the columns (rows, columns) and of the answers without noise (rows,)."""


def _by_feature(columns: Matrix, _answers: Matrix) -> Matrix:
    return np.asarray(3.0 * np.exp(0.8 * columns[:, 2]))


def _in_corner(columns: Matrix, _answers: Matrix) -> Matrix:
    return np.where((columns[:, 2] > 0.8) & (columns[:, 3] > 0), 20.0, 2.0)


NOISE: dict[str, Noise] = {
    "made, even noise": lambda _columns, answers: np.full(len(answers), 3.0),
    "made, noise by a feature": _by_feature,
    "made, noise by the answer": lambda _columns, answers: 0.15 * answers,
    "made, noise in one corner": _in_corner,
}


def own_tables(folder: Path) -> Iterator[Table]:
    """Write each table as CSV below `folder`."""
    diabetes = load_diabetes(as_frame=True, scaled=False).frame
    yield _written("diabetes (scikit-learn)", folder, diabetes)
    for seed, (name, noise) in enumerate(NOISE.items()):
        random = np.random.default_rng(seed)
        columns = random.normal(size=(ROWS, 6))
        answer = 40 + 20 * np.exp(0.4 * columns[:, 0]) + 5 * columns[:, 1] ** 2
        frame = pd.DataFrame(columns.round(4), columns=[f"x{place}" for place in range(6)])
        frame["target"] = (answer + noise(columns, answer) * random.normal(size=ROWS)).round(3)
        yield _written(name, folder, frame)


def _written(name: str, folder: Path, frame: pd.DataFrame) -> Table:
    file = folder / f"{len(list(folder.glob('*.csv')))}.csv"
    frame.to_csv(file, index=False)
    return Table(name, file, "target")
