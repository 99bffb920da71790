"""The reference profile: whylogs' summary of the training rows, which drift is measured against."""

from typing import Any

import numpy as np
import pandas as pd
from whylogs.core import DatasetProfile

from beacon_core.domain.product import Feature, Product
from beacon_core.feature_store.names import BASE_EVENT_TIME
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.batches import batches

PREDICTION_COLUMN = "prediction"
BATCH_ROWS = 50_000


def reference_profile(product: Product, dataset: Dataset, predictions: Matrix) -> bytes:
    """The serialized profile: features as they came, target, and `prediction`.

    Text levels are text, flags true or false, times their numbers; a missing value is null. Its timestamps are fixed:
    equal rows give equal bytes.
    """
    profile = DatasetProfile(dataset_timestamp=BASE_EVENT_TIME, creation_timestamp=BASE_EVENT_TIME)
    # An object for each value takes many times the matrix: they are made batch by batch.
    for part in batches(len(predictions), BATCH_ROWS):
        columns = {feature.name: _values(feature, at, dataset, part) for at, feature in enumerate(product.features)}
        frame = pd.DataFrame(columns, dtype=object)
        frame[product.target.name] = dataset.target[part]
        frame[PREDICTION_COLUMN] = predictions[part]
        profile.track(frame)
    return bytes(profile.view().serialize())


def _values(feature: Feature, at: int, dataset: Dataset, part: slice) -> Any:
    """A column's values of some rows, as objects (rows,)."""
    numbers = dataset.features[part, at]
    missing = np.isnan(numbers)
    if feature.name in dataset.levels:
        # `other` is not known by its number.
        values = np.array([*dataset.levels[feature.name], None, None], dtype=object)
        found = values[np.where(missing, len(values) - 1, np.nan_to_num(numbers)).astype(int)]
        for (row, column), text in dataset.others.items():
            if column == at and part.start <= row < part.stop:
                found[row - part.start] = text
        return found
    found = (numbers == 1).astype(object) if feature.type == "bool" else numbers.astype(object)
    found[missing] = None
    return found
