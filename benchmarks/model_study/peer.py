"""One peer on one fold, in an environment of its own: `peer.py NAME TRAIN.parquet TEST.parquet TARGET SECONDS OUT.npy`.

Each gets the training rows as they are and a time, as its own documentation says, and predicts the others.
"""

import sys
import tempfile
from typing import Any

import numpy as np
import pandas as pd

CORES = 2


def catboost(train: pd.DataFrame, test: pd.DataFrame, target: str, _seconds: float) -> Any:
    from catboost import CatBoostRegressor

    texts = [name for name in test if not pd.api.types.is_numeric_dtype(test[name])]
    known, asked = (frame[list(test)].astype(dict.fromkeys(texts, "str")) for frame in (train, test))
    model = CatBoostRegressor(verbose=False, allow_writing_files=False, thread_count=CORES, cat_features=texts)
    return model.fit(known, train[target]).predict(asked)


def flaml(train: pd.DataFrame, test: pd.DataFrame, target: str, seconds: float) -> Any:
    from flaml import AutoML

    model = AutoML()
    model.fit(
        X_train=train[list(test)],
        y_train=train[target],
        task="regression",
        metric="rmse",
        time_budget=seconds,
        n_jobs=CORES,
        seed=0,
        verbose=0,
    )
    return model.predict(test)


def autogluon(train: pd.DataFrame, test: pd.DataFrame, target: str, seconds: float) -> Any:
    from autogluon.tabular import TabularPredictor

    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor(target, problem_type="regression", eval_metric="rmse", path=folder, verbosity=0)
        model.fit(train, time_limit=seconds, presets="medium_quality", num_cpus=CORES, num_gpus=0)
        return model.predict(test)


PEERS = {"CatBoost": catboost, "FLAML": flaml, "AutoGluon": autogluon}


def _rows(file: str) -> pd.DataFrame:
    """The rows of a file, numbers and booleans as floats: not all peers know pandas' own types with missing values."""
    rows = pd.read_parquet(file)
    numbers = rows.select_dtypes(["number", "boolean"]).columns
    return rows.astype(dict.fromkeys(numbers, "float64"))


def main() -> None:
    name, train_file, test_file, target, seconds, out = sys.argv[1:]
    train, test = _rows(train_file), _rows(test_file)
    np.save(out, np.asarray(PEERS[name](train, test, target, float(seconds)), np.float64))


if __name__ == "__main__":
    main()
