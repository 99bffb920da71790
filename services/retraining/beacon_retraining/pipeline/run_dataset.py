"""The training rows that the stages share.

Apart from the context: pandas takes a second, and the process that starts the stages needs only their names.
"""

from beacon_retraining.data.dataset import Dataset, StoredRows, dataset_of
from beacon_retraining.pipeline.context import DATASET, Context


def dataset_of_run(context: Context) -> Dataset:
    """The training rows of this run."""
    return dataset_of(context.product, StoredRows(context.folder / DATASET))
