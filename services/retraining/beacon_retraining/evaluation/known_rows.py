"""Known rows: which rows a model was trained on, and so prove nothing of it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.feature_store.names import EVENT_TIME
from beacon_retraining.data.dataset import Dataset, dataset_of, product_rows
from beacon_retraining.evaluation.gate import Mask


def known_rows(product: Product, dataset: Dataset, trained_on: pd.DataFrame) -> Mask | None:
    """Which rows are among those that a model was trained on; None where the tables cannot be compared."""
    if not {*product.feature_names, product.target.name, EVENT_TIME} <= set(trained_on.columns):
        return None
    return np.isin(row_hashes(product, dataset), row_hashes(product, dataset_of(product, trained_on)))


def row_hashes(product: Product, dataset: Dataset) -> NDArray[np.uint64]:
    """A hash of each row's features and target (rows,), the same in every dataset of the product."""
    table = np.column_stack([product_rows(product, dataset), dataset.target]) + 0.0  # -0 and 0 are one value
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(table), index=False), np.uint64)
