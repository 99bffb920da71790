"""The stage features: validated rows into the feature store, and the training rows out of it."""

import pandas as pd

from beacon_core.feature_store import repo
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform import clock
from beacon_retraining.data.history import DatasetError, training_rows
from beacon_retraining.data.labels import PREDICTION
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.row_counts import DatasetFacts, told
from beacon_retraining.files import write_json, write_table
from beacon_retraining.pipeline.context import DATASET, FACTS, PRODUCTION, ROWS, Context


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
    return "; ".join([line, *told(facts, product.min_features)])
