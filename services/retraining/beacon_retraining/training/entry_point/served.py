"""The process's side of an entry point: its code is imported here alone, and its estimator fitted and asked.

Each step ends with an answer, or with a reason that a person can act on.
"""

import importlib
import inspect
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from threadpoolctl import threadpool_limits

from beacon_core.model_package.golden import UNSEEN
from beacon_core.platform.training_code import CODE_FOLDER
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.training.answers import answers_of
from beacon_retraining.training.columns import ModelColumn, notebook_table
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.inputs import TrainingInputs
from beacon_retraining.training.estimators import fit_weighted

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ENCODE = (
    "text must be encoded by the estimator: ColumnTransformer([('text', OneHotEncoder(handle_unknown='ignore'), "
    "inputs.text)], remainder='passthrough')"
)
HINTS = {
    "could not convert string to float": ENCODE,
    "unknown categor": f"give the encoder handle_unknown='ignore': serving has levels that training has not ({UNSEEN})",
}
"""What to do, by a part of scikit-learn's message."""
MOST_CHARACTERS = 400


class Served:
    """The code's estimator in this process."""

    def __init__(self, entry_point: TrainingCode, columns: tuple[ModelColumn, ...]) -> None:
        self.entry_point, self.columns = entry_point, columns
        self.estimator: Any = None


def serve(pipe: Connection, entry_point: TrainingCode, columns: tuple[ModelColumn, ...]) -> None:
    """Do the steps that come through the pipe, each a function with its arguments."""
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    served = Served(entry_point, columns)
    with tempfile.TemporaryDirectory(prefix="beacon-training-") as folder, threadpool_limits(1):
        _write(Path(folder), entry_point)
        sys.dont_write_bytecode = True
        sys.path.insert(0, folder)
        while True:
            step, arguments = pipe.recv()
            pipe.send(_done(step, served, arguments, folder))


def build_estimator(served: Served, inputs: TrainingInputs) -> None:
    """Import the module, and let the function give the estimator."""
    module_name, _, name = served.entry_point.function.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ForeignModelError(
                f"its code needs the module {error.name}, which is not installed: "
                "`uv add --group training PACKAGE` adds one to what training has"
            ) from error
        there = ", ".join(served.entry_point.files) or "no file"
        raise ForeignModelError(f"there is no module {error.name} in the folder {CODE_FOLDER} ({there})") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ForeignModelError(f"module {module_name} has no function {name}")
    try:
        inspect.signature(function).bind(inputs)
    except TypeError as error:
        raise ForeignModelError(f"must take one argument, the inputs of training: def {name}(inputs)") from error
    estimator = function(inputs)
    missing = [method for method in ("fit", "predict") if not callable(getattr(estimator, method, None))]
    if missing or inspect.isclass(estimator):
        what = f"the class {estimator.__name__}" if inspect.isclass(estimator) else f"a {type(estimator).__name__}"
        lacks = f", which has no {' and no '.join(missing)}" if missing else ""
        raise ForeignModelError(f"gave {what}{lacks}: must give an estimator, an object with fit and predict")
    if is_classifier(estimator):
        raise ForeignModelError(f"gave a classifier ({type(estimator).__name__}): a regression is needed")
    served.estimator = estimator


def fit_estimator(served: Served, numbers: Matrix, target: Matrix, weights: Matrix | None) -> None:
    """Fit the estimator to rows of the columns, as a notebook has them."""
    table = notebook_table(served.columns, numbers)
    try:
        served.estimator = fit_weighted(served.estimator, table, target, weights) or served.estimator
    except TypeError as error:
        if weights is not None and "sample_weight" in str(error):
            raise ForeignModelError(
                f"the product has weights (target.weight), and the estimator's fit takes no sample_weight: {error}"
            ) from error
        raise


def predict_rows(served: Served, numbers: Matrix) -> Matrix:
    """Predictions (rows,), finite."""
    answers = answers_of(served.estimator.predict(notebook_table(served.columns, numbers)), len(numbers))
    wrong = np.flatnonzero(~np.isfinite(answers))
    if len(wrong):
        raise ForeignModelError(
            f"the estimator predicts {answers[wrong[0]]} for {len(wrong)} of {len(answers)} rows: each must be finite"
        )
    return answers


def _write(folder: Path, entry_point: TrainingCode) -> None:
    for name, text in entry_point.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _done(step: Callable[..., Any], served: Served, arguments: tuple[Any, ...], folder: str) -> tuple[str, Any]:
    """The answer of a step, or why there is none."""
    try:
        return "", step(served, *arguments)
    except ForeignModelError as error:
        return f"{error}{_hint(str(error))}", None
    except BaseException as error:  # noqa: BLE001 - the code may raise anything, also SystemExit
        return _reason(error, folder), None


def _reason(error: BaseException, folder: str) -> str:
    """The error's type, its message, and the last line of the owner's code that it went through."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    place = f" ({CODE_FOLDER}{own[-1].filename[len(folder) :]}, line {own[-1].lineno})" if own else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:MOST_CHARACTERS]}{place}{_hint(message)}"


def _hint(message: str) -> str:
    return next((f". {text}" for part, text in HINTS.items() if part in message), "")
