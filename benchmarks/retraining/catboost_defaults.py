"""CatBoost as it comes, on the folds of our search over the product's table: writes packaging/catboost.json."""

from importlib.metadata import version

import numpy as np
import pandas as pd
from catboost import CatBoostRegressor
from joblib import Parallel, delayed
from retraining.base import base_dataset

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.files import write_json
from beacon_retraining.packaging.baseline import FILE, Baseline
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.selection import score
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.splits import Split
from beacon_retraining.training.train import search_splits


def main() -> None:
    """Measure, write, and say what came out."""
    settings = TrainSettings()
    product = load_product(load_settings().product)
    dataset = base_dataset(product)
    effort = effort_of(len(dataset.target), settings)
    _, splits = search_splits(dataset, product, effort, settings.seed)
    answers = Parallel(n_jobs=-1)(delayed(held_out)(dataset, split) for split in splits)
    table = np.empty((settings.repeats, len(dataset.target)))
    for number, ((_, test), answer) in enumerate(zip(splits, answers, strict=True)):
        table[number // settings.folds, test] = answer
    found = score("CatBoost", table, dataset, splits)
    baseline = Baseline(
        name=found.name,
        version=version("catboost"),
        data_fingerprint=dataset.fingerprint,
        folds=settings.folds,
        repeats=settings.repeats,
        seed=settings.seed,
        rmse=found.rmse,
        rmse_spread=found.rmse_spread,
        pooled_rmse=found.pooled_rmse,
        mae=found.mae,
        r2=found.r2,
    )
    write_json(FILE, baseline)
    print(
        f"CatBoost {baseline.version}, defaults: RMSE {baseline.rmse:.3f} +- {baseline.rmse_spread:.2f}, "
        f"MAE {baseline.mae:.3f}"
    )


def held_out(dataset: Dataset, split: Split) -> Matrix:
    """Its answers to the split's second rows; missing values and text are left to it."""
    train, test = split
    columns = pd.DataFrame(dataset.features, columns=dataset.schema.feature_names).astype(
        dict.fromkeys(dataset.levels, "str")
    )
    model = CatBoostRegressor(
        verbose=False, allow_writing_files=False, thread_count=1, cat_features=list(dataset.levels)
    )
    answer: Matrix = model.fit(columns.iloc[train], dataset.target[train]).predict(columns.iloc[test])
    return answer


if __name__ == "__main__":
    main()
