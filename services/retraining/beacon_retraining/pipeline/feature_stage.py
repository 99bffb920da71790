"""The stage features: validated rows into the feature store, and the training rows out of it."""

import pandas as pd

from beacon_core.feature_store import repo
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform import clock
from beacon_retraining.data.history import DatasetError, training_rows
from beacon_retraining.data.labels import PREDICTION
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.row_counts import DatasetSummary, messages
from beacon_retraining.files import write_json, write_table
from beacon_retraining.pipeline.context import DATASET, DATASET_SUMMARY, PRODUCTION, ROWS, Context
from beacon_retraining.pipeline.run_dataset import dataset_of_run


def build_features(context: Context) -> str:
    """Fill the feature store with the base data, and join the training rows as of their times."""
    settings, product, folder = context.settings, context.product, context.folder
    file_rows = pd.read_parquet(folder / ROWS)
    changes = write_offline(settings, product, file_rows, clock.now(), accept_moved=context.run.accept_shift)
    online = "no entity, so no feature store"
    if product.entity is not None:
        try:
            repo.apply(settings, product)
            online = f"{repo.materialize(settings, product).rows} rows online"
        except FeatureStoreError as error:
            raise DatasetError(str(error)) from error
    rows, excluded = training_rows(settings, product, pd.read_parquet(folder / PRODUCTION))
    write_table(folder / DATASET, rows)
    summary = DatasetSummary(
        fingerprint=dataset_of_run(context).fingerprint,
        rows=len(rows),
        production_rows=int((rows[PREDICTION] != "").sum()),
        newest=rows[EVENT_TIME].max().isoformat(),
        left_out=excluded,
        file=changes,
    )
    write_json(folder / DATASET_SUMMARY, summary)
    line = f"{online}; {summary.rows} rows to train on, {summary.production_rows} of them from production"
    return "; ".join([line, *messages(summary, product.min_features)])
