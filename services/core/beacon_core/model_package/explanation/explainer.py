"""Explains a model's answers: what each feature adds to the prediction, in the target's unit.

Exactly where the package's explanation.npz has the model's terms, else by sampling. A package without that file is
explained by sampling with its golden rows as background, so every package can be explained.

A model that predicts the target's logarithm is explained there, and the contributions are taken to the target's unit
by the logarithmic mean (LMDI, Ang 2004): each is multiplied by (prediction - base) / (ln prediction - ln base). So they
sum exactly, keep their order and their signs.
"""

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.times import read_time
from beacon_core.model_package.batch_model import PREDICTION, ROWS_PER_RUN
from beacon_core.model_package.explanation.file import ExplanationFile, decode_explanation
from beacon_core.model_package.explanation.players import players_of
from beacon_core.model_package.explanation.samples import SampledExplainer
from beacon_core.model_package.explanation.terms import TermExplainer
from beacon_core.model_package.manifest import Package, PackageError
from beacon_core.model_package.model_inputs import column_names, to_columns
from beacon_core.model_package.session import open_batch_model, open_session

Matrix = NDArray[np.float64]
Method = Literal["exact", "sampled"]


class Explanation(msgspec.Struct, frozen=True):
    """One explained row, in the target's unit: base + sum of `contributions` (players,) is `prediction`.

    `columns` are the row's columns of the model. `errors` are the contributions' standard errors (players,), and
    `samples` the pairs of walks behind them; 0 and empty where the contributions are exact.
    """

    prediction: float
    base: float
    contributions: tuple[float, ...]
    columns: tuple[float, ...]
    method: Method
    samples: int = 0
    errors: tuple[float, ...] = ()


class Explainer:
    """Explains the answers of one package's model; raises `PackageError` for one that cannot be.

    `players` are the names that contributions are told for.
    """

    def __init__(self, package: Package) -> None:
        self._schema = package.manifest.schema
        try:
            self._session = open_session(package.model)
            self._batch = None if package.batch is None else open_batch_model(package.batch)
            file = _without_terms(package) if package.explanation is None else decode_explanation(package.explanation)
            _check(file, len(column_names(self._schema)))
            self._file = file
            self.players = file.players
            self._terms = None if file.terms is None else TermExplainer(file.terms, len(file.players))
            self._sampled: SampledExplainer | None = None
        except PackageError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            pin = f"{package.manifest.product} {package.manifest.version}"
            raise PackageError(f"{pin}: the model cannot be explained: {error}") from error

    @property
    def is_exact(self) -> bool:
        """Whether the model's terms are known."""
        return self._terms is not None

    @property
    def is_log(self) -> bool:
        """Whether the model adds up to the logarithm of its answer."""
        return self._file.is_log

    def explain(self, row: Matrix, seconds: float) -> Explanation:
        """Explain one complete row (features,) of the model's features; ages are counted to `seconds` since 1970.

        Raises `ValueError` where the model's answer is not a finite number.
        """
        return self.explain_columns(to_columns(row[None], self._schema, np.array([seconds]))[0])

    def explain_columns(self, columns: Matrix) -> Explanation:
        """The same for a row of the model's columns (columns,)."""
        single = columns[None].astype(np.float32)
        prediction = float(self._predict(single)[0])
        answer = self._on_scale(np.array([prediction])).item()
        if not math.isfinite(answer):
            raise ValueError("the model's answer is not finite")
        if self._terms is not None:
            values, base = self._terms.contributions(single), self._terms.base
            if abs(answer - base - float(values.sum())) <= self._terms.tolerance:
                return self._told(prediction, answer, base, values, columns, "exact")
        sampled = self._sampling()
        values, errors = sampled.contributions(single, answer)
        return self._told(prediction, answer, sampled.base, values, columns, "sampled", sampled.pairs, errors)

    def _told(
        self,
        prediction: float,
        answer: float,
        base: float,
        values: Matrix,
        columns: Matrix,
        method: Method,
        samples: int = 0,
        errors: Matrix | None = None,
    ) -> Explanation:
        # Trees answer in float32: the last digits are shared out, by size.
        size = np.abs(values)
        if size.sum() > 0:
            values = values + (answer - base - values.sum()) * size / size.sum()
        unit_base, factor = (base, 1.0) if not self._file.is_log else (math.exp(base), _slope(base, answer))
        return Explanation(
            prediction,
            unit_base,
            tuple((values * factor).tolist()),
            tuple(columns.tolist()),
            method,
            samples,
            () if errors is None else tuple((errors * factor).tolist()),
        )

    def _sampling(self) -> SampledExplainer:
        if self._sampled is None:
            file = self._file
            self._sampled = SampledExplainer(self._answers, file.player, len(file.players), file.background)
        return self._sampled

    def predictions(self, columns: NDArray[np.float32]) -> Matrix:
        """The model's answers (rows,) to any number of rows of its columns (rows, columns), in the target's unit."""
        parts = [self._predict(columns[at : at + ROWS_PER_RUN]) for at in range(0, len(columns), ROWS_PER_RUN)]
        return np.concatenate(parts)

    def _answers(self, columns: NDArray[np.float32]) -> Matrix:
        return self._on_scale(self.predictions(columns))

    def _predict(self, columns: NDArray[np.float32]) -> Matrix:
        if self._batch is not None and len(columns) >= self._batch.rows_from:
            return self._batch.predict(columns)
        answers: Any = self._session.run([self._output], {self._input: columns})[0]
        return np.ravel(answers).astype(np.float64)

    @property
    def _output(self) -> str:
        names = [output.name for output in self._session.get_outputs()]
        return PREDICTION if PREDICTION in names else str(names[0])

    @property
    def _input(self) -> str:
        return str(self._session.get_inputs()[0].name)

    def _on_scale(self, predictions: Matrix) -> Matrix:
        """The scale on which the model adds up."""
        if not self._file.is_log:
            return predictions
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(predictions)


def _slope(base: float, answer: float) -> float:
    """(exp(answer) - exp(base)) / (answer - base)."""
    step = answer - base
    return math.exp(base) * (math.expm1(step) / step if step else 1.0)


def _without_terms(package: Package) -> ExplanationFile:
    """What can be known of a package that was made without explanation.npz: golden rows as background."""
    manifest = package.manifest
    rows = np.array([golden.row for golden in manifest.golden])
    made = np.full(len(rows), read_time(manifest.created_at).timestamp())
    names, player = players_of(manifest.schema)
    background = to_columns(rows, manifest.schema, made).astype(np.float32)
    return ExplanationFile(names, player, background, is_log=False, terms=None)


def _check(file: ExplanationFile, width: int) -> None:
    """Raise `PackageError` for a file of another model."""
    if file.player.shape != (width,) or file.background.ndim != 2 or file.background.shape[1] != width:
        widths = f"{len(file.player)} columns and background rows of {file.background.shape[-1]}"
        raise PackageError(f"explanation.npz: is of {widths}, the model has {width} columns")
    if not len(file.background):
        raise PackageError("explanation.npz: has no background rows")
