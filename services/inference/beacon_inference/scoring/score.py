"""Score: a block of rows through the stages of a prediction, all rows at once.

The stages are those of a request (`prediction/pipeline.py`), so that a row gets the same answer from both.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.features import merge, merge_texts
from beacon_core.domain.product import Product
from beacon_inference.matrix import Features, Mask, Matrix, Texts
from beacon_inference.models.model import Model
from beacon_inference.prediction.feature_client import StoreFeatures
from beacon_inference.prediction.imputation import impute
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.output import PredictionOutput, output_of
from beacon_inference.prediction.validation import ValidationRules
from beacon_inference.scoring.columns import ScoredRows

BadRows = Literal["refuse", "mark"]
SHOWN = 3
ANSWERS = pa.schema(
    [
        ("prediction", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("imputed", pa.string()),
        ("out_of_range", pa.string()),
        ("problem", pa.string()),
    ]
)
"""The columns of a row's answer. `imputed` and `out_of_range` name features; `problem` says why there is no answer."""


class ScoringError(ValueError):
    """Rows break a rule of product.yaml; the message names row, feature and rule."""

    exit_status = BAD_DATA


class Scored(NamedTuple):
    """Scored rows: a table of `ANSWERS`, and what it was made of, which has a row for each place that was answered.

    `places` (answered rows,) are their numbers in the table, from 0.
    """

    answers: pa.Table
    places: NDArray[np.int64]
    features: Features
    output: PredictionOutput


class Scorer:
    """Scores blocks of rows by one model; `moment` is the time, in seconds since 1970, to which ages are counted."""

    def __init__(self, product: Product, model: Model, moment: float, bad_rows: BadRows = "refuse") -> None:
        self._product = product
        self._model = model
        self._moment = moment
        self._bad_rows = bad_rows
        self._rules = ValidationRules(product)

    def score(self, rows: ScoredRows, first_row: int, stored: StoreFeatures | None = None) -> Scored:
        """The answers to `rows`, whose first has the number `first_row`.

        `stored` are the feature store's values of the rows' entities. Raises `ScoringError` where a row breaks a rule
        and bad rows are refused.
        """
        matrix, texts, from_store = rows.matrix, rows.texts, None
        problems = dict(rows.unread)
        problems |= self._problems(matrix)
        if stored is not None:
            matrix, from_store = merge(matrix, stored.matrix)
            texts = dict(merge_texts(texts, stored.texts, from_store))
        problems |= self._too_few(matrix, problems)
        if problems and self._bad_rows == "refuse":
            raise ScoringError(_listed(problems, first_row))
        good = np.ones(len(matrix), dtype=bool)
        good[list(problems)] = False
        places = np.flatnonzero(good)
        features = Features(
            matrix[places], None if from_store is None else from_store[places], _of_rows(texts, places, len(matrix))
        )
        output = self._predict(features) if len(places) else PredictionOutput([], [], [])
        return Scored(self._answers(features, output, places, len(matrix), problems), places, features, output)

    def _answers(
        self,
        features: Features,
        output: PredictionOutput,
        places: NDArray[np.int64],
        count: int,
        problems: dict[int, str],
    ) -> pa.Table:
        columns: dict[str, object] = {name: pa.nulls(count, pa.float64()) for name in ("prediction", "low", "high")}
        columns |= {name: pa.nulls(count, pa.string()) for name in ("imputed", "out_of_range")}
        if len(places):
            for name in ("prediction", "low", "high"):
                columns[name] = _at_places(np.asarray(getattr(output, name), np.float64), places, count)
            names = np.array(self._product.feature_names, dtype=object)
            for name, mask in (("imputed", features.missing), ("out_of_range", features.out_of_range)):
                if mask is not None:
                    columns[name] = _names(mask, names, places, count)
        columns["problem"] = pa.array([problems.get(row) for row in range(count)] if problems else [None] * count)
        return pa.table([pa.array(columns[field.name], field.type) for field in ANSWERS], schema=ANSWERS)

    def _predict(self, features: Features) -> PredictionOutput:
        impute(features, PredictionInputs(features.values), self._product, self._model, self._rules)
        answers = self._model.predict(features.rows, self._moment)
        return output_of(answers, self._model, self._product.target.bounds)

    def _problems(self, matrix: Matrix) -> dict[int, str]:
        """The first rule that each row's own values break."""
        wrong = self._rules.wrong(matrix)
        rows = [] if wrong is None else np.flatnonzero(wrong.any(axis=1)).tolist()
        return {row: _rule(lambda one: self._rules.check(PredictionInputs(one)), matrix[row : row + 1]) for row in rows}

    def _too_few(self, matrix: Matrix, known_problems: dict[int, str]) -> dict[int, str]:
        known = ~np.isnan(matrix)
        rows = [row for row in np.flatnonzero(~self._rules.has_enough(known)).tolist() if row not in known_problems]
        check = self._rules.check_enough
        return {
            row: _rule(lambda one: check(~np.isnan(one), PredictionInputs(one)), matrix[row : row + 1]) for row in rows
        }


def _rule(check: Callable[[Matrix], None], row: Matrix) -> str:
    """What `check` says of one row."""
    try:
        check(row)
    except BeaconError as error:
        return error.message
    raise AssertionError("the row breaks a rule, and no check names it")


def _listed(problems: dict[int, str], first_row: int) -> str:
    shown = [f"row {first_row + row}: {problems[row]}" for row in sorted(problems)[:SHOWN]]
    more = len(problems) - len(shown)
    rest = f"; and {more} more in these rows" if more else ""
    return f"{'; '.join(shown)}{rest} (--bad-rows mark scores the others)"


def _of_rows(texts: Texts, places: NDArray[np.int64], count: int) -> Texts:
    """The texts of the rows at `places`, by their new numbers."""
    if not texts:
        return texts
    number = np.full(count, -1)
    number[places] = np.arange(len(places))
    return {(int(number[row]), at): text for (row, at), text in texts.items() if number[row] >= 0}


def _at_places(values: Matrix, places: NDArray[np.int64], count: int) -> pa.Array:
    """The values at `places` of `count` rows, null elsewhere."""
    if len(places) == count:
        return pa.array(values)
    filled, missing = np.zeros(count), np.ones(count, dtype=bool)
    filled[places], missing[places] = values, False
    return pa.array(filled, mask=missing)


def _names(mask: Mask, names: NDArray[np.object_], places: NDArray[np.int64], count: int) -> pa.Array:
    """The names of each row's masked features; each combination is written once."""
    packed = np.ascontiguousarray(np.packbits(mask, axis=1))
    kinds, first, kind = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    texts = [", ".join(names[mask[row]]) or None for row in first[: len(kinds)].tolist()]
    found = np.full(count, len(texts))
    found[places] = kind.ravel()
    return pa.array([*texts, None], pa.string()).take(pa.array(found))
