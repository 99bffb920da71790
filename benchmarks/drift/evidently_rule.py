"""Evidently's defaults: the test it picks for each column, at that test's own threshold; a data set drifts at half.

The functions are those that its DataDriftPreset calls; calling them without the report around them is only quicker.
"""

import numpy as np
import pandas as pd
from drift.streams import Floats
from evidently.legacy.calculations.stattests import get_stattest  # type: ignore[import-not-found]  # it has an environment of its own
from evidently.legacy.core import ColumnType  # type: ignore[import-not-found]

from beacon_core.domain.product import Product

DATASET_SHARE = 0.5


def drifted(product: Product, reference: Floats, window: Floats) -> dict[str, set[str]]:
    """Name the drifted columns; for the whole data set all of them, if they are enough, else none."""
    categorical = [feature.is_category for feature in product.features] + [False]
    names = [*product.feature_names, product.target.name]
    found = set()
    for place, name in enumerate(names):
        kind = ColumnType.Categorical if categorical[place] else ColumnType.Numerical
        known, seen = (pd.Series(rows[np.isfinite(rows[:, place]), place]) for rows in (reference, window))
        test = get_stattest(known, seen, kind, None)
        if test(known, seen, kind, None).drifted:
            found.add(name)
    dataset = found if len(found) >= DATASET_SHARE * len(names) else set()
    return {"Evidently, a column": found, "Evidently, the data set": dataset}
