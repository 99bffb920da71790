"""Labels: the predictions whose actual has arrived, as a table."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa

from beacon_core.data.database import Engine
from beacon_core.data.prediction_log.labels import LabelledPrediction, labelled_predictions
from beacon_core.domain.entity_key import EntityKey, EntityKeyError, parse_key
from beacon_core.domain.features import request_features
from beacon_core.domain.product import Entity, Product
from beacon_core.feature_store.columns import KEY_TYPES, TIME, column_of, to_frame
from beacon_core.feature_store.names import EVENT_TIME

PREDICTION = "prediction_id"
OBSERVED = "observed_at"


def label_columns(product: Product) -> list[str]:
    """The columns of the labels: prediction, key (null: none), its time, the request's features, target, its time."""
    names = (PREDICTION, *product.keys, EVENT_TIME, *product.feature_names, product.target.name, OBSERVED)
    return list(dict.fromkeys(names))


def read_labels(engine: Engine, product: Product) -> pd.DataFrame:
    """Every labelled prediction that counts, in order of time and id; only the request's features.

    Those that it lacks are missing. The columns are as `beacon_core.feature_store.columns` types them; a key of whole
    numbers is Int64, since a prediction may have none. A column that is a feature too has the feature's type, and the
    key's value where the request lacks one.
    """
    with engine.connect() as connection:
        parts = [_to_table(rows, product) for rows in labelled_predictions(connection, product.policy.evidence)]
    labels = pa.concat_tables([_to_table([], product), *parts])
    # By code points, as Python compares texts: databases sort them each in its own way.
    labels = labels.sort_by([(EVENT_TIME, "ascending"), (PREDICTION, "ascending")])
    return to_frame(labels, product.keys)


def _to_table(rows: Sequence[LabelledPrediction], product: Product) -> pa.Table:
    """Some of the rows, typed, without the objects that a database gives for each."""
    given = [request_features(row.features, row.from_store) for row in rows]
    columns: dict[str, pa.Array] = {PREDICTION: pa.array([row.id for row in rows], pa.string())}
    columns[EVENT_TIME] = _times([row.time for row in rows])
    keys = _keys(product.entity, rows)
    for feature in product.features:
        others = keys[feature.name].to_pylist() if feature.name in keys else [None] * len(rows)
        values = [
            other if row.get(feature.name) is None else row[feature.name]
            for row, other in zip(given, others, strict=True)
        ]
        # The log may be of an earlier schema.
        columns[feature.name] = column_of(values, feature.rules, lenient=True)
    columns = keys | columns
    columns[product.target.name] = pa.array([row.value for row in rows], pa.float64())
    columns[OBSERVED] = _times([row.observed_at for row in rows])
    return pa.table(columns).select(label_columns(product))


def _keys(entity: Entity | None, rows: Sequence[LabelledPrediction]) -> dict[str, pa.Array]:
    """The key's columns; never by way of a float, which would round a long key."""
    if entity is None:
        return {}
    keys = [_key(entity, row.entity) for row in rows]
    return {
        name: pa.array([None if key is None else key[place] for key in keys], KEY_TYPES[kind])
        for place, (name, kind) in enumerate(entity.columns)
    }


def _key(entity: Entity, text: str | None) -> EntityKey | None:
    """The key; None where there is none, or one of an earlier schema."""
    try:
        return None if text is None else parse_key(entity, text)
    except EntityKeyError:
        return None


def _times(moments: list[datetime]) -> pa.Array:
    """Times in UTC; not by way of nanoseconds, which end in 1677: the log may hold an older time."""
    return pa.array(moments, TIME)
