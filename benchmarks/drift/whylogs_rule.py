"""whylogs' own rule, as its drift scores come by default: a p-value below 0.05 is DRIFT."""

import pandas as pd
import whylogs
from drift.streams import Floats
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

from beacon_core.domain.product import Product


def drifted(product: Product, reference: Floats, window: Floats) -> dict[str, set[str]]:
    """Name the columns with DRIFT."""
    names = [*product.feature_names, product.target.name]
    known, seen = (whylogs.log(pd.DataFrame(rows, columns=names)).view() for rows in (reference, window))
    scores = calculate_drift_scores(target_view=seen, reference_view=known, with_thresholds=True)
    return {"whylogs": {name for name, score in scores.items() if score and score["drift_category"] == "DRIFT"}}
