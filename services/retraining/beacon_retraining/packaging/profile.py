"""The reference profile: whylogs' summary of the training rows, which drift is measured against."""

import numpy as np
import pandas as pd
from whylogs.core import DatasetProfile

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import BASE_EVENT_TIME, Dataset, Matrix

PREDICTION_COLUMN = "prediction"


def reference_profile(product: Product, dataset: Dataset, predictions: Matrix) -> bytes:
    """The serialized profile: features as they came (missing ones as null), target, and `prediction`.

    Its timestamps are fixed: equal rows give equal bytes.
    """
    frame = pd.DataFrame(dataset.features, columns=list(product.feature_names)).astype(object)
    frame = frame.where(~np.isnan(dataset.features), None)
    frame[product.target.name] = dataset.target
    frame[PREDICTION_COLUMN] = predictions
    profile = DatasetProfile(dataset_timestamp=BASE_EVENT_TIME, creation_timestamp=BASE_EVENT_TIME)
    profile.track(frame)
    return bytes(profile.view().serialize())
