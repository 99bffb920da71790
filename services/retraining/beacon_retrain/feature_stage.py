"""The stage features: validated rows into the feature store, and the training rows out of it."""

import pandas as pd

from beacon_core import clock
from beacon_retrain.context import DATASET, FACTS, PRODUCTION, ROWS, Context
from beacon_retrain.files import write_json, write_table
from beacon_retrain.history import DatasetError, training_rows
from beacon_retrain.labels import PREDICTION
from beacon_retrain.offline import write_offline
from beacon_retrain.row_counts import DatasetFacts, told
from feature_repo import repo
from feature_repo.errors import FeatureStoreError
from feature_repo.names import EVENT_TIME


def build_features(context: Context) -> str:
    """Fill the feature store with the base data, and join the training rows as of their times."""
    settings, product, folder = context.settings, context.product, context.folder
    changes = write_offline(settings, product, pd.read_parquet(folder / ROWS), clock.now())
    try:
        repo.apply(settings, product)
        online = repo.materialize(settings, product).rows
    except FeatureStoreError as error:
        raise DatasetError(str(error)) from error
    rows, left_out = training_rows(settings, product, pd.read_parquet(folder / PRODUCTION))
    write_table(folder / DATASET, rows)
    facts = DatasetFacts(
        fingerprint=context.dataset().fingerprint,
        rows=len(rows),
        production_rows=int((rows[PREDICTION] != "").sum()),
        newest=rows[EVENT_TIME].max().isoformat(),
        left_out=left_out,
        file=changes,
    )
    write_json(folder / FACTS, facts)
    line = f"{online} rows online; {facts.rows} rows to train on, {facts.production_rows} of them from production"
    return "; ".join([line, *told(facts, product.serving.min_features)])
