"""Labels: the predictions whose actual has arrived, as a table."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from beacon_core.data.database import Engine
from beacon_core.data.labels import labelled_predictions
from beacon_core.domain.features import request_features
from beacon_core.domain.product import Product
from beacon_core.feature_store.names import EVENT_TIME

PREDICTION = "prediction_id"
OBSERVED = "observed_at"
NO_ENTITY = -1


def label_columns(product: Product) -> list[str]:
    """The columns of the labels: prediction, entity (-1: none), its time, the request's features, target, its time."""
    return [PREDICTION, product.entity.key, EVENT_TIME, *product.feature_names, product.target.name, OBSERVED]


def read_labels(engine: Engine, product: Product) -> pd.DataFrame:
    """Every labelled prediction, in order of time and id; only the request's features, NaN for the others."""
    with engine.connect() as connection:
        rows = labelled_predictions(connection)
    features = [request_features(row.features, row.from_store) for row in rows]
    labels = pd.DataFrame.from_records(features, columns=list(product.feature_names))
    labels = labels.astype("float64")
    labels[PREDICTION] = pd.Series([row.id for row in rows], dtype="str")
    # Never by way of a float: it would round a long key.
    entities = [NO_ENTITY if row.entity is None else int(row.entity) for row in rows]
    labels[product.entity.key] = pd.Series(entities, dtype="int64")
    labels[EVENT_TIME] = _times([row.time for row in rows])
    labels[product.target.name] = pd.Series([row.value for row in rows], dtype="float64")
    labels[OBSERVED] = _times([row.observed_at for row in rows])
    return labels[label_columns(product)]


def _times(moments: list[datetime]) -> pd.Series:
    """Times in UTC; not by way of nanoseconds, which end in 1677: the log may hold an older time."""
    plain = [moment.astimezone(UTC).replace(tzinfo=None) for moment in moments]
    return pd.Series(np.array(plain, dtype="datetime64[us]")).dt.tz_localize(UTC)
